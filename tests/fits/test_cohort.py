"""The shipped synthetic infants: what is published holds, and the data follow from the truth."""

import importlib.util
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.stats import rankdata

from popk.data.body_size import body_surface_area
from popk.data.growth import lms, zscore

FOLDER = Path(__file__).parents[2] / "fits" / "blinatumomab-infants"
DATA_FILE, TRUTH_FILE = FOLDER / "synthetic_infants.csv", FOLDER / "synthetic_truth.csv"
Array = NDArray[np.float64]


def columns(path: Path) -> dict[str, Array]:
    """Columns of a file by name; a missing value is NaN."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header, *rows = [line.split(",") for line in lines if not line.startswith("#")]
    cells = [[np.nan if cell == "." else float(cell) for cell in row] for row in rows]
    return dict(zip(header, np.array(cells).T, strict=True))


def chosen(rows: NDArray[np.bool_]) -> dict[str, Array]:
    """The data rows for which `rows` is true."""
    return {name: column[rows] for name, column in DATA.items()}


DATA, TRUTH = columns(DATA_FILE), columns(TRUTH_FILE)
CL = TRUTH["CL_per_m2"]
DOSES, OBSERVED = chosen(DATA["EVID"] == 1), chosen(DATA["EVID"] == 0)
IDS, FIRST = np.unique(DATA["ID"], return_index=True)
INFANTS = {name: column[FIRST] for name, column in DATA.items()}


def truth_values() -> dict[str, float]:
    lines = TRUTH_FILE.read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix("# truth: ").split(" = ") for line in lines if " = " in line]
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and "#" not in pair[0]}


def predicted(infant: int) -> Array:
    """Concentration (pg/mL) at the observations, by integrating the amount (µg) numerically."""
    dosed = DOSES["ID"] == infant
    starts, rates = DOSES["TIME"][dosed], DOSES["RATE"][dosed]
    ends = starts + DOSES["AMT"][dosed] / rates
    times = OBSERVED["TIME"][OBSERVED["ID"] == infant]
    clearance, volume = (TRUTH[name][TRUTH["ID"] == infant].item() for name in ("CL", "V"))
    breaks = np.unique(np.concatenate([starts, ends, [times[-1] + 1.0]]))
    amount, result = 0.0, np.zeros(times.size)
    for left, right in pairwise(breaks):
        rate = rates[(starts <= left) & (left < ends)].sum()
        path = solve_ivp(
            lambda _, a, rate=rate: rate - clearance / volume * a,
            (left, right),
            [amount],
            method="LSODA",
            dense_output=True,
            rtol=1e-9,
            atol=1e-12,
        )
        inside = (times > left) & (times <= right)
        if inside.any():
            result[inside] = path.sol(times[inside])[0]
        amount = path.y[0, -1]
    return 1000.0 * result / volume


def interrupted_infant() -> int:
    return int(truth_values()["interrupted_ID"])


def test_published_figures_to_their_printed_digits():
    css = 625.0 / CL  # pg/mL at 15 µg/m²/day
    assert len(CL) == 26
    assert f"{css.mean():.0f} {css.std(ddof=1):.0f}" == "706 194"
    assert f"{np.median(CL):.2f} {CL.min():.2f} {CL.max():.2f}" == "0.89 0.57 2.66"


def test_clearance_is_unrelated_to_age():
    young = INFANTS["AGE"] < 6
    assert young.sum() == 13
    assert abs(np.corrcoef(rankdata(INFANTS["AGE"]), rankdata(CL))[0, 1]) < 0.1
    assert 0.9 < np.median(CL[young]) / np.median(CL[~young]) < 1.1


def test_stated_truth_is_that_of_the_infants():
    stated = truth_values()
    log_cl, log_v = np.log(CL), np.log(TRUTH["V_per_m2"])
    expected = {
        "TVCL": np.exp(log_cl.mean()),
        "omega_CL": log_cl.std(ddof=1),
        "V_sample": np.exp(log_v.mean()),
        "omega_V_sample": log_v.std(ddof=1),
    }
    for name, value in expected.items():
        assert stated[name] == pytest.approx(value, rel=1e-5)
    assert (stated["TVV"], stated["omega_V"], stated["sigma"]) == (3.2, 0.2, 0.15)
    assert abs(stated["CL_skewness"]) < 0.1


def test_body_sizes_are_plausible_and_give_the_area():
    for i, girl in enumerate(INFANTS["SEX"] == 1):
        sex, length, weight = "female" if girl else "male", INFANTS["HT"][i], INFANTS["WT"][i]
        by_age = lms("length_for_age", sex, INFANTS["AGE"][i] * 365.25 / 12)
        assert abs(zscore(length, *by_age)) < 3
        assert abs(zscore(weight, *lms("weight_for_length", sex, length))) < 3
    area = body_surface_area(INFANTS["WT"], INFANTS["HT"], "haycock")
    np.testing.assert_allclose(TRUTH["BSA"], area, rtol=0, atol=6e-7)
    assert set(INFANTS["SEX"]) == {0, 1}
    assert 2 <= INFANTS["AGE"].min() <= INFANTS["AGE"].max() <= 12


def test_covariates_do_not_change_within_an_infant():
    for name in ("AGE", "WT", "HT", "SEX"):
        first = dict(zip(IDS, INFANTS[name], strict=True))
        assert [first[infant] for infant in DATA["ID"]] == list(DATA[name])


def test_scaled_parameters_are_area_times_those_per_area():
    for name in ("CL", "V"):
        expected = TRUTH[f"{name}_per_m2"] * TRUTH["BSA"]
        np.testing.assert_allclose(TRUTH[name], expected, rtol=3e-6)


def test_dosing_is_15_for_28_days_with_one_interruption():
    duration = DOSES["AMT"] / DOSES["RATE"]
    area = dict(zip(TRUTH["ID"], TRUTH["BSA"], strict=True))
    daily = DOSES["RATE"] * 24 / np.array([area[infant] for infant in DOSES["ID"]])
    hurt = DOSES["ID"] == interrupted_infant()
    np.testing.assert_allclose(duration, duration.round(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(duration[~hurt], 672.0, rtol=0, atol=1e-9)
    np.testing.assert_allclose(daily[~hurt], 15.0, rtol=1e-4)
    np.testing.assert_allclose(daily[hurt], [15.0, 5.0, 15.0], rtol=1e-4)
    start = DOSES["TIME"][hurt]
    end = start + duration[hurt]
    gaps = [start[1] - end[0], end[1] - start[1], start[2] - end[1], end[2]]
    np.testing.assert_allclose(gaps, [48.0, 48.0, 0.0, 672.0], rtol=0, atol=1e-6)
    assert (~hurt).sum() == 25


def test_the_interruption_is_sampled():
    infant = interrupted_infant()
    times = OBSERVED["TIME"][OBSERVED["ID"] == infant]
    doses = DOSES["TIME"][DOSES["ID"] == infant]
    assert np.sum((times > doses[1] - 48) & (times < doses[1])) == 2
    assert np.sum((times > doses[1]) & (times < doses[2])) == 1


def test_rows_are_in_order_and_complete():
    for infant in IDS:
        assert (np.diff(DATA["TIME"][DATA["ID"] == infant]) > 0).all()
    assert (np.diff(DATA["ID"]) >= 0).all()
    np.testing.assert_array_equal(DATA["MDV"], DATA["EVID"])
    np.testing.assert_array_equal(np.isnan(DATA["DV"]), DATA["EVID"] == 1)
    assert not DOSES["CENS"].any()
    assert not OBSERVED["AMT"].any()
    assert not OBSERVED["RATE"].any()


def test_values_are_censored_at_both_limits():
    below, above = OBSERVED["CENS"] == 1, OBSERVED["CENS"] == -1
    values = OBSERVED["DV"]
    assert set(values[below]) == {50.0}
    assert set(values[above]) == {1000.0}
    assert ((values >= 50) & (values <= 1000)).all()
    assert min(below.sum(), above.sum()) >= 5


def test_observations_follow_from_the_truth_by_numerical_integration():
    stated = truth_values()["sigma"]
    predictions = np.concatenate([predicted(int(infant)) for infant in IDS])
    # chosen by the prediction, never by the value, so that the limits do not trim the residuals
    clear = (predictions > 50 * np.exp(4 * stated)) & (predictions < 1000 * np.exp(-4 * stated))
    every = np.log(OBSERVED["DV"] / predictions)
    residual = every[clear]
    number = residual.size
    assert number > 30
    assert not OBSERVED["CENS"][clear].any()
    assert residual.std(ddof=1) == pytest.approx(stated, abs=3 * stated / np.sqrt(2 * (number - 1)))
    assert abs(residual.mean()) < 3 * stated / np.sqrt(number)
    assert (every[OBSERVED["CENS"] == 1] > -4 * stated).all()
    assert (every[OBSERVED["CENS"] == -1] < 4 * stated).all()
    assert (np.abs(every[OBSERVED["CENS"] == 0]) < 4 * stated).all()


def test_the_interrupted_infant_follows_from_the_truth():
    infant = interrupted_infant()
    own = OBSERVED["ID"] == infant
    kept = OBSERVED["CENS"][own] == 0
    residual = np.log(OBSERVED["DV"][own] / predicted(infant))[kept]
    assert residual.size >= 6
    assert residual.std(ddof=1) == pytest.approx(0.15, abs=3 * 0.15 / np.sqrt(2 * residual.size))


def test_files_are_those_the_script_writes():
    spec = importlib.util.spec_from_file_location("make_data", FOLDER / "make_data.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    data_text, truth_text = script.make()
    assert DATA_FILE.read_bytes() == data_text.encode("utf-8")
    assert TRUTH_FILE.read_bytes() == truth_text.encode("utf-8")
    other_data, _ = script.make(seed=52)
    assert other_data != data_text


def test_check_option_accepts_the_committed_files():
    command = [sys.executable, str(FOLDER / "make_data.py"), "--check"]
    # popk may be importable here by the working directory alone
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parents[1]), *sys.path])}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", [DATA_FILE, TRUTH_FILE], ids=["data", "truth"])
def test_header_says_synthetic_and_names_the_sources(path: Path):
    text = path.read_text(encoding="utf-8")
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert text.startswith("# SYNTHETIC")
    for part in ("make_data.py", "seed", "Published", "Made up", "Units", "10.1200/JCO-25-01806"):
        assert part in header
