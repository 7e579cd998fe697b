"""What the checks of a model find; `make validate` runs these.

The studies, the fits and the comparisons are those of ``python -m benchmarks.criticism``.
"""

import pytest
from scipy.stats import binom

from benchmarks import criticism
from benchmarks.criticism import ANY, WITH, WITHOUT
from popk.analysis.verdict import FAILED, LOOK, PASSED, REFUTED, SUSPECT

pytestmark = pytest.mark.slow

needs_remifentanil = pytest.mark.skipif(
    not criticism.REMIFENTANIL.exists(),
    reason=f"{criticism.REMIFENTANIL} (nlme, GPL-2+) is not shipped with the project",
)
RIGHT, WRONG = 20, 10
CHANCE = 0.999


@needs_remifentanil
def test_one_compartment_fails_for_remifentanil_and_the_figures_show_where():
    own = criticism.remifentanil()
    assert own.fit.converged
    assert own.fit.data.observations == 1992
    found = {criticism.SHORT[v.check]: (v.outcome, v.figure) for v in own.verdicts}
    assert found["NPDE trends"] == (FAILED, "residuals")
    assert found["VPC"] == (FAILED, "vpc")
    assert found["pcVPC"] == (FAILED, "pcvpc")


@pytest.mark.parametrize("check", ["NPDE mean, spread", "NPDE trends", "VPC", "pcVPC"])
def test_phenobarb_with_weight_passes(check):
    _, outcome = criticism.phenobarb().verdicts[WITH][check]
    assert outcome == PASSED


def test_phenobarb_without_weight_is_worse():
    own = criticism.phenobarb()
    assert all(own.converged.values())
    worse = criticism.worse_without_weight(own)
    # Any model that is fitted has the mean and the spread of its data: there p is 1 for both
    assert not worse.pop("NPDE mean, spread")
    assert all(worse.values()), (worse, own.verdicts[WITHOUT])


@pytest.mark.parametrize("design", criticism.designs())
def test_a_right_model_is_seldom_called_wrong(design):
    """No more often than binomial chance allows at the nominal rates, for every verdict."""
    judged = criticism.judge(design, "right", RIGHT, seed=2)
    suspect, refuted = (int(binom.ppf(CHANCE, RIGHT, p)) for p in (SUSPECT, REFUTED))
    for name in judged.outcomes[0]:
        assert judged.count(name, LOOK, FAILED) <= suspect, name
        assert judged.count(name, FAILED) <= refuted, name


@pytest.mark.parametrize("truth", ["two compartments", "saturable"])
def test_a_clearly_wrong_model_is_caught(truth):
    judged = criticism.judge("rich", truth, WRONG, seed=2)
    assert judged.count(ANY, LOOK, FAILED) >= 8
