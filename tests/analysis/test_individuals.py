"""The individual table, Css and the paper's line against their formulas."""

import math
from typing import Any

import jax
import numpy as np
import pytest

from popk.analysis import summary
from popk.analysis.exposure import main_rate
from popk.analysis.summary import individual_draws
from popk.population.events import arrange
from popk.spec.problem import PopkError

individuals: Any = summary.individuals
parameters: Any = summary.parameters
paper_line: Any = summary.paper_line
BSA = np.array([0.36, 0.42, 0.5])
WEIGHT = np.array([7.0, 8.5, 11.0])
RATES = np.array([0.2, 0.3, 0.25])


@pytest.fixture
def fit_of(read, infants, columns, model, drawn):
    def of(dose="15 ug/m^2/day", **parts):
        return drawn(model(**parts), read(infants, columns=columns), dose)

    return of


def test_table_is_medians_and_intervals_of_the_draws(fit_of):
    fit = fit_of()
    table = individuals(fit)
    quantities, units = individual_draws(fit)
    assert list(table.index) == ["s0", "s1", "s2"]
    assert table.attrs["units"] == units == {
        "CL": "L/h", "CL_scaled": "L/h/m²", "V": "L", "V_scaled": "L/m²", "half_life": "h",
        "Css_actual": "pg/mL", "Css_nominal": "pg/mL",
    }  # fmt: skip
    for name, values in quantities.items():
        low, middle, high = np.quantile(values.reshape(-1, 3), [0.05, 0.5, 0.95], axis=0)
        np.testing.assert_array_equal(table[name], middle)
        np.testing.assert_array_equal(table[f"{name}_q5"], low)
        np.testing.assert_array_equal(table[f"{name}_q95"], high)
    np.testing.assert_allclose(quantities["CL_scaled"], quantities["CL"] / BSA, rtol=1e-12)
    np.testing.assert_allclose(quantities["V_scaled"], quantities["V"] / BSA, rtol=1e-12)


def test_half_life(fit_of):
    fit = fit_of()
    draws = fit.samples.draws
    expected = math.log(2) * draws["V"] / draws["CL"]
    np.testing.assert_allclose(individual_draws(fit)[0]["half_life"], expected, rtol=1e-12)


def test_half_life_where_parameters_and_time_have_other_units(fit_of):
    fit = fit_of(cl={"unit": "mL/min"}, v={"unit": "mL"})
    draws = fit.samples.draws
    expected = math.log(2) * draws["V"] / (draws["CL"] * 60)  # h
    np.testing.assert_allclose(individual_draws(fit)[0]["half_life"], expected, rtol=1e-12)


def test_css_actual_is_the_main_rate_over_cl(fit_of):
    fit = fit_of()
    np.testing.assert_allclose(main_rate(fit.data), RATES, rtol=1e-12)
    expected = 1000 * RATES / fit.samples.draws["CL"]  # ug/L to pg/mL
    np.testing.assert_allclose(individual_draws(fit)[0]["Css_actual"], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("dose", "rate"),
    [
        ("15 ug/m^2/day", 15 / 24 * BSA),
        ("0.625 ug/h/m^2", 0.625 * BSA),
        ("2 ug/kg/day", 2 / 24 * WEIGHT),
        ("1 ng/kg/min", 0.001 * 60 * WEIGHT),
        ("28 ug/day", np.full(3, 28 / 24)),
        ("0.001 mg/h", np.ones(3)),
    ],
)
def test_css_nominal_is_the_dose_over_cl(fit_of, dose, rate):
    fit = fit_of(dose)
    expected = 1000 * rate / fit.samples.draws["CL"]
    np.testing.assert_allclose(individual_draws(fit)[0]["Css_nominal"], expected, rtol=1e-12)


def test_css_where_cl_is_in_other_units(fit_of):
    fit = fit_of("28 ug/day", cl={"unit": "mL/min"})
    expected = 1000 * 28 / 24 / (fit.samples.draws["CL"] * 0.06)
    np.testing.assert_allclose(individual_draws(fit)[0]["Css_nominal"], expected, rtol=1e-12)


