"""Study and data: what was fitted, to what."""

from typing import TYPE_CHECKING

from popk.report.described import covariate_facts, data_facts
from popk.report.page.blocks import Block, Column, Facts, Prose, Section, Shown, word
from popk.report.page.methods import model_sentences

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered


def study(of: "Gathered") -> Section:
    """Who was studied, what was given and measured, and by which model."""
    facts = data_facts(of.data)
    facts |= {"file": facts.get("file", ""), "file's SHA-256": of.data.sha256}
    blocks: list[Block] = []
    if of.settings.description or of.model.description:
        blocks.append(Prose(tuple(t for t in (of.settings.description, of.model.description) if t)))
    blocks.append(Facts(tuple((name, value) for name, value in facts.items())))
    if of.data.covariates:
        blocks.append(_covariates(of))
    if of.data.warnings:
        blocks.append(Prose(tuple(f"Warning of the reader: {w}" for w in of.data.warnings), "look"))
    blocks.append(Prose((f"Model: {of.model.name}. " + " ".join(model_sentences(of.model)),)))
    return Section("study", "Study and data", tuple(blocks))


def _covariates(of: "Gathered") -> Shown:
    columns = (
        Column("Covariate", numeric=False), Column("Unit", numeric=False),
        Column("At baseline", told="median (range), or number of subjects at each level"),
        Column("Missing", told="records without a value"), Column("Note", numeric=False),
    )  # fmt: skip
    rows = tuple(tuple(word(cell) for cell in covariate_facts(c)) for c in of.data.covariates)
    return Shown("Covariates: median (range) or counts at each subject's first record",
                 columns, rows)  # fmt: skip
