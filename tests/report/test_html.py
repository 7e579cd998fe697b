"""report.html: sections, escaping, numbers of the tables, nothing from elsewhere."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import NamedTuple

import pytest

from popk.report import html
from popk.report.html import page
from popk.report.page import drawn
from popk.report.page.drawn import Drawn
from popk.report.page.provenance import commands
from tests.report.studies import EVIL

SECTIONS = (
    "study", "paper", "parameters", "individuals", "covariates", "checks", "dosing", "trials",
    "methods", "provenance",
)  # fmt: skip
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Element(NamedTuple):
    """A start tag, and the text inside it."""

    name: str
    attributes: dict[str, str]
    text: list[str]


class Read(HTMLParser):
    """All elements of a page; an end tag without its start, or the other way round, is a fault."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.faults: list[str] = []
        self.feed(text)
        self.faults += [f"{one.name} is not closed" for one in self.open]

    def handle_starttag(self, tag: str, attrs: list) -> None:
        found = Element(tag, {name: value or "" for name, value in attrs}, [])
        self.elements.append(found)
        if tag not in VOID:
            self.open.append(found)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1].name != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for one in self.open:
            one.text.append(data)

    def named(self, name: str, **attributes: str) -> list[Element]:
        """Elements of this name with these attributes."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [
            e for e in self.elements if e.name == name and wanted.items() <= e.attributes.items()
        ]


@pytest.fixture(scope="module")
def read(whole) -> Read:
    return Read(whole.html)


def test_sections_in_their_order(read):
    assert [e.attributes["id"] for e in read.named("section")] == ["verdict", *SECTIONS]
    linked = [e.attributes["href"] for e in read.named("a") if "class" not in e.attributes]
    assert [link[1:] for link in linked if link.startswith("#")] == ["verdict", *SECTIONS]
    assert read.faults == []


def test_a_page_that_can_be_heard_and_steered(read):
    assert read.named("html")[0].attributes["lang"] == "en"
    for landmark in ("main", "header", "footer", "nav"):
        assert len(read.named(landmark)) == 1
    assert read.named("nav")[0].attributes["aria-label"]
    ids = [e.attributes["id"] for e in read.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for e in read.elements:
        for key in ("aria-labelledby", "for", "data-of"):
            assert e.attributes.get(key, ids[0]) in ids
    assert len(read.named("caption")) == len(read.named("table"))
    assert all(e.attributes["scope"] in ("col", "row") for e in read.named("th"))
    assert all(e.attributes["alt"] for e in read.named("img"))
    assert all(e.attributes["aria-label"] for e in read.elements if "data-chart" in e.attributes)
    assert len(read.named("h1")) == 1
    levels = [int(e.name[1]) for e in read.elements if re.fullmatch("h[1-6]", e.name)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    first = next(e for e in read.elements if e.name == "a")
    assert first.attributes["href"] == "#verdict"


def test_what_comes_from_data_is_text(whole, read):
    assert "<script>alert" not in whole.html
    assert "A<i>GE" not in whole.html.split('id="specs"')[0]
    assert read.named("i") == []
    assert read.named("b") == []
    rows = ["".join(e.text) for e in read.named("th", scope="row")]
    assert EVIL in rows
    assert "</script>" in rows
    assert "".join(read.named("h1")[0].text) == "awkward </script><b>study</b>"
    scripts = read.named("script")
    # Theme, specifications, the charts' and the page's own: no element more
    assert len(scripts) == 4
    assert "".join(scripts[1].text).count("<") == 0


def test_specifications_are_json_again(read):
    specs = json.loads("".join(read.named("script", id="specs")[0].text))
    places = {e.attributes["data-chart"] for e in read.elements if "data-chart" in e.attributes}
    assert specs.keys() == places
    assert len([name for name in specs if re.fullmatch(r"individual-\d+", name)]) == 8
    assert EVIL in json.dumps(specs)


def test_nothing_is_loaded_from_elsewhere(whole, read):
    assert len(whole.html.encode()) < 5_000_000
    for e in read.elements:
        for key in ("src", "srcset", "data", "action", "poster"):
            assert e.attributes.get(key, "data:").startswith("data:")
        assert e.name not in ("link", "iframe", "object", "embed", "base")
        assert not any(key.startswith("on") for key in e.attributes)
    assert "url(" not in "".join(read.named("style")[0].text)
    policy = read.named("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes[
        "content"
    ]
    assert policy.startswith("default-src 'none'; img-src data:")
    executed = [e for e in read.named("script") if "type" not in e.attributes]
    hashes = [html._hash("".join(e.text)) for e in executed]
    assert re.findall(r"'(sha256-[^']+)'", policy) == hashes


def test_numbers_are_those_of_the_tables(whole, read):
    table = whole.study.folder / "results" / "parameters.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()[1:]))
    own = whole.html.split('id="parameter-table"')[1].split("</table>")[0]
    body = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", own, re.DOTALL)
    assert len(body) == len(rows)
    for text, row in zip(body, rows, strict=True):
        values = {float(v) for v in re.findall(r'data-value="([^"]+)"', text)}
        kept = ("median", "mean", "sd", "q5", "cv_percent", "shrinkage", "rhat", "ess_bulk",
                "ess_tail", "contraction")  # fmt: skip
        assert values == {float(row[name]) for name in kept if row[name]}
        shown = re.search(rf'data-value="{re.escape(repr(float(row["median"])))}">([^<]+)<', text)
        assert shown is not None
        assert float(shown.group(1)) == pytest.approx(float(row["median"]), rel=1e-3)


def test_individuals_are_those_of_the_table(whole):
    own = whole.html.split('id="individual-table"')[1].split("</table>")[0]
    values = [float(v) for v in re.findall(r'data-value="([^"]+)"', own)]
    table = whole.gathered.individuals[list(whole.gathered.individual_units)]
    assert values == table.to_numpy(float).ravel().tolist()


def test_the_verdict_in_plain_words(read):
    cards = [" ".join("".join(e.text).split()) for e in read.named("article")]
    converged, adequate, found, untold = cards
    assert converged.startswith("Did it converge? ✓YesAll 5 checks hold: R-hat 1.0")
    assert "1 of 3 checks failed" in adequate
    assert "VPC: outside." in adequate
    assert "1 more ask for a look" in adequate
    assert re.search(r"Css [\d.]+ ± [\d.]+ µg/L", found)
    assert "Variability between subjects (CV): CL" in found
    assert "Whether A<i>GE matters for CL" in untold
    assert "Nothing about real patients: the data are SYNTHETIC." in untold
    assert "Identifiability: too few." in untold


def test_synthetic_data_are_called_so(whole, read):
    assert "SYNTHETIC DATA" in "".join(read.named("p", role="note")[0].text)
    real = html._rendered(replace(whole.gathered, synthetic=False), Drawn({}, {}))
    assert "SYNTHETIC" not in re.sub(r"<script.*?</script>", "", real, flags=re.DOTALL)


def test_methods_name_what_was_done(read):
    (told,) = read.named("div", class_="methods")
    text = " ".join("".join(told.text).split())
    for words in (
        "one-compartment model", "CL in proportion to WT", "where A<i>GE was below 6",
        "log-normal for CL", "(M3) [1]", "4 chains of 500 draws after 40 of warm-up",
        "R-hat < 1.01", "half-normal (0.5)", "All criteria were met", "NumPyro",
    ):  # fmt: skip
        assert words in text
    cited = {int(n) for group in re.findall(r"\[([\d,]+)\]", text) for n in group.split(",")}
    works = read.named("ol", class_="references")
    assert len(works) == 1
    assert cited == set(range(1, len(cited) + 1))


def test_without_checks_every_section_says_how_to_fill_it(whole):
    names = ("verdicts", "observations", "profiles", "vpc", "pcvpc", "vpc_points", "pcvpc_points",
             "npde_bins", "etas", "eta_tests", "outlying_subjects", "prior_sensitivity",
             "covariates")  # fmt: skip
    bare = replace(whole.gathered, figures={}, **dict.fromkeys(names))
    text = page(bare)
    own = Read(text)
    assert own.faults == []
    lines = [" ".join("".join(e.text).split()) for e in own.named("p", class_="missing")]
    folder = whole.gathered.folder
    for command in ("report", "covariates", "simulate", "target", "dose", "power", "bootstrap"):
        assert any(f"popk {command} {folder}" in line for line in lines)
    card = "".join(own.named("article")[1].text)
    assert "Not checked" in card
    # No heading without anything under it
    assert not re.search(r"<h[23][^>]*>[^<]*</h[23]>\s*</(div|section)>", text)


def test_commands_are_those_that_gave_what_is_there(whole):
    record = {"replicates": 200, "seed": 3, "stratified_by": ""}
    refitted = replace(
        whole.gathered,
        bootstrap={"case": record, "parametric": record | {"stratified_by": "AGE"}},
        influence={"seed": 4},
    )
    folder = whole.gathered.folder
    assert commands(refitted) == (
        f"popk fit {folder}",
        f"popk diagnose {folder}",
        f"popk covariates {folder}",
        f"popk bootstrap {folder} --kind case --replicates 200 --seed 3",
        f"popk influence {folder} --seed 4",
        f"popk report {folder}",
    )


def test_stale_results_are_called_so_first(whole):
    text = html._rendered(replace(whole.gathered, stale=("model",)), Drawn({}, {}))
    assert "<strong>STALE:</strong> model changed since this fit" in text
    assert "STALE:" not in whole.html


def test_a_page_that_would_be_too_large_leaves_figures_out(whole, monkeypatch):
    individuals = [len(json.dumps(c.spec)) for c in html.charts(whole.gathered)
                   if re.fullmatch(r"individual-\d+", c.name)]  # fmt: skip
    monkeypatch.setattr(html, "LARGEST", len(whole.html.encode()) - individuals[-1])
    text = page(whole.gathered)
    assert len(text.encode()) <= html.LARGEST
    assert Read(text).named("img") == []
    assert 'data-chart="individual-8"' not in text
    assert 'data-chart="individual-1"' in text


def test_slim_figures_show_the_same():
    svg = (
        '<?xml version="1.0"?><!DOCTYPE svg><svg><metadata>who</metadata><!-- a -->'
        '<path d="M 12.345678 -0.5 L 1.500000 2"/>\n  <text x="3.14159">1.23456</text></svg>'
    )
    assert drawn.slim(svg) == (
        '<svg><path d="M 12.35 -0.5 L 1.5 2"/><text x="3.14">1.23456</text></svg>'
    )