def test_no_nominal_dose(fit_of):
    fit = fit_of(None)
    assert "Css_nominal" not in individuals(fit)
    assert "Css_actual" in individuals(fit)
    assert paper_line(fit) is None


def plain(model):
    """Neither CL nor V is scaled."""
    return model(cl={"scale": ()}, v={"scale": ()})


@pytest.mark.parametrize("column", [{"covariate": True}, {"covariate": True, "unit": "kg"}, None])
def test_dose_per_area_without_an_area_is_a_problem(read, infants, columns, model, drawn, column):
    others = {name: spec for name, spec in columns.items() if name != "BSA"}
    data = read(infants, columns=others | ({} if column is None else {"BSA": column}))
    fit = drawn(plain(model), data, "15 ug/m^2/day")
    with pytest.raises(PopkError) as caught:
        individuals(fit)
    (problem,) = caught.value.problems
    assert problem.key == "dose.nominal"
    assert "BSA" in problem.expected
    assert problem.cure


def test_boluses_have_no_steady_state(read, infants, columns, model, drawn):
    rows = infants.splitlines()
    text = "\n".join([rows[0], *(row.replace(f",{r},", ",0,") for row, r in (
        (row, row.split(",")[3]) for row in rows[1:])), ""])  # fmt: skip
    fit = drawn(model(), read(text, columns=columns), "15 ug/m^2/day")
    assert list(individual_draws(fit)[0]) == ["CL", "CL_scaled", "V", "V_scaled", "half_life"]
    assert paper_line(fit) is None


def test_subject_without_an_infusion_has_no_css_of_its_own(read, infants, columns, model, drawn):
    text = infants.replace("s0,24,14.4,0.2,", "s0,24,14.4,0,")
    assert text != infants
    fit = drawn(model(), read(text, columns=columns), "15 ug/m^2/day")
    css = individual_draws(fit)[0]["Css_actual"]
    assert np.isnan(css[..., 0]).all()
    assert np.isfinite(css[..., 1:]).all()


def test_main_rate_is_the_one_given_longest_however_often(read):
    text = (
        "ID,TIME,AMT,RATE,ADDL,II,SS,DV,EVID,MDV\n"
        "1,0,10,5,0,0,0,.,1,1\n"  # 2 h at 5
        "1,24,3,3,3,24,0,.,1,1\n"  # 4 times 1 h at 3
        "1,200,9,9,0,0,0,.,1,1\n"  # 1 h at 9
        "1,210,0,0,0,0,0,4,0,0\n"
        "2,0,10,5,0,0,0,.,1,1\n"  # 2 h at 5 and again 3 h at 5
        "2,10,15,5,0,0,0,.,1,1\n"
        "2,30,36,9,0,0,0,.,1,1\n"  # 4 h at 9
        "2,40,0,0,0,0,0,4,0,0\n"
    )
    np.testing.assert_array_equal(main_rate(read(text)), [3.0, 5.0])


def test_paper_line(fit_of):
    fit = fit_of()
    line = paper_line(fit)
    css = 1000 * 15 / 24 * BSA / fit.samples.draws["CL"]
    cl = fit.samples.draws["CL"] / BSA
    middle_css, middle_cl = np.median(css, axis=(0, 1)), np.median(cl, axis=(0, 1))
    found = (line.css_mean, line.css_sd, line.cl_median, line.cl_minimum, line.cl_maximum)
    assert found == pytest.approx(
        (
            middle_css.mean(),
            np.std(middle_css, ddof=1),
            np.median(middle_cl),
            middle_cl.min(),
            middle_cl.max(),
        ),
        rel=1e-12,
    )
    of_each_draw = {
        "css_mean": css.mean(axis=-1),
        "css_sd": np.std(css, axis=-1, ddof=1),
        "cl_median": np.median(cl, axis=-1),
        "cl_minimum": cl.min(axis=-1),
        "cl_maximum": cl.max(axis=-1),
    }
    for name, values in of_each_draw.items():
        assert line.intervals[name] == pytest.approx(np.quantile(values, [0.05, 0.95]))
    assert str(line) == (
        f"Css at 15 µg/m²/day: {line.css_mean:.0f} ± {line.css_sd:.0f} pg/mL (mean ± SD); "
        f"CL: median {line.cl_median:.2f} ({line.cl_minimum:.2f}-{line.cl_maximum:.2f}) L/h/m²"
    )


