"""Simulation-based calibration of the batch: a thousand fits, ranks of the truth uniform."""

from pathlib import Path

import jax
import pytest

from popk.analysis.calibration.calibration import calibrate
from popk.analysis.calibration.verdicts import verdicts_of
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import read_model
from popk.study.folder import open_study

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_ranks_of_the_truth_are_uniform_over_a_thousand_fits():
    """In float64, where the command's default is float32; a fixed seed."""
    study = open_study(ROOT / "fits" / "blinatumomab-infants")
    model = Model(read_model(ROOT / "models" / "infusion_1cpt_bsa_calibration.toml"))
    settings = Sampler(seed=11, draws=2000)
    found = calibrate(jax.random.key(11), model, study.data, 1000, settings=settings, below=50.0)
    outcomes = {own.check: own.outcome for own in verdicts_of(found)}
    assert outcomes["ranks"] == "passed"
    # Fits that miss the gate are rare, and are told
    assert outcomes["convergence gate"] != "failed"
