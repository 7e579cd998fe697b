from pathlib import Path

import pytest
from pydantic import ValidationError

from popk.spec.fit import BodySurfaceArea, Dose, PostmenstrualAge, read_fit
from popk.spec.problem import PopkError

FITS = sorted((Path(__file__).parents[2] / "fits").glob("*/fit.toml"))


def test_a_whole_fit_file(fit):
    spec = fit()
    assert spec.model == "../../models/infusion_1cpt_bsa.toml"
    assert spec.columns["AGE"].covariate
    assert spec.columns["AGE"].unit == "month"
    assert spec.derived["BSA"] == BodySurfaceArea(formula="haycock", weight="WT", height="HT")
    assert (spec.sampler.draws, spec.sampler.seed) == (1000, 1)
    assert spec.interpolation == "nocb"
    assert spec.sampler.precision == "float64"
    assert spec.delimiter == ","


@pytest.mark.parametrize("path", FITS, ids=lambda path: path.parent.name)
def test_shipped_fits_read_by_file_and_by_folder(path):
    spec = read_fit(path)
    assert spec == read_fit(path.parent)
    assert (path.parent / spec.model).exists()
    assert (path.parent / spec.data).exists()


def test_frozen(fit):
    with pytest.raises(ValidationError, match="frozen"):
        fit().sampler.draws = 3


def test_postmenstrual_age(fit):
    age = ("[derived]\n", '[derived]\nPMA = {formula = "postmenstrual_age", gestation = "GA"}\n')
    assert fit(age).derived["PMA"] == PostmenstrualAge(
        formula="postmenstrual_age", age="AGE", gestation="GA"
    )


def test_rows_and_assay(fit):
    more = ("[sampler]", '[rows]\naccept = {SD = [1, "x"]}\n[assay]\nlloq = "50 pg/mL"\n[sampler]')
    spec = fit(more)
    assert spec.rows.accept == {"SD": (1.0, "x")}
    assert (spec.assay.lloq, spec.assay.uloq) == ("50 pg/mL", None)


@pytest.mark.parametrize(
    ("edit", "key", "said"),
    [
        (('data = "data.csv"\n', ""), "data", "add data = ..."),
        (("[sampler]", "[samplar]"), "samplar", "did you mean 'sampler'?"),
        (('"month"', '"moon"'), "columns.AGE.unit", "unknown unit 'moon'"),
        (('AGE = {covariate = true, unit = "month"}', 'AGE = {covariate = true, item = "TIME"}'),
         "columns.AGE", "one of the three"),
        (('AGE = {covariate = true, unit = "month"}', 'AGE = {ignore = true, covariate = true}'),
         "columns.AGE", "one of the three"),
        (('AGE = {covariate = true, unit = "month"}', 'AGE = {item = "TYME"}'),
         "columns.AGE.item", "did you mean 'TIME'?"),
        (('AGE = {covariate = true, unit = "month"}', 'AGE = {levels = ["a", "b"]}'),
         "columns.AGE", "levels belong to a covariate"),
        (('unit = "month"}', 'unit = "month", levels = ["a", "b"]}'), "columns.AGE",
         "a covariate with levels has no unit"),
        (("draws = 1000", "draws = 0"), "sampler.draws", "greater than 0"),
        (("draws = 1000", "draws = 10.5"), "sampler.draws", "integer"),
        (("seed = 1", "target_accept = 0.4"), "sampler.target_accept", "greater than 0.5"),
        (("seed = 1", "target_accept = 1.0"), "sampler.target_accept", "less than 1"),
        (("seed = 1", 'precision = "float23"'), "sampler.precision", "did you mean 'float32'?"),
        (('"nuts"', '"nut"'), "sampler.method", "did you mean 'nuts'?"),
        (("[columns]", 'interpolation = "ncb"\n[columns]'), "interpolation",
         "did you mean 'nocb'?"),
        (("[columns]", 'delimiter = "|"\n[columns]'), "delimiter", "one of"),
        (("[columns]", '[dose]\nnominal = "15 ug"\n[columns]'), "dose.nominal", "no dose rate"),
        (("[columns]", '[assay]\nlloq = "50 pg"\n[columns]'), "assay.lloq",
         "cannot be converted to 'mg/L'"),
        (("[columns]", '[assay]\nuloq = "high"\n[columns]'), "assay.uloq", "is no quantity"),
        (("[columns]", '[rows]\nacept = {SD = [1]}\n[columns]'), "rows.acept",
         "did you mean 'accept'?"),
    ],
)  # fmt: skip
def test_each_fault_names_its_key_and_its_cure(fit, fault, edit, key, said):
    found = fault(fit, edit)
    assert found.key == key
    assert said in str(found)
    assert "fit.toml" in str(found)


def test_a_misspelt_formula(fit):
    with pytest.raises(PopkError, match="did you mean 'haycock'"):
        fit(('"haycock"', '"haycok"'))


@pytest.mark.parametrize(
    ("nominal", "per", "in_ug_per_hour"),
    [
        ("15 ug/m^2/day", "BSA", 0.625),
        ("28 ug/day", None, 28 / 24),
        ("1 ug/kg/h", "WT", 1.0),
        ("2 mg/kg/week", "WT", 2000 / 168),
    ],
)
def test_a_nominal_dose(nominal, per, in_ug_per_hour):
    dose = Dose(nominal=nominal)
    assert dose.per == per
    assert dose.rate("ug", "h") == pytest.approx(in_ug_per_hour, rel=1e-12)
