"""The population model: one NumPyro model function, one `predict`, one flat log density."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from popk.pk import one_compartment
from popk.pk.dosing import NumericArray
from popk.population.covariates import coefficient_names, log_factor
from popk.population.events import Events
from popk.population.parameters import Eta, draw, draw_etas, draw_positive_linear, median
from popk.population.residual import Observation, sigma_names
from popk.spec.model import Linear, Maturation, ModelSpec, Parameter
from popk.spec.priors import Fixed, Prior
from popk.spec.units import conversion_factor

STRUCTURES = {"one_compartment": one_compartment.log_concentration}

Values = Mapping[str, NumericArray]


class Prediction(NamedTuple):
    """What a model predicts for given parameter values.

    log_concentration
        [subject, step] log of the predicted concentration, in the model's concentration unit.

    Parameters
    ----------
        Parameter to [subject, column], in the parameter's own unit.
    """

    log_concentration: Float[Array, "subject step"]
    parameters: dict[str, Float[Array, "subject column"]]


@dataclass(frozen=True, eq=False)
class Model:
    """A model file, compiled: callable as a NumPyro model on `Events`.

    ``numpyro.infer.MCMC(NUTS(model), ...).run(key, events)`` works, as do `Predictive` and
    `log_likelihood`.
    """

    spec: ModelSpec

    def __call__(self, events: Events, centring: Values | None = None) -> None:
        """The NumPyro model.

        Parameters
        ----------
        events
            Data in the model's units.
        centring
            Parameter to [subject] weights between 0 (non-centred, the default) and 1 (centred):
            another way to write the same posterior.
        """
        spec, events = self.spec, jax.tree.map(jnp.asarray, events)
        values: dict[str, Array] = {}
        for name, parameter in spec.parameters.items():
            values[f"TV{name}"] = draw(f"TV{name}", parameter.typical)
        for effect in spec.covariates:
            if isinstance(effect, Maturation):
                for name, prior in zip(
                    coefficient_names(effect), (effect.half, effect.hill), strict=True
                ):
                    values[name] = draw(name, prior)
            elif isinstance(effect, Linear):
                values[effect.name] = draw_positive_linear(
                    effect.name, effect.effect, events.terms[effect.name]
                )
            else:
                values[effect.name] = draw(effect.name, effect.effect)
        etas = draw_etas(self._etas(values, events, centring or {}), self._cholesky())
        for name, eta in etas.items():
            values[f"eta_{name}"] = eta
            numpyro.deterministic(f"eta_{name}", eta)
        sigma = self._sigma()
        prediction = self.predict(values, events)
        for name, individual in prediction.parameters.items():
            numpyro.deterministic(name, individual[:, 0])
        with numpyro.handlers.mask(mask=events.observed):
            numpyro.sample(
                "DV", self.observation(prediction.log_concentration, sigma, events), obs=events.dv
            )

    def predict(self, values: Values, events: Events) -> Prediction:
        """Concentrations and individual parameters.

        Parameters
        ----------
        values
            `TVCL`, ..., the covariate coefficients, and `eta_CL`, ... [subject]. Etas that are
            absent are zero: the population prediction PRED.
        """
        events = jax.tree.map(jnp.asarray, events)
        values = {**self.fixed(), **values}
        parameters = {
            name: jnp.exp(self._log_parameter(name, values, events))
            for name in self.spec.parameters
        }
        units, spec = self.spec.units, self.spec
        cl = parameters["CL"] * conversion_factor(spec.parameters["CL"].unit, f"L/{units.time}")
        v = parameters["V"] * conversion_factor(spec.parameters["V"].unit, "L")
        per_liter = conversion_factor(f"({units.amount})/L", units.concentration)
        concentrate = STRUCTURES[spec.structure]
        # One column broadcasts over the steps of a subject
        cl, v = (jnp.squeeze(a, 1) if a.shape[1] == 1 else a for a in (cl, v))
        log_c = jax.vmap(concentrate)(events.steps, cl, v)
        no_drug = log_c == one_compartment.NO_DRUG
        log_c = jnp.where(no_drug, log_c, log_c + jnp.log(per_liter))
        return Prediction(log_c, parameters)

    def observation(self, log_concentration: Array, sigma: Values, events: Events) -> Observation:
        """The distribution of the observations around predicted concentrations."""
        return Observation(
            self.spec.residual.error,
            log_concentration,
            {**self.fixed(), **sigma},
            events.censored,
            events.lower,
            events.upper,
            events.slots,
        )

    @property
    def population_names(self) -> tuple[str, ...]:
        """Names of the estimated population parameters, in the order of the tables."""
        return tuple(
            name for name, prior in self.population_priors().items() if not isinstance(prior, Fixed)
        )

    def population_priors(self) -> dict[str, Prior]:
        """Every population parameter and its prior, fixed ones included, correlations not."""
        spec = self.spec
        priors: dict[str, Prior] = {f"TV{n}": p.typical for n, p in spec.parameters.items()}
        for effect in spec.covariates:
            own = (effect.half, effect.hill) if isinstance(effect, Maturation) else (effect.effect,)
            priors |= dict(zip(coefficient_names(effect), own, strict=True))
        for name, parameter in self._varied().items():
            assert parameter.variability is not None
            priors[f"omega_{name}"] = parameter.variability.sd
            if parameter.variability.df is not None:
                priors[self._df_name(name)] = _as_prior(parameter.variability.df)
        residual = spec.residual
        own = (
            (residual.sd,)
            if residual.error != "combined"
            else (residual.additive, residual.proportional)
        )
        return priors | dict(zip(sigma_names(residual), own, strict=True))

    @property
    def correlation_names(self) -> tuple[str, ...]:
        """Names of the correlations between etas, ``correlation_CL_V``."""
        block = self._correlated()
        return tuple(f"correlation_{a}_{b}" for i, a in enumerate(block) for b in block[i + 1 :])

    def fixed(self) -> dict[str, Array]:
        """Values of the parameters that are not estimated; no sample holds them."""
        return {
            name: jnp.asarray(prior.value)
            for name, prior in self.population_priors().items()
            if isinstance(prior, Fixed)
        }

    def _df_name(self, name: str) -> str:
        """Correlated etas have their degrees of freedom in common, under the first one's name."""
        block = self._correlated()
        return f"df_{block[0] if name in block else name}"

    def _varied(self) -> dict[str, Parameter]:
        return {n: p for n, p in self.spec.parameters.items() if p.variability is not None}

    def _correlated(self) -> tuple[str, ...]:
        if self.spec.correlation is None:
            return ()
        return tuple(n for n in self._varied() if n in self.spec.correlation.parameters)

    def _log_parameter(
        self, name: str, values: Values, events: Events, *, with_eta: bool = True
    ) -> Float[Array, "subject column"]:
        log_p = jnp.log(values[f"TV{name}"]) + events.log_scale[name]
        for effect in self.spec.covariates:
            if effect.parameter == name:
                log_p = log_p + log_factor(effect, events.terms[effect.name], values)
        eta = values.get(f"eta_{name}")
        if eta is not None and with_eta:
            variability = self.spec.parameters[name].variability
            relative = variability is not None and variability.distribution == "normal"
            log_p = log_p + (jnp.log1p(eta) if relative else eta)[:, None]
        return log_p

    def _etas(self, values: Values, events: Events, centring: Values) -> dict[str, Eta]:
        etas: dict[str, Eta] = {}
        dfs: dict[str, Array] = {}
        for name, parameter in self._varied().items():
            variability = parameter.variability
            assert variability is not None
            df_name = self._df_name(name)
            if variability.df is not None and df_name not in dfs:
                dfs[df_name] = draw(df_name, _as_prior(variability.df))
            location = self._log_parameter(name, values, events, with_eta=False)[:, 0]
            # The scale is data: without it the location is of order one for every subject
            location = location - events.log_scale[name][:, 0]
            etas[name] = Eta(
                omega=draw(f"omega_{name}", variability.sd),
                df=dfs.get(df_name) if variability.df is not None else None,
                location=location,
                centring=jnp.asarray(centring.get(name, jnp.zeros(events.subjects))),
                relative=variability.distribution == "normal",
            )
        return etas

    def _cholesky(self) -> dict[str, Array]:
        block = self._correlated()
        if not block:
            return {}
        assert self.spec.correlation is not None
        site = dist.LKJCholesky(len(block), self.spec.correlation.concentration)
        factor = jnp.asarray(numpyro.sample("correlation_cholesky", site))
        matrix = factor @ factor.T
        for i, a in enumerate(block):
            for j in range(i + 1, len(block)):
                numpyro.deterministic(f"correlation_{a}_{block[j]}", matrix[i, j])
        return {name: factor[i] for i, name in enumerate(block)}

    def _sigma(self) -> dict[str, Array]:
        priors = self.population_priors()
        return {name: draw(name, priors[name]) for name in sigma_names(self.spec.residual)}


