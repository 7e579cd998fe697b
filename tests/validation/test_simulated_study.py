"""The published figures come back when studies are simulated from the infants' fit."""

from pathlib import Path

import numpy as np
import pytest

from popk.analysis.simulation.simulation import simulate
from popk.analysis.simulation.subjects import Subjects
from popk.spec.regimen import read_regimen
from popk.study.fit import fit
from popk.study.folder import open_study

INFANTS = Path(__file__).parents[2] / "fits" / "blinatumomab-infants"
STUDIES, SIZE = 400, 26
PUBLISHED = {"mean": 706.0, "sd": 194.0, "median": 0.89, "minimum": 0.57, "maximum": 2.66}
"""Css in pg/mL at 15 µg/m²/day, CL in L/h/m² (Martins et al. 2026)."""


@pytest.mark.slow
def test_published_figures_lie_within_simulated_studies():
    """Each within the middle 95 % of 400 studies of 26, with all that is not known.

    The data are SYNTHETIC and reproduce the published figures: what is tested is that simulation
    from the posterior gives such studies again.
    """
    study = open_study(INFANTS)
    found = fit(study.model, study.data, study.spec.sampler)
    assert found.converged
    simulated = simulate(
        found, read_regimen("standard"), Subjects.resampled(SIZE * STUDIES, study.data)
    ).subjects
    css, cl = (
        np.asarray(values, float).reshape(STUDIES, SIZE)
        for values in (simulated["Css"], simulated["CL"] / simulated["BSA"])
    )
    figures = {
        "mean": css.mean(axis=1), "sd": css.std(axis=1, ddof=1), "median": np.median(cl, axis=1),
        "minimum": cl.min(axis=1), "maximum": cl.max(axis=1),
    }  # fmt: skip
    for name, published in PUBLISHED.items():
        low, high = np.quantile(figures[name], [0.025, 0.975])
        assert low < published < high, f"{name}: {published} outside {low:.3g} to {high:.3g}"
    # Individual Css of the fit and of simulated subjects: the same mean within both errors
    own = 15.0 / 24.0 * 1000.0 / (found.samples.draws["CL"] / study.data.covariates["BSA"][:, 0])
    spread = figures["mean"].std()
    assert abs(np.median(own.mean(axis=-1)) - figures["mean"].mean()) < 3.0 * spread
