"""Expected information against exact conjugate results, in words, and against refitted data."""

import numpy as np
import pandas as pd
import pytest

from popk.analysis.priors.information import best_times, information
from popk.data.nonmem.read import read_data
from popk.population.model import Model
from popk.spec.fit import DataSpec, Sampler
from popk.spec.model import ModelSpec
from popk.study.fit import fit

HEAD = "ID,TIME,AMT,RATE,DV,EVID,MDV"
END, TRUE = 96.0, {"TVCL": 0.9, "TVV": 4.0, "omega_CL": 0.25, "omega_V": 0.2, "sigma": 0.15}
SUBJECTS, RATE = 20, 1.0
SPREAD = {"distribution": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.3}}
SPEC = {
    "name": "infusion",
    "structure": "one_compartment",
    "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
    "parameters": {
        "CL": {
            "unit": "L/h",
            "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
            "variability": SPREAD,
        },
        "V": {
            "unit": "L",
            "typical": {"prior": "lognormal", "median": 4.0, "sigma": 0.7},
            "variability": SPREAD,
        },
    },
    "residual": {"error": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.3}},
}


def concentration(time, cl, v):
    k = cl / v
    return RATE / cl * (np.exp(-k * np.maximum(time - END, 0)) - np.exp(-k * time))


@pytest.fixture(scope="module")
def infused(tmp_path_factory):
    """Data of one infusion, sampled at steady state and once more at a time, or not."""

    def of(further: float | None = None):
        rng = np.random.default_rng(12)
        cl, v = (
            TRUE[f"TV{p}"] * np.exp(TRUE[f"omega_{p}"] * rng.standard_normal(SUBJECTS))
            for p in ("CL", "V")
        )
        lines = [HEAD]
        for i in range(SUBJECTS):
            times = np.array([48.0, 72.0, 90.0, 60.0 if further is None else further])
            noise = np.exp(TRUE["sigma"] * rng.standard_normal(4))
            dv = concentration(times, cl[i], v[i]) * noise
            rows = [(t, f"0,0,{c:.5f},0,0") for t, c in zip(times, dv, strict=True)]
            rows = sorted(rows[: 3 if further is None else 4])
            lines.append(f"{i + 1},0,{RATE * END},{RATE},.,1,1")
            lines += [f"{i + 1},{t},{items}" for t, items in rows]
        path = tmp_path_factory.mktemp("infused") / "data.csv"
        path.write_text("\n".join([*lines, ""]))
        return read_data(path, DataSpec())

    return of


@pytest.mark.slow
def test_of_steady_states_it_is_the_exact_information(steady_state, drawn):
    """With V known log Css is normal, and linear in log TVCL and the effect."""
    model, data = steady_state.problem
    own = drawn(model.spec.model_dump(), data)
    table = information(own)
    draws = {name: np.concatenate(value) for name, value in own.samples.draws.items()}
    today = np.cov(np.log(draws["TVCL"]), draws["CL_AGE_below"])
    omega, sigma = (np.median(draws[name]) ** 2 for name in ("omega_CL", "sigma"))
    counts = np.bincount(steady_state.subject)
    gain = 1 / (omega + sigma / (counts + 1)) - 1 / (omega + sigma / counts)
    design = np.stack([np.ones(counts.size), steady_state.young])
    after = np.linalg.inv(np.linalg.inv(today) + (design * gain) @ design.T)
    row = table[(table["reference"] == "start") & (table["time"] == 0.0)].iloc[0]
    np.testing.assert_allclose(row["sd_CL"], np.sqrt(after[0, 0]), rtol=1e-8)
    np.testing.assert_allclose(row["contraction_CL"], 1 - after[0, 0] / 1.0**2, rtol=1e-8)
    np.testing.assert_allclose(row["sensitivity_CL"], -1.0, rtol=1e-8)
    assert table.attrs["sd"] == {"CL": pytest.approx(np.sqrt(today[0, 0]))}
    assert not any(column.endswith("_V") for column in table)


