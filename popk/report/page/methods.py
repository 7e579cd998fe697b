"""A methods paragraph that a manuscript can take over, and the works that it cites."""

from typing import TYPE_CHECKING, Any

from popk.report.page.blocks import Prose, Reference, References, Section
from popk.report.page.words import joined, measured
from popk.report.page.works import WORKS
from popk.spec.model import ModelSpec
from popk.spec.priors import Exponential, Fixed, Gamma, HalfNormal, LogNormal, Normal, Uniform

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered
    from popk.spec.relations import CovariateEffect

SAMPLERS = {
    "ensemble": ("many chains of Hamiltonian Monte Carlo in lockstep, tuned at the posterior mode",
                 "hmc"),
    "nuts": ("the No-U-Turn sampler of NumPyro", "nuts"),
}  # fmt: skip
LIKELIHOODS = {
    "focei": ("the first-order conditional estimation method with interaction (FOCEI)", "focei"),
    "laplace": ("Laplace's approximation", "focei"),
    "agq": ("adaptive Gauss-Hermite quadrature", "quadrature"),
    "importance": ("importance sampling", ""),
}
ERRORS = {
    "additive": "additive",
    "proportional": "proportional",
    "lognormal": "log-normal (additive on the log scale)",
    "combined": "combined (additive and proportional)",
}
KINDS = {"lognormal": "log-normal", "normal": "normal", "student_t": "Student-t on the log scale"}


class _Cited:
    """Numbers works in the order in which they are first cited."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *keys: str) -> str:
        """The numbers of these works, in brackets."""
        own = [key for key in keys if key]
        self.keys += [key for key in own if key not in self.keys]
        return f" [{','.join(str(self.keys.index(key) + 1) for key in own)}]" if own else ""

    def works(self) -> tuple[Reference, ...]:
        return tuple(WORKS[key] for key in self.keys)


def methods(of: "Gathered") -> Section:
    """What was done, for a manuscript; every setting in it is the fit's own."""
    cite = _Cited()
    paragraphs = [
        " ".join(model_sentences(of.model)) + _size(of, cite) + _censored(of, cite),
        " ".join(_maximum(of, cite) if of.maximum_likelihood else _bayes(of, cite)),
        " ".join(_evaluated(of, cite)),
    ]
    told = Prose(tuple(text for text in paragraphs if text), "methods")
    return Section(
        "methods", "Methods, for a manuscript", (told, References(cite.works())),
        lead="Written from the fit's own settings; to be taken over and adapted.",
    )  # fmt: skip


def model_sentences(model: ModelSpec) -> list[str]:
    """Structure, scales, covariate effects, variability and residual error."""
    said = ["Concentrations were described by a one-compartment model with linear elimination, "
            "solved in closed form for every sequence of boluses and infusions."]  # fmt: skip
    scaled = [
        f"{name} in proportion to "
        + joined([f"{s.covariate}{_power(s.exponent)} (reference {measured(str(s.reference))})"
                  for s in parameter.scales])
        for name, parameter in model.parameters.items() if parameter.scales
    ]  # fmt: skip
    if scaled:
        said.append(f"Body size was taken into account: {joined(scaled)}.")
    said += [_effect(effect) for effect in model.covariates]
    varied = {n: p.variability for n, p in model.parameters.items() if p.variability is not None}
    if varied:
        each = joined([f"{KINDS[v.distribution]} for {n}" for n, v in varied.items()])
        said.append(f"Variability between subjects was {each}{_correlated(model)}.")
    said.append(f"The residual error was {ERRORS.get(model.residual.error, model.residual.error)}.")
    return said


def _power(exponent: float) -> str:
    return "" if exponent == 1.0 else f" to the power of {exponent:g}"


def _correlated(model: ModelSpec) -> str:
    block = model.correlation
    return f", with full covariance of {joined(block.parameters)}" if block else ""


def _effect(effect: "CovariateEffect") -> str:
    name, by = effect.parameter, effect.covariate
    match effect.relation:
        case "below":
            return f"{name} differed by a factor where {by} was below {effect.cut}."
        case "category":
            return f"{name} differed by a factor where {by} was {effect.level}."
        case "power":
            return f"{name} changed with a power of {by} (reference {effect.reference})."
        case "maturation":
            return f"{name} matured with {by} (sigmoid)."
        case "linear" | "exponential" as relation:
            return f"{name} changed with {by} by a {relation} relation around {effect.center}."
        case relation:  # one that has been added
            return f"{name} changed with {by} by a {relation} relation."


def _size(of: "Gathered", cite: _Cited) -> str:
    parts = []
    for covariate in of.data.covariates:
        formula = (covariate.derived or "").split("(")[0]
        if formula in WORKS:
            name = formula.replace("_", "-").title()
            parts.append(f" {covariate.name} was computed by the formula of {name}{cite(formula)}.")
    if any(effect.relation == "maturation" for effect in of.model.covariates):
        parts.append(f" Maturation followed Anderson and Holford{cite('maturation')}.")
    varies = [c.name for c in of.data.covariates if c.varies]
    if varies:
        way = "carried backward" if of.data.interpolation == "nocb" else "carried forward"
        parts.append(f" Between records {joined(varies)} were {way}.")
    return "".join(parts)


