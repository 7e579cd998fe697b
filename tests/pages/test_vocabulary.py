"""models/README.md lists every word that a model or fit file may say, and every model file."""

import re
from typing import get_args

import pytest

from popk.data.body_size import FORMULAS
from popk.spec.fit import Column, FitSpec, Item, Sampler
from popk.spec.model import STRUCTURES, Variability
from popk.spec.priors import Prior
from popk.spec.relations import CovariateEffect
from popk.spec.residual import ERRORS, Residual
from tests.pages.blocks import ROOT

PAGE = (ROOT / "models/README.md").read_text(encoding="utf-8")


def tags(union, field):
    """The words by which the records of a union are told apart."""
    records = get_args(get_args(union)[0])
    return [word for r in records for word in get_args(r.model_fields[field].annotation)]


def choices(record, field):
    return list(get_args(record.model_fields[field].annotation))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("structure", list(STRUCTURES)),
        ("priors", tags(Prior, "prior")),
        ("variability", choices(Variability, "distribution")),
        ("covariate relations", tags(CovariateEffect, "relation")),
        ("residual error", tags(Residual, "error")),
        ("data items", [item for item in get_args(Item) if item != "C"]),
        ("body-size formulas", list(FORMULAS)),
        ("sampler methods", choices(Sampler, "method")),
        ("precision, device", choices(Sampler, "precision") + choices(Sampler, "device")),
    ],
)
def test_every_word_is_listed(row, words):
    line = re.search(rf"^\| {row} \| (.+) \|$", PAGE, re.MULTILINE)[1]
    assert [word for word in words if not re.search(rf"\b{word}\b", line)] == []


def test_the_tables_of_relations_and_errors_are_whole():
    rows = re.findall(r"^\| (\w+) \|", PAGE, re.MULTILINE)
    assert {*tags(CovariateEffect, "relation"), *tags(Residual, "error")} <= {*rows}


def test_the_words_of_errors_are_those_of_the_table():
    assert tags(Residual, "error") == list(ERRORS)


def test_every_table_of_a_fit_file_is_listed():
    tables = {"dose", "columns", "derived", "rows", "assay", "candidates", "sampler"}
    assert tables <= {*FitSpec.model_fields}
    assert [name for name in tables if not re.search(rf"^\| `\[+{name}\]+` \|", PAGE, re.M)] == []
    for key in Column.model_fields:
        assert key in PAGE, key


def test_every_model_file_is_listed():
    files = {path.name for path in (ROOT / "models").glob("*.toml")}
    assert {*re.findall(r"^\| \[([\w.]+)\]", PAGE, re.MULTILINE)} == files
