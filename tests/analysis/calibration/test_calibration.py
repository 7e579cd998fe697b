"""Calibration: a sound program passes, a broken likelihood or sampler is caught."""

import math
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import popk.analysis.calibration.trials
import popk.inference.batch
import popk.inference.lockstep
import popk.population.residual
from popk.analysis.calibration.calibration import assay_limit, calibrate, gathered, planned
from popk.analysis.calibration.trials import done, drawn
from popk.analysis.calibration.uniform import THIN, band, deviation, ecdf, p_of
from popk.analysis.calibration.verdicts import verdicts_of
from popk.data.nonmem.read import read_data
from popk.population.model import Model
from popk.spec.fit import DataSpec, Dose, Sampler
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from popk.study.cluster import connected
from popk.study.work import run

SUBJECTS, WAVE = 12, 64
"""Trials of a piece; fewer would be another program."""
REPLICATES = 88
RATE = np.linspace(2.0, 6.0, SUBJECTS).round(2)


def prior(kind, **numbers):
    return {"prior": kind, **numbers}


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """Three steady states in each of twelve subjects: linear and normal given omega and sigma."""
    lines = ["ID,TIME,EVID,MDV,AMT,RATE,SS,II,DV,WT"]
    for i, rate in enumerate(RATE):
        for t in (24, 48, 72):
            lines.append(f"s{i},{t},1,1,0,{rate},1,0,.,{3 + i % 4}")
            lines.append(f"s{i},{t},0,0,0,0,0,0,1.0,{3 + i % 4}")
    path = tmp_path_factory.mktemp("design") / "data.csv"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    columns: Any = {"WT": {"covariate": True, "unit": "kg"}}
    return read_data(path, DataSpec(columns=columns))


def model(name, **parts):
    """Programs are kept by the model's name and content: a broken one needs a name of its own."""
    spread = prior("gamma", shape=6.0, rate=20.0)
    return Model(
        ModelSpec.model_validate(
            {
                "name": name,
                "structure": "one_compartment",
                "units": {"time": "h", "amount": "ug", "concentration": "ug/L"},
                "parameters": {
                    "CL": {
                        "unit": "L/h",
                        "typical": prior("lognormal", median=1.0, sigma=0.5),
                        "variability": {"distribution": "lognormal", "sd": spread},
                    },
                    "V": {"unit": "L", "typical": prior("fixed", value=3.0)},
                },
                "residual": {"error": "lognormal", "sd": prior("gamma", shape=6.0, rate=30.0)},
                **parts,
            }
        )
    )


@pytest.fixture(scope="module")
def sound(design):
    return calibrate(jax.random.key(1), model("sound"), design, REPLICATES)


def outcomes(found):
    return {verdict.check: verdict.outcome for verdict in verdicts_of(found)}


@pytest.mark.slow
def test_a_sound_program_passes(sound):
    assert outcomes(sound) == {
        "ranks": "passed",
        "coverage, population": "passed",
        "coverage, individuals": "passed",
        "convergence gate": "passed",
    }
    table = sound.parameters
    assert list(table.index) == ["TVCL", "omega_CL", "sigma"]
    assert (table["deviation"] < band(REPLICATES, 0.999)).all()
    # Five Monte Carlo errors: a posterior median is not quite unbiased on average over the prior
    assert abs(table.loc["TVCL", "bias"]) < 5 * table.loc["TVCL", "bias_error"]
    assert (
        abs(sound.overall.loc["CL", "coverage"] - 0.9)
        < 4 * sound.overall.loc["CL", "coverage_error"]
    )
    assert sound.ranks.shape == (REPLICATES, 3)
    assert sound.ranks.to_numpy().min() >= 0
    assert sound.ranks.to_numpy().max() <= THIN
    assert sound.missed == 0


@pytest.mark.slow
def test_css_follows_from_clearance(sound):
    own = sound.individuals
    assert list(own.index.unique("quantity")) == ["CL", "Css"]
    np.testing.assert_array_equal(own.loc["CL", "coverage"], own.loc["Css", "coverage"])
    assert sound.units == {"CL": "L/h", "Css": "ug/L"}
    assert sound.css == "each subject's own rate"
    # Css = rate/CL: its mean is the rate times the mean of 1/CL
    mean = own.loc["Css", "truth"].to_numpy() / RATE
    assert (mean > 1.0 / own.loc["CL", "truth"].to_numpy()).all()
    assert len(own.loc["CL"]) == SUBJECTS
    # CL and Css err by about the same in percent
    ratio = own.loc["Css", "rmse_percent"].to_numpy() / own.loc["CL", "rmse_percent"].to_numpy()
    np.testing.assert_allclose(ratio, 1.0, atol=0.3)