def _as_prior(df: float | Prior) -> Prior:
    return Fixed(prior="fixed", value=df) if isinstance(df, int | float) else df


class FlatDensity(NamedTuple):
    """The posterior as a function of one vector of unconstrained numbers.

    The vector holds the population's numbers and then, subject by subject, each subject's own:
    given the former the latter are independent, which samplers and metrics use.

    Attributes
    ----------
    population, individual
        Length of the population part, and numbers of each subject.
    start
        The centre of the priors, with all etas zero.
    log_density
        (vector, events, centring) -> log posterior density up to a constant, Jacobian included.
    constrain
        (vector, events, centring) -> every named value of the model, derived ones included.
    flat, named
        From unconstrained values of the sample sites by name to the vector, and back.
    """

    population: int
    individual: int
    start: Float[Array, " d"]
    log_density: Callable[..., Float[Array, ""]]
    constrain: Callable[..., dict[str, Array]]
    flat: Callable[[Values], Float[Array, " d"]]
    named: Callable[[Float[Array, " d"]], dict[str, Array]]


def flatten(model: Model, events: Events, centring: Values | None = None) -> FlatDensity:
    """Write a model's posterior as a flat log density, for samplers and optimisers.

    `events` gives the shapes; the functions returned take events and centring as arguments, with
    `centring` as their default.
    """
    centre = jax.jit(partial(prior_centre, model))(events, centring)
    own = tuple(name for name in centre if name.startswith("x_"))
    shared, unravel = ravel_pytree({k: v for k, v in centre.items() if k not in own})
    split = shared.size

    def flat(values: Values) -> Array:
        shared, _ = ravel_pytree({k: v for k, v in values.items() if k not in own})
        each = [jnp.asarray(values[name]) for name in own]
        individual = jnp.stack(each, axis=1).ravel() if each else jnp.zeros(0)
        return jnp.concatenate([shared, individual.astype(shared.dtype)])

    def named(vector: Array) -> dict[str, Array]:
        individual = vector[split:].reshape(-1, max(len(own), 1))
        return {**unravel(vector[:split]), **{n: individual[:, i] for i, n in enumerate(own)}}

    def log_posterior(vector: Array, events: Events, centring: Values | None = centring) -> Array:
        energy = potential_energy(model, (events, centring), {}, named(vector))
        return -jnp.asarray(energy)

    def constrain(
        vector: Array, events: Events, centring: Values | None = centring
    ) -> dict[str, Array]:
        return constrain_fn(model, (events, centring), {}, named(vector), return_deterministic=True)

    return FlatDensity(split, len(own), flat(centre), log_posterior, constrain, flat, named)


