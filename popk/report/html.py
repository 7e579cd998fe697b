"""report.html: one page with everything that is known of a fit. Computes nothing.

The page needs no network and may ask for none: its policy allows no address, and only those
scripts whose hashes it names. Everything that comes from data is escaped.
"""

import base64
import hashlib
import json
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from popk.report.charts import bundle, charts, style
from popk.report.page.blocks import Figures, Section
from popk.report.page.checks import checks
from popk.report.page.covariates import covariates
from popk.report.page.drawn import Drawn, drawn
from popk.report.page.estimates import individuals, paper, parameters
from popk.report.page.methods import methods
from popk.report.page.provenance import provenance
from popk.report.page.simulated import dosing
from popk.report.page.study import study
from popk.report.page.trials import trials
from popk.report.page.verdict import answers
from popk.report.terminal import SYNTHETIC
from popk.study.kept_text import kept_text

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered

LARGEST = 4_900_000
"""Bytes of a page; beyond them figures are left out (`_less`)."""


def page(of: "Gathered") -> str:
    """The page as text.

    Parameters
    ----------
    of
        From `popk.analysis.gathered.gathered`.
    """
    figures = drawn(of, charts(of))
    text = _rendered(of, figures)
    while (over := len(text.encode()) - LARGEST) > 0 and (less := _less(figures, over)) != figures:
        figures = less
        text = _rendered(of, figures)
    return text


def _less(figures: Drawn, over: int) -> Drawn:
    """Fewer figures by so many bytes: static ones, the largest first, then individual fits."""
    statics = dict(figures.statics)
    for name in sorted(statics, key=lambda name: len(statics[name].address), reverse=True):
        if over <= 0:
            break
        over -= len(statics.pop(name).address)
    individuals = list(figures.charts.get("individuals", ()))
    while over > 0 and individuals:
        over -= len(_json(individuals.pop().spec))
    return replace(figures, statics=statics,
                   charts={**figures.charts, "individuals": tuple(individuals)})  # fmt: skip


def sections(of: "Gathered", figures: Drawn) -> tuple[Section, ...]:
    """The page's sections, in the order in which they are read."""
    found = (
        study(of), paper(of, figures), parameters(of), individuals(of), covariates(of, figures),
        checks(of, figures), dosing(of, figures), trials(of, figures), methods(of), provenance(of),
    )  # fmt: skip
    return tuple(section for section in found if section is not None)


def _rendered(of: "Gathered", figures: Drawn) -> str:
    own = sections(of, figures)
    shown = _specs(own)
    first, scripts = _asset("first.js"), [_asset("page.js")]
    if shown:
        scripts.insert(0, kept_text(f"charts-{version('vl-convert-python')}.js", bundle))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            of=of,
            synthetic=SYNTHETIC,
            answers=answers(of),
            sections=own,
            css=style() + _asset("page.css"),
            specs=_json(shown),
            first=first,
            scripts=scripts,
            hashes=[_hash(script) for script in (first, *scripts)],
        )
    )


def _specs(own: tuple[Section, ...]) -> dict[str, Any]:
    """Specifications of the charts that the sections show, by name."""
    blocks = [b for s in own for b in (*s.blocks, *(b for p in s.parts for b in p.blocks))]
    return {c.name: c.spec for b in blocks if isinstance(b, Figures) for c in b.charts}


def _json(content: Any) -> str:
    """JSON that ends no script element, whatever it holds."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return files("popk.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("popk.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
