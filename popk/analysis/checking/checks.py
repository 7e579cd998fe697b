"""All checks of a fit, and their verdicts."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from popk.analysis.asked import Analyses
from popk.analysis.checking import check_verdicts
from popk.analysis.checking.etas import Etas
from popk.analysis.checking.outliers import Outliers
from popk.analysis.checking.paper_check import PaperCheck
from popk.analysis.checking.residuals import NpdeTests
from popk.analysis.checking.variability import variability
from popk.analysis.checking.vpc import Limits, Vpc
from popk.analysis.priors import sensitivity as prior
from popk.analysis.verdict import Verdict
from popk.spec.fit import Sampler as SamplerSpec
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit


@dataclass(frozen=True, eq=False)
class Checks:
    """What all checks of a fit found.

    Attributes
    ----------
    verdicts
        One for each check, in the order in which they should be read.
    observations
        Every observation with PRED, IPRED, IWRES, NPDE (`popk.observations`).
    npde
        Tests of NPDE.
    vpc, pcvpc, limits
        Predictive checks over time (`popk.analysis.checking.vpc`).
    paper
        Css and CL of the sample (`popk.analysis.checking.paper_check`); None without steady states.
    etas, outliers
        Individual deviations, shrinkage, and who lies far out.
    profiles
        Individual and population curves (`popk.analysis.checking.profiles`).
    variability
        Kinds of variability compared; empty where that was not asked for or not possible.
    sensitivity, information
        How far the posterior rests on its priors, and what further samples would teach; empty for
        maximum likelihood.
    name, synthetic
        Of the fit.
    time_unit, concentration_unit
        In which all tables are: the data's time, the model's concentration.
    """

    verdicts: tuple[Verdict, ...]
    observations: pd.DataFrame
    npde: NpdeTests
    vpc: Vpc
    pcvpc: Vpc
    limits: Limits
    paper: PaperCheck | None
    etas: Etas
    outliers: Outliers
    profiles: pd.DataFrame
    variability: pd.DataFrame
    sensitivity: pd.DataFrame
    information: pd.DataFrame
    name: str
    synthetic: bool
    time_unit: str
    concentration_unit: str

    @property
    def table(self) -> pd.DataFrame:
        """The verdicts, one check a row."""
        return pd.DataFrame([vars(v) for v in self.verdicts]).set_index("check")


def checks(
    fit: Fit | MaximumFit,
    *,
    seed: int | None = None,
    compare: bool = True,
    settings: SamplerSpec | None = None,
    watch: Callable[[str], None] | None = None,
) -> Checks:
    """Check a fit: predictions against data, priors against likelihood.

    Parameters
    ----------
    fit
        A posterior, or maximum-likelihood estimates (without the checks of priors, of kinds of
        variability and of what the fit hangs on).
    seed
        Of all simulations; the fit's by default.
    compare
        Whether to fit the model with the other kinds of variability as well.
    settings
        Of those fits.
    watch
        Told what is being computed.

    Returns
    -------
    Checks
        ``table`` holds the verdicts, each with its threshold and source.

    Raises
    ------
    popk.PopkError
        If the data lack what the model needs.
    """
    own = Analyses(fit, seed, watch=watch)
    measured = int((~own.observations["censored"].to_numpy(bool)).sum())
    kinds = pd.DataFrame()
    rests: list[Verdict] = []
    if isinstance(fit, Fit):
        rests = prior.verdicts_of(own.sensitivity, own.information)
        if compare:
            kinds = variability(fit, settings=settings, watch=watch)
    verdicts = [
        check_verdicts.converged(fit),
        *check_verdicts.npde(own.npde, measured),
        check_verdicts.vpc(own.vpc, measured, own.time_unit),
        check_verdicts.vpc(own.pcvpc, measured, own.time_unit),
        check_verdicts.limits(own.limits),
        check_verdicts.paper(own.paper),
        check_verdicts.eta_trends(own.etas),
        check_verdicts.shrinkage(own.etas),
        *check_verdicts.outlying(own.outliers),
        check_verdicts.variability(kinds),
        *rests,
    ]
    return Checks(
        tuple(v for v in verdicts if v is not None),
        own.observations,
        own.npde,
        own.vpc,
        own.pcvpc,
        own.limits,
        own.paper,
        own.etas,
        own.outliers,
        own.profiles,
        kinds,
        own.sensitivity,
        own.information,
        own.name,
        own.synthetic,
        own.time_unit,
        own.concentration_unit,
    )
