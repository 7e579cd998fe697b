"""Real and simulated data against published estimates; `make validate` runs these.

The fits, the references and the tables are those of ``python -m benchmarks.validation``.
"""

import pytest

from benchmarks import validation

pytestmark = pytest.mark.slow

needs_infusion_file = pytest.mark.skipif(
    not validation.INFUSION.exists(),
    reason=f"{validation.INFUSION} (nlmixr2data, GPL-3) is not shipped with the project",
)
ROWS = list(validation.INFUSION_ESTIMATES)
MODELS = {"log-normal": "infusion_1cpt_bsa", "Student-t": "infusion_1cpt_bsa_student"}


def within(comparisons):
    """Whether each posterior median lies within the allowed standard errors."""
    return {row.quantity: abs(row.distance) <= validation.WITHIN for row in comparisons}


def test_phenobarb_agrees_with_nonmem():
    fit = validation.phenobarb()
    assert fit.converged
    agreed = within(validation.compare(fit, validation.PHENOBARB_ESTIMATES))
    assert len(agreed) == 6
    assert all(agreed.values()), agreed


@needs_infusion_file
@pytest.mark.parametrize("rows", ROWS)
def test_infusion_agrees_with_nonmem(rows):
    fit = validation.infusion(rows)
    assert fit.converged
    assert fit.data.observations == {"SD=1": 2276, "SD=0": 4677}[rows]
    agreed = within(validation.compare(fit, validation.INFUSION_ESTIMATES[rows]))
    assert len(agreed) == 5
    assert all(agreed.values()), agreed


@needs_infusion_file
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["CL", "V"])
def test_individual_medians_correlate_with_the_truth(rows, name):
    found = validation.recovery(validation.infusion(rows), name)
    assert found.subjects == 120
    assert found.correlation > 0.95


@needs_infusion_file
def test_errors_of_the_infusion_file_are_lognormal():
    """Why a proportional error misses: relative errors have a mean of 2 % and are skewed."""
    errors = validation.residuals_at_truth()
    assert errors["relative"].mean > 4 * errors["relative"].se
    assert errors["relative"].skewness > 0.4
    assert abs(errors["log"].mean) < 2 * errors["log"].se
    assert abs(errors["log"].skewness) < 0.1


@needs_infusion_file
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["CL", "V"])
def test_individual_intervals_cover_the_truth(rows, name):
    """With the error that the file was simulated with."""
    found = validation.recovery(validation.infusion(rows, "lognormal"), name)
    assert found.correlation > 0.95
    assert 0.85 <= found.coverage <= 0.95


@needs_infusion_file
def test_the_wrong_error_costs_coverage():
    """A proportional error, as in the NONMEM runs, takes every concentration 2 % too high."""
    wrong = validation.recovery(validation.infusion("SD=0"), "CL").coverage
    right = validation.recovery(validation.infusion("SD=0", "lognormal"), "CL").coverage
    assert right - wrong > 0.05


def test_truth_of_the_infants_reproduces_the_paper():
    digits = {"css_mean": 0, "css_sd": 0}
    for figure in validation.figures():
        assert round(figure.truth, digits.get(figure.of, 2)) == figure.published


@pytest.mark.parametrize("model", MODELS)
def test_infants(model):
    """Typical clearance covers the truth; the paper's line within 5 % and 15 %."""
    fit = validation.blinatumomab(MODELS[model])
    assert fit.converged
    assert fit.synthetic
    q5, q95 = validation.interval(fit, "TVCL")
    assert q5 <= validation.true_value("TVCL") <= q95
    line = validation.paper_line(fit)
    off = {f.of: getattr(line, f.of) / f.published - 1 for f in validation.figures()}
    allowed = {f.of: f.allowed for f in validation.figures()}
    assert len(off) == 5
    assert all(abs(off[of]) <= allowed[of] for of in off), off
