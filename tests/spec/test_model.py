from pathlib import Path

import pytest
from pydantic import ValidationError

from popk.spec.model import ModelSpec, read_model
from popk.spec.priors import Fixed, Gamma, is_positive
from popk.spec.problem import PopkError
from popk.spec.record import validate

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.toml"))
SD = 'variability = {distribution = "lognormal", sd = {prior = "halfnormal", scale = 0.5}}'
BELOW = 'relation = "below"\ncut = "6 month"'
EFFECT = 'effect = {prior = "normal", loc = 0.0, scale = 0.5}'
RESIDUAL = 'error = "lognormal"\nsd = {prior = "halfnormal", scale = 0.5}'
TYPICAL_V = 'typical = {prior = "lognormal", median = 3.2, sigma = 0.4}'


def test_a_whole_model(model):
    spec = model()
    assert spec.structure == "one_compartment"
    assert spec.covariate_names == ("BSA", "AGE")
    assert spec.covariates[0].name == "CL_AGE_below"
    assert spec.parameters["V"].scales == ()
    assert spec.parameters["CL"].scales[0].exponent == 1.0
    assert spec.based_on is None


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_shipped_models_read_and_come_back_from_what_they_say(path):
    spec = read_model(path)
    assert validate(ModelSpec, spec.model_dump()) == spec


def test_records_are_frozen(model):
    spec = model()
    for record, name in ((spec, "name"), (spec.units, "time"), (spec.parameters["CL"], "unit"),
                         (spec.covariates[0], "cut"), (spec.residual, "sd")):  # fmt: skip
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, name, "x")


@pytest.mark.parametrize(
    ("old", "new", "unit"),
    [
        ("reference = ", "reference = ", "L/h/m²"),
        (', exponent = 1.0}', "}", "L/h/m²"),
        ('"1 m^2", exponent = 1.0', '"1.73 m^2"', "L/h/(1.73 m²)"),
        ('"BSA", reference = "1 m^2", exponent = 1.0', '"WT", reference = "70 kg", exponent = 0.75',
         "L/h at WT 70 kg"),
        ('"BSA", reference = "1 m^2", exponent = 1.0', '"WT", reference = "70 kg"', "L/h/(70 kg)"),
        ('"1 m^2", exponent = 1.0', "1", "L/h/BSA"),
        ('"1 m^2", exponent = 1.0', "70", "L/h/(70 BSA)"),
        ('scale = {covariate = "BSA", reference = "1 m^2", exponent = 1.0}',
         'scale = [{covariate = "WT", reference = "1 kg"}, {covariate = "F", reference = "2 g"}]',
         "L/h/kg/(2 g)"),
    ],
)  # fmt: skip
def test_the_unit_of_a_typical_value(model, old, new, unit):
    assert model((old, new)).typical_unit("CL") == unit


def test_the_unit_of_an_unscaled_parameter(model):
    assert model().typical_unit("V") == "L"
    assert model(('[parameters.V]\nunit = "L"', '[parameters.V]\nunit = "ug/(ug/L)"')
                 ).typical_unit("V") == "µg/(µg/L)"  # fmt: skip


def second(relation):
    return (EFFECT, f'{EFFECT}\n[[covariates]]\nparameter = "V"\ncovariate = "WT"\n{relation}')


LOGNORMAL = '{prior = "lognormal", median = 1.0, sigma = 1.0}'


@pytest.mark.parametrize(
    ("relation", "name"),
    [
        (f'relation = "below"\ncut = 5\n{EFFECT}', "V_WT_below"),
        (f'relation = "category"\nlevel = "big"\n{EFFECT}', "V_WT_big"),
        (f'relation = "category"\nlevel = 2\n{EFFECT}', "V_WT_2"),
        (f'relation = "power"\nreference = "70 kg"\n{EFFECT}', "V_WT_power"),
        (f'relation = "linear"\ncenter = "3 kg"\nper = "1 kg"\n{EFFECT}', "V_WT_linear"),
        (f'relation = "exponential"\ncenter = 3\n{EFFECT}', "V_WT_exponential"),
        (f'relation = "maturation"\nhalf = {LOGNORMAL}\nhill = {LOGNORMAL}', "V_WT_maturation"),
    ],
)
def test_every_relation_reads(model, relation, name):
    assert model(second(relation)).covariates[1].name == name