def prior_centre(model: Model, events: Events, centring: Values | None = None) -> Values:
    """Unconstrained values of all sample sites at the medians of the priors and etas of zero."""
    priors = model.population_priors()

    def centre(site: dict[str, Any]) -> Array | None:
        if site["type"] != "sample" or site["is_observed"]:
            return None
        prior: Any = site["fn"]
        if site["name"] in priors:
            middle = jnp.asarray(median(priors[site["name"]]))
            if isinstance(prior, dist.TwoSidedTruncatedDistribution):
                low, high = jnp.asarray(prior.low), jnp.asarray(prior.high)
                margin = 0.01 * (high - low)
                middle = jnp.clip(middle, low + margin, high - margin)
            return middle
        # A Student-t with one degree of freedom or less has a centre but no mean
        return jnp.asarray(prior.loc if isinstance(prior, dist.StudentT) else prior.mean)

    def correlated(site: dict[str, Any]) -> Array | None:
        if site["name"] == "correlation_cholesky" and site["type"] == "sample":
            return jnp.eye(site["fn"].dimension)
        return centre(site)

    seeded = numpyro.handlers.seed(model, jax.random.key(0))
    trace = numpyro.handlers.trace(
        numpyro.handlers.substitute(seeded, substitute_fn=correlated)
    ).get_trace(events, centring)
    values = {
        name: site["value"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    return unconstrain_fn(model, (events, centring), {}, values)