@pytest.mark.slow
def test_a_broken_likelihood_is_caught(design, monkeypatch):
    """Residual SD taken for 1.4 times what it is: the data are simulated with the right one."""
    right = popk.population.residual._log_normal

    def wrong(value, scale):
        return right(value, scale._replace(log_sd=scale.log_sd + math.log(1.4)))

    monkeypatch.setattr(popk.population.residual, "_log_normal", wrong)
    found = calibrate(jax.random.key(1), model("broken likelihood"), design, WAVE)
    assert outcomes(found)["ranks"] == "failed"
    assert found.parameters.loc["sigma", "p_holm"] < 1e-6


@pytest.mark.slow
def test_draws_that_are_too_near_their_mean_are_caught(design, monkeypatch):
    right = popk.inference.batch.Batch._results

    def wrong(batch, columns, *rest):
        shrunk = [own.mean(axis=(0, 1)) + 0.7 * (own - own.mean(axis=(0, 1))) for own in columns]
        return right(batch, shrunk, *rest)

    monkeypatch.setattr(popk.inference.batch.Batch, "_results", wrong)
    found = calibrate(jax.random.key(1), model("sound"), design, REPLICATES)
    said = outcomes(found)
    assert said["convergence gate"] == "passed"
    assert said["coverage, individuals"] == "failed"
    # 1.645 SDs, of which 0.7 are left, hold 75 % of a normal; four Monte Carlo errors
    row = found.overall.loc["CL"]
    assert abs(row["coverage"] - 0.75) < 4 * row["coverage_error"]


@pytest.mark.slow
def test_a_broken_sampler_is_caught(design, monkeypatch):
    """Momenta that are too small: the chains converge, to a posterior that is too narrow."""
    small = SimpleNamespace(
        **{name: getattr(jax.random, name) for name in ("wrap_key_data", "split", "fold_in")},
        uniform=jax.random.uniform,
        normal=lambda *given: 0.75 * jax.random.normal(*given),
    )

    class Broken:
        random = small

        def __getattr__(self, name):
            return getattr(jax, name)

    monkeypatch.setattr(popk.inference.lockstep, "jax", Broken())
    found = calibrate(jax.random.key(1), model("broken sampler"), design, 200)
    said = outcomes(found)
    assert said["convergence gate"] == "passed"
    assert said["coverage, individuals"] == "failed"
    assert found.overall.loc["CL", "coverage"] < 0.87


@pytest.fixture(scope="module")
def chosen(design):
    """Sigma far out in its prior."""
    truth = {"TVCL": 1.3, "sigma": 0.7}
    dose = Dose(nominal="2 ug/h")
    return calibrate(jax.random.key(2), model("sound"), design, WAVE, truth=truth, dose=dose)


@pytest.mark.slow
def test_chosen_truths(chosen):
    # What is not named has its prior's median; of a gamma prior that is its mean
    assert chosen.truth == {"TVCL": 1.3, "omega_CL": pytest.approx(0.3), "sigma": 0.7}
    assert chosen.css == "2 ug/h"
    assert chosen.parameters["truth"].to_dict() == pytest.approx(chosen.truth)
    assert "p" not in chosen.parameters
    assert "ranks" not in outcomes(chosen)
    assert chosen.curves.empty
    row = chosen.parameters.loc["TVCL"]
    # RMSE² = bias² + variance
    spread = row["bias_error"] ** 2 * (chosen.replicates - 1)
    assert row["rmse"] ** 2 == pytest.approx(row["bias"] ** 2 + spread)
    assert row["bias_percent"] == pytest.approx(100 * row["bias"] / 1.3)


@pytest.mark.slow
def test_at_a_truth_far_out_in_the_prior_coverage_does_not_fail(chosen):
    assert chosen.parameters.loc["sigma", "bias"] < 0
    assert chosen.parameters.loc["sigma", "coverage"] < 0.8
    assert outcomes(chosen)["coverage, population"] == "look here"


@pytest.fixture(scope="module")
def pieces(design):
    return planned(jax.random.key(1), model("sound"), design, REPLICATES).pieces


def test_trials_do_not_depend_on_how_they_are_cut(pieces):
    """The data of a trial are those of its number."""
    first, second = pieces
    assert [(p.first, p.trials, p.wave) for p in pieces] == [(0, 64, 64), (64, 24, 64)]
    cut = replace(first, first=40, trials=30)
    whole = [np.concatenate([drawn(p).values for p in (first, second)])[40:70], drawn(cut).values]
    np.testing.assert_allclose(*whole, rtol=1e-12)
    truth = [np.r_[drawn(first).truth["TVCL"], drawn(second).truth["TVCL"]][40:70],
             drawn(cut).truth["TVCL"]]  # fmt: skip
    np.testing.assert_allclose(*truth, rtol=1e-12)