@pytest.mark.parametrize(
    ("edit", "key", "said"),
    [
        (('name = "one compartment"\n', ""), "name", "add name = ..."),
        (('"one_compartment"', '"one_compartmnt"'), "structure", "did you mean 'one_compartment'?"),
        (('time = "h"', 'time = "hx"'), "units.time", "unknown unit 'hx'"),
        (('time = "h"', 'time = "kg"'), "units", "'kg' cannot be converted to 'h'"),
        (('amount = "ug"', 'amount = "ug/L"'), "units", "cannot be converted to 'mg'"),
        (('"pg/mL"', '"pg"'), "units", "cannot be converted to 'mg/L'"),
        (('unit = "L/h"', 'unit = "L"'), None, "parameters.CL.unit: 'L' cannot be converted"),
        (('unit = "L"', 'unit = "kg"'), None, "parameters.V.unit: 'kg' cannot be converted"),
        (('unit = "L/h"', 'unit = "L//h"'), "parameters.CL.unit", "a single '/' divides"),
        (("[parameters.V]", "[parameters.Q]"), None, "CL, V; the file names CL, Q"),
        (("median = 1.0", "median = -1.0"), "parameters.CL.typical.median", "greater than 0"),
        (('"lognormal", median = 1.0', '"lognorm", median = 1.0'), "parameters.CL.typical.prior",
         "did you mean 'lognormal'?"),
        ((TYPICAL_V, 'typical = {prior = "normal", loc = 1.0, scale = 1.0}'), "parameters.V",
         "a typical value is positive"),
        ((TYPICAL_V, 'typical = {prior = "uniform", low = -1.0, high = 1.0}'), "parameters.V",
         "a typical value is positive"),
        ((TYPICAL_V, 'typical = {prior = "fixed", value = 0.0}'), "parameters.V",
         "a typical value is positive"),
        ((TYPICAL_V, 'typical = {prior = "uniform", low = 2.0, high = 1.0}'),
         "parameters.V.typical", "low 2.0 is not below high 1.0"),
        ((TYPICAL_V, "typical = {median = 1.0, sigma = 1.0}"), "parameters.V.typical",
         "add prior = ..."),
        (("exponent = 1.0", "exponant = 1.0"), "parameters.CL.scale.exponant",
         "did you mean 'exponent'?"),
        ((SD, SD.replace('"lognormal"', '"lognromal"')), "parameters.CL.variability.distribution",
         "did you mean 'lognormal'?"),
        ((SD, SD.replace('"lognormal"', '"student_t"')), "parameters.CL.variability",
         "student_t needs its degrees of freedom, e.g. df = 4"),
        ((SD, SD.replace('"lognormal"', '"normal", df = 4')), "parameters.CL.variability",
         "df belongs to student_t only, not to normal"),
        ((SD, SD.replace('"lognormal"',
                         '"student_t", df = {prior = "normal", loc = 4.0, scale = 1.0}')),
         "parameters.CL.variability", "the prior of df lies on positive values"),
        ((SD, SD.replace('"halfnormal"', '"normal", loc = 0.0')), "parameters.CL.variability",
         "the prior of an SD lies on positive values"),
        ((RESIDUAL, RESIDUAL.replace('"halfnormal"', '"normal", loc = 0.0')), "residual",
         "the prior of an SD lies on positive values"),
        (('error = "lognormal"', 'error = "lognormall"'), "residual.error",
         "did you mean 'lognormal'?"),
        ((RESIDUAL, 'error = "combined"\nadditive = {prior = "halfnormal", scale = 0.5}\n'
          'proportional = {prior = "normal", loc = 0.0, scale = 0.5}'), "residual",
         "the prior of an SD lies on positive values"),
        (('parameter = "CL"', 'parameter = "KA"'), None, "a covariate acts on 'KA'"),
        (('relation = "below"', 'relation = "blow"'), "covariates.1.relation",
         "did you mean 'below'?"),
        (('cut = "6 month"', 'cutt = "6 month"\ncut = 6'), "covariates.1.cutt",
         "did you mean 'cut'?"),
        ((EFFECT, f'{EFFECT}\n[[covariates]]\nparameter = "CL"\ncovariate = "AGE"\n{BELOW}\n'
          f'{EFFECT}'), None, "the same covariate effect is written twice"),
        (second('relation = "linear"\ncenter = 1\neffect = {prior = "halfnormal", scale = 1.0}'),
         "covariates.2.effect.prior", "normal, fixed"),
        (second(f'relation = "maturation"\nunit = "kg"\nhalf = {LOGNORMAL}\nhill = {LOGNORMAL}'),
         "covariates.2", "'kg' cannot be converted to 'week'"),
        (second(f'relation = "maturation"\nhalf = {LOGNORMAL}\n'
                'hill = {prior = "normal", loc = 1.0, scale = 1.0}'),
         "covariates.2", "half and hill are positive"),
        (("[residual]", '[correlation]\nparameters = ["CL"]\n[residual]'),
         "correlation.parameters", "at least 2"),
        (("[residual]", '[correlation]\nparameters = ["CL", "KA"]\n[residual]'), None,
         "correlation names 'KA', which has no variability"),
    ],
)  # fmt: skip
def test_each_fault_names_its_key_and_its_cure(model, fault, edit, key, said):
    found = fault(model, edit)
    assert found.file.endswith("model.toml")
    assert said in str(found)
    if key is None:
        assert found.key is None
    else:
        assert found.key is not None
        assert found.key.startswith(key)
        assert key in str(found)


