"""The analyses of a fit, each made when it is first asked for, and once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from popk.analysis import summary
from popk.analysis.checking.etas import Etas, etas
from popk.analysis.checking.outliers import Outliers, outliers
from popk.analysis.checking.paper_check import PaperCheck, paper_check
from popk.analysis.checking.profiles import profiles
from popk.analysis.checking.replicates import Replicates, replicates
from popk.analysis.checking.residuals import NpdeTests, npde_tests
from popk.analysis.checking.vpc import Limits, Vpc, beyond_limits, vpc
from popk.analysis.covariates.covariate_tests import CovariateTests, covariate_tests
from popk.analysis.observations import observations
from popk.analysis.priors import sensitivity as prior
from popk.analysis.priors.densities import densities
from popk.analysis.priors.information import information
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.relations import CovariateEffect
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit


@dataclass(frozen=True, eq=False)
class Analyses:
    """What a figure may ask of a fit; nothing is computed that nobody asks for.

    The attributes are those of `popk.analysis.checking.checks.Checks` where both have them, in the
    same units.

    Attributes
    ----------
    fit
        A posterior, or maximum-likelihood estimates.
    seed
        Of all simulations; the fit's by default.
    candidates, no_effect, settings
        Of covariate tests (`popk.covariate_tests`): by default the model's own effects.
    watch
        Told what is being computed.
    """

    fit: Fit | MaximumFit
    seed: int | None = None
    candidates: Sequence[CovariateEffect] | None = None
    no_effect: tuple[float, float] = NO_EFFECT
    settings: SamplerSpec | None = None
    watch: Callable[[str], None] | None = None

    @property
    def name(self) -> str:
        """Of the fit."""
        return self.fit.name

    @property
    def synthetic(self) -> bool:
        """Whether the data are simulated."""
        return self.fit.synthetic

    @property
    def time_unit(self) -> str:
        """Of the data."""
        return self.fit.data.units.time or self.fit.model.spec.units.time

    @property
    def concentration_unit(self) -> str:
        """Of the model."""
        return self.fit.model.spec.units.concentration.replace("ug", "µg")

    @cached_property
    def individuals(self) -> pd.DataFrame:
        """`popk.individuals`."""
        return summary.individuals(self.fit)

    @cached_property
    def observations(self) -> pd.DataFrame:
        """`popk.observations`."""
        self._tell("residuals")
        return observations(self.fit, seed=self.seed)

    @cached_property
    def npde(self) -> NpdeTests:
        """Tests of NPDE."""
        return npde_tests(self.observations)

    @cached_property
    def replicates(self) -> Replicates:
        """Data sets simulated from the fit."""
        self._tell("replicates")
        return replicates(self.fit, seed=self.seed)

    @cached_property
    def vpc(self) -> Vpc:
        """Visual predictive check."""
        return vpc(self.replicates)

    @cached_property
    def pcvpc(self) -> Vpc:
        """The same, prediction-corrected."""
        return vpc(self.replicates, corrected=True)

    @cached_property
    def limits(self) -> Limits:
        """Observations beyond the assay's limits."""
        return beyond_limits(self.replicates)

    @cached_property
    def paper(self) -> PaperCheck | None:
        """Css and CL of the sample; None without steady states."""
        return paper_check(self.fit, self.replicates)

    @cached_property
    def etas(self) -> Etas:
        """Individual deviations and shrinkage."""
        return etas(self.fit, self.observations["IWRES"].to_numpy(float))

    @cached_property
    def outliers(self) -> Outliers:
        """Who lies far out, and on whom the fit hangs."""
        self._tell("subjects left out")
        return outliers(self.fit)

    @cached_property
    def profiles(self) -> pd.DataFrame:
        """Individual and population curves."""
        self._tell("individual curves")
        return profiles(self.fit, seed=self.seed)

    @cached_property
    def sensitivity(self) -> pd.DataFrame:
        """How far the posterior rests on its priors; empty for maximum likelihood."""
        if not isinstance(self.fit, Fit):
            return pd.DataFrame()
        self._tell("prior sensitivity")
        return prior.sensitivity(self.fit)

    @cached_property
    def information(self) -> pd.DataFrame:
        """What further samples would teach; empty for maximum likelihood."""
        return information(self.fit) if isinstance(self.fit, Fit) else pd.DataFrame()

    @cached_property
    def densities(self) -> pd.DataFrame:
        """Prior and posterior of each population parameter; empty for maximum likelihood."""
        return densities(self.fit) if isinstance(self.fit, Fit) else pd.DataFrame()

    @cached_property
    def covariate_tests(self) -> CovariateTests | None:
        """Tests of covariate effects; None without a posterior, or without candidates."""
        own = self.fit.model.spec.covariates if self.candidates is None else self.candidates
        if not isinstance(self.fit, Fit) or not own:
            return None
        return covariate_tests(
            self.fit, own, no_effect=self.no_effect, settings=self.settings, refit=False,
            watch=self.watch,
        )  # fmt: skip

    def _tell(self, what: str) -> None:
        if self.watch is not None:
            self.watch(what)