def _censored(of: "Gathered", cite: _Cited) -> str:
    count = of.data.below + of.data.above + of.data.interval
    if not count:
        return ""
    counts = {
        "below a limit": of.data.below,
        "above a limit": of.data.above,
        "between two": of.data.interval,
    }
    sides = joined([f"{n} {side}" for side, n in counts.items() if n])
    return (
        f" Of {of.data.observations} observations {sides} of the assay contributed the probability "
        f"of their interval to the likelihood (M3){cite('m3')}."
    )


def _bayes(of: "Gathered", cite: _Cited) -> list[str]:
    method: dict[str, Any] = dict(of.provenance.method)
    how, work = SAMPLERS.get(method["name"], (method["name"], ""))
    versions = of.provenance.versions
    chains = f"{method['chains']} chains of {method['draws']} draws"
    warm = f" after {method['warmup']} of warm-up" if method.get("warmup") else ""
    kept = joined([f"{c.name} {c.threshold.replace('>=', '≥')}" for c in of.gate])
    state = "All criteria were met." if of.converged else "NOT ALL CRITERIA WERE MET."
    return [
        f"All parameters were estimated together in a Bayesian hierarchical model. Priors were "
        f"{_priors(of.model)}.",
        f"The posterior was sampled with popk {versions.get('popk', '')} (Python "
        f"{versions.get('python', '')}, JAX {versions.get('jax', '')}, NumPyro "
        f"{versions.get('numpyro', '')}{cite('numpyro')}) by {how}{cite(work)}: {chains}{warm}, in "
        f"{of.provenance.precision}, seed {of.provenance.seed}.",
        f"Convergence was required by {kept}{cite('rhat', 'nested', 'energy')}. {state}",
        "Results are posterior medians with 90 % intervals of equal tails.",
    ]


def _maximum(of: "Gathered", cite: _Cited) -> list[str]:
    method: dict[str, Any] = dict(of.provenance.method)
    how, work = LIKELIHOODS.get(method["name"], (method["name"], ""))
    detail = "".join(f", {method[key]} {key}" for key in ("nodes", "samples") if key in method)
    versions = of.provenance.versions
    state = "All criteria were met." if of.converged else "NOT ALL CRITERIA WERE MET."
    kept = joined([f"{c.name} {c.threshold}" for c in of.gate])
    return [
        f"Population parameters were estimated by maximum likelihood with popk "
        f"{versions.get('popk', '')} (Python {versions.get('python', '')}, JAX "
        f"{versions.get('jax', '')}); the marginal likelihood was computed by {how}{detail}"
        f"{cite(work)}.",
        f"The search was required to end with {kept}. {state}",
        "Standard errors come from the Hessian, robust ones from the sandwich estimator; intervals "
        "are 90 % confidence intervals, of positive parameters on the log scale. Individual "
        "parameters are empirical Bayes estimates.",
    ]


def _priors(model: ModelSpec) -> str:
    parts = []
    for name, parameter in model.parameters.items():
        parts.append(f"{_prior(parameter.typical)} for TV{name}")
        if parameter.variability is not None:
            parts.append(
                f"{_prior(parameter.variability.sd)} for the SD between subjects of {name}"
            )
            if isinstance(parameter.variability.df, int | float):
                parts.append(f"{parameter.variability.df:g} degrees of freedom for {name}")
            elif parameter.variability.df is not None:
                parts.append(f"{_prior(parameter.variability.df)} for its degrees of freedom")
    for effect in model.covariates:
        parts += [f"{_prior(prior)} for {name}" for name, prior in effect.coefficients.items()]
    parts += [f"{_prior(prior)} for {name}" for name, prior in model.residual.sds.items()]
    if model.correlation is not None:
        parts.append(f"LKJ({model.correlation.concentration:g}) for the correlations")
    return joined(parts)


def _prior(prior: Any) -> str:
    match prior:
        case LogNormal():
            return f"log-normal (median {prior.median:g}, SD {prior.sigma:g} on the log scale)"
        case Normal():
            return f"normal ({prior.loc:g}, {prior.scale:g})"
        case HalfNormal():
            return f"half-normal ({prior.scale:g})"
        case Exponential():
            return f"exponential (mean {prior.scale:g})"
        case Gamma():
            return f"gamma ({prior.shape:g}, {prior.rate:g})"
        case Uniform():
            return f"uniform ({prior.low:g} to {prior.high:g})"
        case Fixed():
            return f"fixed at {prior.value:g}"
        case _:
            return str(prior)


def _evaluated(of: "Gathered", cite: _Cited) -> list[str]:
    said = []
    if of.verdicts is not None:
        made = (
            f"The model was evaluated by normalised prediction distribution errors{cite('npde')} "
            f"and visual predictive checks, with and without prediction correction{cite('pcvpc')}, "
            f"each with one p value for the whole picture{cite('envelope')}"
        )
        felt = f", and by the sensitivity of the posterior to its priors{cite('priors')}"
        said.append(made + ("" if of.maximum_likelihood else felt) + ".")
    if of.covariates is not None:
        said.append(
            "Covariate effects were judged by the 90 % interval of the ratio of the parameter "
            f"between two covariate values{cite('fda')}: {of.covariate_rule}."
        )
    return said