def test_correlated_etas_share_one_distribution(model, fault):
    correlated = ("[residual]", '[correlation]\nparameters = ["CL", "V"]\n[residual]')
    assert model(correlated).correlation.concentration == 2.0
    student = (SD, SD.replace('"lognormal"', '"student_t", df = 4'))
    both = (SD, SD.replace('"lognormal"', '"student_t", df = 4'))
    assert "share one distribution" in str(fault(model, correlated, student))
    assert model(correlated, student, both).correlation.parameters == ("CL", "V")
    other = (SD, SD.replace('"lognormal"', '"student_t", df = 5'))
    assert "same df" in str(fault(model, correlated, student, other))
    normal = (SD, SD.replace('"lognormal"', '"normal"'))
    assert "share one distribution" in str(fault(model, correlated, normal, normal))


def test_all_faults_are_told_at_once(model):
    with pytest.raises(PopkError) as caught:
        model(("median = 1.0", "median = 0"), ('"below"', '"over"'), ('"pg/mL"', '"pg/mLL"'))
    assert len(caught.value.problems) == 3
    assert not caught.value.unreadable


@pytest.mark.parametrize(
    ("edit", "missing", "unknown"),
    [
        (("[units]", "[unit]"), "units", "unit"),
        (("median = 1.0", "mediam = 1.0"), "parameters.CL.typical.median",
         "parameters.CL.typical.mediam"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_missing_and_unknown(model, edit, missing, unknown):
    with pytest.raises(PopkError) as caught:
        model(edit)
    first, other = caught.value.problems
    assert (first.key, other.key) == (missing, unknown)
    assert f"add {missing.split('.')[-1]} = ..." in str(first)
    assert f"did you mean {missing.split('.')[-1]!r}?" in str(other)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PopkError, match="no readable file") as caught:
        read_model(tmp_path / "none.toml")
    assert caught.value.unreadable
    path = tmp_path / "bad.toml"
    for content in (b"name = one", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(PopkError, match="not TOML") as caught:
            read_model(path)
        assert caught.value.unreadable
        assert "bad.toml" in str(caught.value)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "model.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MODELS[0].read_bytes())
    assert read_model(path) == read_model(MODELS[0])


def test_positive_priors():
    assert is_positive(Gamma(prior="gamma", shape=1.0, rate=1.0))
    assert is_positive(Fixed(prior="fixed", value=1.0))
    assert not is_positive(Fixed(prior="fixed", value=-1.0))