@pytest.mark.slow
def test_slopes_are_those_of_the_closed_form(infused, drawn):
    table = information(drawn(SPEC, infused()))
    draws = drawn(SPEC, infused()).samples.draws
    cl, v = (float(np.median(draws[name])) for name in ("TVCL", "TVV"))
    clock = table["time"] + np.where(table["reference"] == "end", END, 0.0)
    log_c = {
        (a, b): np.log(concentration(clock, cl * np.exp(a), v * np.exp(b)).clip(1e-300))
        for a, b in [(0, 0), (1e-5, 0), (-1e-5, 0), (0, 1e-5), (0, -1e-5)]
    }
    given = clock > 0
    slope_cl = (log_c[1e-5, 0] - log_c[-1e-5, 0]) / 2e-5
    slope_v = (log_c[0, 1e-5] - log_c[0, -1e-5]) / 2e-5
    np.testing.assert_allclose(table["sensitivity_CL"][given], slope_cl[given], atol=1e-5)
    np.testing.assert_allclose(table["sensitivity_V"][given], slope_v[given], atol=1e-5)
    np.testing.assert_allclose(table["concentration"][given], np.exp(log_c[0, 0][given]), rtol=1e-6)
    # Before the first dose there is nothing to learn, at steady state nothing of V
    first = table[(table["reference"] == "start") & (table["time"] == 0)].iloc[0]
    assert first["sd_V"] == pytest.approx(table.attrs["sd"]["V"])
    plateau = table[(table["reference"] == "start") & (table["time"] == END)].iloc[0]
    assert plateau["sd_V"] > 0.95 * table.attrs["sd"]["V"]
    assert table["sd_V"].min() < 0.5 * table.attrs["sd"]["V"]


@pytest.mark.slow
def test_a_limit_of_the_assay_ends_what_late_samples_teach(infused, drawn):
    data = infused()
    events = np.argwhere(data.observed)[::7]
    for i, j in events:
        data.censoring[i, j], data.lower[i, j], data.upper[i, j] = 1, -np.inf, 0.3
    limited, free = (information(drawn(SPEC, one)) for one in (data, infused()))
    late = limited["reference"] == "end"
    assert (limited.loc[late, "measurable"].diff().dropna() <= 1e-12).all()
    assert limited.loc[late, "measurable"].iloc[-1] < 0.2
    np.testing.assert_allclose(free["measurable"][1:], 1.0, rtol=1e-12)
    assert limited.loc[late, "sd_V"].idxmin() < free.loc[late, "sd_V"].idxmin()


def made(start, end, today=1.0, infusion=True):
    rows = [("start", float(t), sd) for t, sd in enumerate(start)]
    rows += [("end", float(t), sd) for t, sd in enumerate(end)]
    table = pd.DataFrame(rows, columns=["reference", "time", "sd_V"])
    table.attrs = {"sd": {"V": today}, "unit": "h", "infusion": infusion}
    return table


def test_best_times_in_words():
    table = made([1, 0.5, 0.5, 0.58, 0.7, 1], [0.52, 0.55, 0.59, 0.9])
    expected = "1 to 3 h after the start of dosing, or within 2 h after the end of the infusion"
    assert best_times(table, "V") == expected
    table = made([1, 1, 0.5, 1], [1, 1], infusion=False)
    assert best_times(table, "V") == "about 2 h after the start of dosing"
    table = made([1, 1], [0.5, 1], infusion=False)
    assert best_times(table, "V") == "right at the last dose"
    assert best_times(made([1, 0.97], [1, 0.99]), "V") == ""


@pytest.mark.slow
def test_refitted_with_one_more_sample_the_spread_is_the_expected_one(infused):
    model = Model(ModelSpec.model_validate(SPEC))
    first = fit(model, infused(), Sampler(seed=5))
    table = information(first)
    # From the steady state alone V stays as unknown as it was
    assert table.attrs["sd"]["V"] > 0.75 * 0.7
    useful, useless = 3.0, END * 0.7
    expected, found = [], []
    for reference, time, clock in (("end", useful, END + useful), ("start", useless, useless)):
        rows = table[table["reference"] == reference]
        row = rows.iloc[int((rows["time"] - time).abs().argmin())]
        expected.append(row["sd_V"])
        again = fit(model, infused(clock), Sampler(seed=5))
        found.append(float(np.log(again.samples.draws["TVV"]).std()))
    # One data set of 20: its own omegas and sigma are off by some 1/sqrt(2 * 20), and so is the SD;
    # and with V so unknown the linear approximation is coarse
    np.testing.assert_allclose(found, expected, rtol=0.4)
    assert found[0] < 0.35 * found[1]
    gain = table.attrs["sd"]["V"] - np.array(expected)
    assert gain[0] > 0.8 * (table.attrs["sd"]["V"] - table["sd_V"].min()) > gain[1]
    assert "after the end of the infusion" in best_times(table, "V")