def test_paper_line_where_cl_has_no_scale(read, infants, columns, model, drawn):
    fit = drawn(plain(model), read(infants, columns=columns), "28 ug/day")
    line = paper_line(fit)
    assert line is not None
    assert line.cl_unit == "L/h"
    cl = np.median(fit.samples.draws["CL"], axis=(0, 1))
    assert line.cl_maximum == pytest.approx(cl.max())


def test_data_in_other_units_than_the_model_give_the_same_tables(
    read, infants, columns, model, drawn
):
    """mg, min and mg/L instead of ug, h and pg/mL; weight in g."""
    lines = [line.split(",") for line in infants.splitlines()]
    for row in lines[1:]:
        time, amount, rate, dv = row[1:5]
        row[1] = repr(float(time) * 60)
        row[2] = repr(float(amount) / 1000)
        row[3] = repr(float(rate) / 1000 / 60)
        row[4] = dv if dv == "." else repr(float(dv) * 1e-6)
        row[8] = repr(float(row[8]) * 1000)
    text = "\n".join([*map(",".join, lines), ""])
    others = {
        **columns,
        "TIME": {"unit": "min"},
        "AMT": {"unit": "mg"},
        "DV": {"unit": "mg/L"},
        "WT": {"covariate": True, "unit": "g"},
    }
    effect = {"parameter": "CL", "covariate": "WT", "relation": "power", "reference": "8 kg",
              "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0}}  # fmt: skip
    spec = model(covariates=[effect])
    one = read(infants, columns=columns)
    other = read(text, columns=others)
    same = [jax.tree.leaves(arrange(drawn(spec, d).model.spec, d)[0]) for d in (one, other)]
    for x, y in zip(*same, strict=True):
        np.testing.assert_allclose(np.asarray(y), np.asarray(x), rtol=1e-12, atol=1e-12)
    for dose in ("15 ug/m^2/day", "2 ug/kg/day"):
        a, b = drawn(spec, one, dose), drawn(spec, other, dose)
        for table in (parameters, individuals):
            left, right = table(a), table(b)
            assert list(left.columns) == list(right.columns)
            numbers = left.select_dtypes("number").columns
            np.testing.assert_allclose(
                right[numbers].to_numpy(), left[numbers].to_numpy(), rtol=1e-9
            )
        assert individuals(a).attrs == individuals(b).attrs
        assert str(paper_line(a)) == str(paper_line(b))


VARIABILITY = {
    "student_t": {"distribution": "student_t", "df": 4},
    "student_t, df estimated": {
        "distribution": "student_t",
        "df": {"prior": "gamma", "shape": 4.0, "rate": 0.5},
    },
    "normal": {"distribution": "normal"},
}


@pytest.mark.parametrize("kind", VARIABILITY)
def test_individual_values_follow_their_variability(fit_of, kind):
    spread = {**VARIABILITY[kind], "sd": {"prior": "halfnormal", "scale": 0.5}}
    fit = fit_of(cl={"variability": spread})
    draws = fit.samples.draws
    factor = 1 + draws["eta_CL"] if kind == "normal" else np.exp(draws["eta_CL"])
    expected = draws["TVCL"][..., None] * factor
    np.testing.assert_allclose(individual_draws(fit)[0]["CL_scaled"], expected, rtol=1e-9)
    assert (draws["CL"] > 0).all()
    table = parameters(fit)
    assert ("df_CL" in table.index) == kind.endswith("estimated")
    assert np.isfinite(table["contraction"]).all()


@pytest.mark.slow
def test_correlated_parameters(fit_of):
    fit = fit_of(correlation={"parameters": ["CL", "V"]})
    correlation = fit.samples.draws["correlation_CL_V"]
    assert ((correlation > -1) & (correlation < 1)).all()
    row = parameters(fit).loc["correlation_CL_V"]
    assert row["median"] == pytest.approx(np.median(correlation))
    assert row["unit"] == ""
