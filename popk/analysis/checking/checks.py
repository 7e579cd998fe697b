"""All checks of a fit, and their verdicts."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from popk.analysis.checking import check_verdicts
from popk.analysis.checking.etas import Etas, etas
from popk.analysis.checking.outliers import Outliers, outliers
from popk.analysis.checking.paper_check import PaperCheck, paper_check
from popk.analysis.checking.profiles import profiles
from popk.analysis.checking.replicates import replicates
from popk.analysis.checking.residuals import NpdeTests, npde_tests
from popk.analysis.checking.variability import variability
from popk.analysis.checking.vpc import Limits, Vpc, beyond_limits, vpc
from popk.analysis.observations import observations
from popk.analysis.priors import sensitivity as prior
from popk.analysis.priors.information import information
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

    Raises
    ------
    popk.PopkError
        If the data lack what the model needs.
    """
    tell = watch or (lambda _: None)
    tell("residuals")
    table = observations(fit, seed=seed)
    measured = int((~table["censored"].to_numpy(bool)).sum())
    tell("replicates")
    reps = replicates(fit, seed=seed)
    found_npde = npde_tests(table)
    plain, corrected = vpc(reps), vpc(reps, corrected=True)
    limits, paper = beyond_limits(reps), paper_check(fit, reps)
    own_etas = etas(fit, table["IWRES"].to_numpy(float))
    tell("individual curves")
    curves = profiles(fit, seed=seed)
    tell("subjects left out")
    far = outliers(fit)
    sensitivity, information_, kinds = pd.DataFrame(), pd.DataFrame(), pd.DataFrame()
    rests: list[Verdict] = []
    if isinstance(fit, Fit):
        tell("prior sensitivity")
        sensitivity, information_ = prior.sensitivity(fit), information(fit)
        rests = prior.verdicts_of(sensitivity, information_)
        if compare:
            kinds = variability(fit, settings=settings, watch=watch)
    data, spec = fit.data, fit.model.spec
    time = data.units.time or spec.units.time
    verdicts = [
        check_verdicts.converged(fit),
        *check_verdicts.npde(found_npde, measured),
        check_verdicts.vpc(plain, measured, time),
        check_verdicts.vpc(corrected, measured, time),
        check_verdicts.limits(limits),
        check_verdicts.paper(paper),
        check_verdicts.eta_trends(own_etas),
        check_verdicts.shrinkage(own_etas),
        *check_verdicts.outlying(far),
        check_verdicts.variability(kinds),
        *rests,
    ]
    return Checks(
        tuple(v for v in verdicts if v is not None),
        table,
        found_npde,
        plain,
        corrected,
        limits,
        paper,
        own_etas,
        far,
        curves,
        kinds,
        sensitivity,
        information_,
        fit.name,
        fit.synthetic,
        time,
        spec.units.concentration.replace("ug", "µg"),
    )
