"""How the refits of a fit are made: by which sampler, and whether they can be at all."""

from popk.population.subjects import varied
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.problem import PopkError, Problem
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

DRAWS = 2000
"""Draws of each chain, at most, of a data set fitted among others."""
MOST_NUMBERS = 5000
"""Individual numbers of one data set up to which several are fitted side by side."""


def refit_settings(
    fit: Fit | MaximumFit, settings: SamplerSpec | None, ess: float | None = None
) -> SamplerSpec:
    """Settings of the refits.

    A maximum-likelihood fit's own method, whatever is given; for a posterior by default the batch
    sampler in float32.
    """
    if not isinstance(fit, MaximumFit):
        chosen = settings or SamplerSpec(precision="float32", draws=DRAWS)
        return chosen if ess is None or settings else chosen.model_copy(update={"ess": ess})
    own = fit.provenance.method
    kept = {key: own[key] for key in ("nodes", "samples") if key in own}
    return SamplerSpec(method=own["name"], seed=int(own.get("seed", 1)), **kept)


def refuse_too_big(fit: Fit | MaximumFit, settings: SamplerSpec) -> None:
    """Refuse a posterior of so many subjects that hundreds of its like would take days.

    Raises
    ------
    popk.PopkError
        Naming the size.
    """
    numbers = len(varied(fit.model)) * fit.data.subjects
    if settings.maximises or numbers <= MOST_NUMBERS:
        return
    raise PopkError(
        Problem(
            file=fit.name,
            found=f"a fit that is too big: {fit.data.subjects} subjects with {numbers:,} "
            "individual numbers",
            expected=f"at most {MOST_NUMBERS:,} for refits by sampling",
            cure='set method = "focei" in fit.toml: its refits weigh the subjects and take seconds',
        )
    )
