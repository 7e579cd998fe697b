"""Infants left out of the fit in turn: reweighing says what the fit of all of them says.

Monte Carlo errors follow from effective draws: of the full fit its bulk ESS; of the reweighed
draws those of the weights, but no more than the draws of the population are worth.
"""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy.stats import norm

from popk.analysis.dosing.patient import patient_dose
from popk.analysis.dosing.posterior import OnePosterior, one_posterior
from popk.data.dataset import of_subjects
from popk.data.regimens import regimens_of
from popk.spec.fit import Sampler
from popk.spec.patient import PatientSpec, Target
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit
from popk.study.folder import open_study

FOLDER = Path(__file__).parents[3] / "fits" / "blinatumomab-infants"
OUTLIER = 21  # CL 2.66 L/h/m², 4 SD above the others
PLACES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Case(NamedTuple):
    """The study, and the fit of all of its infants."""

    study: object
    full: Fit


@pytest.fixture(scope="module")
def case():
    study = open_study(FOLDER)
    with jax.enable_x64(True):
        return Case(study, run_fit(study.model, study.data, Sampler(seed=1)))


def others(case, infant):
    """A fit without this infant, from another seed."""
    rest = np.delete(np.arange(case.study.data.subjects), infant)
    data = of_subjects(case.study.data, rest)
    return run_fit(case.study.model, data, Sampler(seed=2), synthetic=True)


def distances(case, rest: Fit, found: OnePosterior, infant: int) -> list[float]:
    """Standard errors between both: of the mean of log CL, and of shares below its quantiles."""
    names = case.study.model.population_names
    worth = min(rest.diagnostics.of(name)[1] for name in names)
    ess = found.ess if found.method == "refit" else min(found.ess, worth)
    full = np.log(case.full.samples.draws["CL"][..., infant]).ravel()
    own = np.log(found.parameters["CL"])
    _, bulk, tail = case.full.diagnostics.of(f"CL[{infant + 1}]")
    z = [(own.mean() - full.mean()) / math.hypot(full.std() / bulk**0.5, full.std() / ess**0.5)]
    for p in PLACES:
        below = np.mean(own < np.quantile(full, p))
        z.append((below - p) / math.sqrt(p * (1 - p) * (1 / min(bulk, tail) + 1 / ess)))
    return z


def agree(z: list[float]) -> None:
    """The largest as far as chance allows in one of ten thousand such tests (Bonferroni)."""
    assert np.abs(z).max() < norm.isf(0.5e-4 / len(z))
    # They depend on one another; were the SEs too small their squares would all be large
    assert np.mean(np.square(z)) < 2.0


def as_patient(data):
    """A patient file's content that says what a data set does of one subject."""
    used = ("AGE", "WT", "HT")
    rows = np.flatnonzero(data.observed[0])
    censored = data.censoring[0, rows] == 1
    # The limits of this assay lie far apart: which of the two a row is beyond is plain
    words = np.where(~censored, "DV", np.where(np.isfinite(data.upper[0, rows]), "below", "above"))
    samples = [
        {"time": time, word: value}
        for time, word, value in zip(
            data.time[0, rows].tolist(), words.tolist(), data.dv[0, rows].tolist(), strict=True
        )
    ]
    (regimen,) = regimens_of(data)
    covariates = {name: float(data.covariates[name][0, 0]) for name in used}
    return PatientSpec(
        id="left out", covariates=covariates, given=regimen.steps, samples=tuple(samples)
    )


@pytest.mark.slow
def test_two_infants(case):
    """As data sets of their own, and as patient files."""
    z = []
    for infant in (1, 12):
        rest = others(case, infant)
        told: list[str] = []
        own = of_subjects(case.study.data, np.array([infant]))
        found = one_posterior(rest, own, watch=told.append)
        assert (found.method, found.refit, told) == ("importance", None, [])
        assert found.k < 0.5
        z += distances(case, rest, found, infant)
        patient = patient_dose(rest, as_patient(own))
        np.testing.assert_allclose(patient.draws["CL"], found.parameters["CL"], rtol=1e-9)
        assert patient.synthetic
    agree(z)


@pytest.mark.slow
def test_one_so_far_out_that_the_weights_fail(case):
    """The model is fitted again, and the patient's draws are those of this fit."""
    rest = others(case, OUTLIER)
    spec = as_patient(of_subjects(case.study.data, np.array([OUTLIER])))
    spec = spec.model_copy(update={"target": Target(css="700 pg/mL")})
    told: list[str] = []
    patient = patient_dose(rest, spec, watch=told.append)
    found = patient.posterior
    assert found.method == "refit"
    assert found.why.startswith("fitted again: ")
    assert len(told) == 1
    assert found.refit is not None
    assert found.refit.converged
    assert found.refit.data.ids == (*rest.data.ids, "left out")
    agree(distances(case, rest, found, OUTLIER))
    assert patient.summary.loc["Css_recommended", "median"] == pytest.approx(700.0)
    assert np.isfinite(patient.course.to_numpy()).all()


@pytest.mark.slow
def test_every_infant_in_turn(case):
    z, methods = [], []
    for infant in range(case.study.data.subjects):
        rest = others(case, infant)
        found = one_posterior(rest, of_subjects(case.study.data, np.array([infant])))
        methods.append(found.method)
        z += distances(case, rest, found, infant)
    assert methods.count("importance") >= 24
    agree(z)