@pytest.mark.slow
def test_a_piece_that_was_sent_gives_the_same_bit_for_bit(pieces, sound):
    again = done(pickle.loads(pickle.dumps(pieces[1])))
    np.testing.assert_array_equal(again.ranks, sound.ranks[WAVE:])
    np.testing.assert_array_equal(again.rhat, sound.trials["rhat"][WAVE:])


def test_all_pieces_have_one_layout(design):
    """Rows that are below the limit in any trial come last in all: one program for all pieces."""
    work = planned(jax.random.key(1), model("sound"), design, 100, below=1.0)
    low = [drawn(piece).values < 1.0 for piece in work.pieces]
    ever = np.any([own.any(axis=0) for own in low], axis=0)
    assert ever.any()
    layouts = set()
    for piece, own in zip(work.pieces, low, strict=True):
        np.testing.assert_array_equal(piece.censorable, ever)
        events = popk.analysis.calibration.trials._assayed(piece, drawn(piece))
        np.testing.assert_array_equal(events.censored.sum(axis=1), own.sum(axis=1))
        assert events.slots is not None
        layouts.add((events.dv.shape[1:], events.slots.count))
    assert [piece.trials for piece in work.pieces] == [64, 36]
    assert len(layouts) == 1


def bits(found):
    return [found.ranks.to_numpy().tobytes(), found.parameters.to_csv(), found.individuals.to_csv(),
            found.trials.to_csv()]  # fmt: skip


def deadly(piece):
    """The first worker that begins the second piece dies."""
    flag = Path(piece.data.source).with_name("killed")
    if piece.first and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return done(piece)


@pytest.mark.slow
def test_workers_give_the_same_bit_for_bit_also_if_one_dies(design, sound):
    for count in (1, 2):
        with connected(dask=count) as client:
            again = calibrate(jax.random.key(1), model("sound"), design, REPLICATES, client=client)
        assert bits(again) == bits(sound)
    work = planned(jax.random.key(1), model("sound"), design, REPLICATES)
    with connected(dask=2) as client:
        parts = run(deadly, work.pieces, client=client)
    assert Path(design.source).with_name("killed").exists()
    assert bits(gathered(work, parts, 0.0)) == bits(sound)


@pytest.mark.slow
def test_trials_that_miss_the_gate_are_counted(design, monkeypatch):
    hopeless = Sampler(draws=50, ess=1e6, precision="float32")
    # Repairs take long and would miss it too
    monkeypatch.setattr(popk.inference.batch.Batch, "_repaired", lambda _, trials, own: trials)
    found = calibrate(jax.random.key(5), model("sound"), design, WAVE, settings=hopeless)
    assert found.missed == len(found.ranks) == WAVE
    assert outcomes(found)["convergence gate"] == "failed"
    assert found.trials["why"].str.contains("ESS").all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"replicates": 0}, "0 replicates"),
        ({"truth": {"TVX": 1.0, "sigma": 0.1}}, "TVCL, omega_CL, sigma"),
        ({"truth": {"TVV": 1.0}}, "changed there"),
        ({"truth": {"omega_CL": -0.1}}, "omega_CL = -0.1"),
        ({"truth": {"sigma": math.nan}}, "sigma = nan"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(design, given, words):
    given = {"replicates": 20} | given
    with pytest.raises(PopkError, match=words):
        calibrate(jax.random.key(1), model("sound"), design, **given)


def test_a_design_without_the_model_s_covariate_is_refused(design):
    effect = {
        "parameter": "CL", "covariate": "AGE", "relation": "below", "cut": 6.0,
        "effect": prior("normal", loc=0.0, scale=0.5),
    }  # fmt: skip
    with pytest.raises(PopkError, match="AGE"):
        calibrate(jax.random.key(1), model("aged", covariates=[effect]), design, 20)


def test_the_probability_of_a_deviation_is_exact():
    rng = np.random.default_rng(0)
    for count in (10, 60, 300):
        found = [deviation(rng.integers(0, THIN + 1, count)) for _ in range(2000)]
        for largest in (2.2, 2.8, 3.4):
            p = p_of(largest, count)
            error = math.sqrt(p * (1 - p) / len(found))
            assert abs(np.mean(np.array(found) >= largest) - p) < 4 * error
        assert p_of(band(count), count) == pytest.approx(0.05, abs=0.02)
    assert p_of(0.0, 50) == 1.0
    # A rank that never falls below the middle
    assert p_of(deviation(np.full(100, THIN)), 100) < 1e-12


def test_the_ecdf_of_every_rank_once_is_the_diagonal():
    assert deviation(np.arange(THIN + 1)) == pytest.approx(0.0, abs=1e-12)
    assert ecdf(np.zeros(7, dtype=int)).min() == 1.0


def test_the_design_s_own_limit(course, design):
    censored = course.problem
    assert assay_limit(censored.model, censored.data) == pytest.approx(0.5)
    assert assay_limit(model("sound"), design) is None
