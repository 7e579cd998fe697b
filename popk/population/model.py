"""The population model: one NumPyro model function and one `predict`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from popk.pk import one_compartment
from popk.pk.dosing import NumericArray
from popk.population.condensed import Rows
from popk.population.covariates import log_factor
from popk.population.events import Events
from popk.population.parameters import (
    Centring,
    Eta,
    Known,
    draw,
    draw_etas,
    draw_positive_linear,
    eliminated,
)
from popk.population.residual import Observation
from popk.spec.model import ModelSpec, Parameter
from popk.spec.priors import Fixed, Prior
from popk.spec.relations import Linear
from popk.spec.units import conversion_factor

STRUCTURES = {"one_compartment": one_compartment.log_concentration}

Values = Mapping[str, NumericArray]


class Prediction(NamedTuple):
    """What a model predicts for given parameter values.

    log_concentration
        [subject, step], or [row] of condensed events: log of the predicted concentration, in the
        model's concentration unit.

    Parameters
    ----------
        Parameter to [subject, column], in the parameter's own unit.
    """

    log_concentration: Float[Array, "*row"]
    parameters: dict[str, Float[Array, "subject column"]]


@dataclass(frozen=True, eq=False)
class Model:
    """A model file, compiled: callable as a NumPyro model on `Events`.

    ``numpyro.infer.MCMC(NUTS(model), ...).run(key, events)`` works, as do `Predictive` and
    `log_likelihood`.

    Attributes
    ----------
    spec
        What the file says.
    """

    spec: ModelSpec

    def __repr__(self) -> str:
        names = ", ".join((*self.population_names, *self.correlation_names))
        return f"Model {self.spec.name!r} ({self.spec.structure})\n  estimates {names}"

    def __call__(self, events: Events, centring: Centring | None = None) -> None:
        """The NumPyro model.

        Parameters
        ----------
        events
            Data in the model's units.
        centring
            Parameter to [subject] weights between 0 (non-centred, the default) and 1 (centred), or
            what the data know: another way to write the same posterior.
        """
        spec, events = self.spec, jax.tree.map(jnp.asarray, events)
        values: dict[str, Array] = {}
        for name, parameter in spec.parameters.items():
            values[f"TV{name}"] = draw(f"TV{name}", parameter.typical)
        for effect in spec.covariates:
            if isinstance(effect, Linear):
                values[effect.name] = draw_positive_linear(
                    effect.name, effect.effect, events.terms[effect.name]
                )
            else:
                values |= {name: draw(name, own) for name, own in effect.coefficients.items()}
        sigma = self._sigma()
        weights = {} if centring is None or isinstance(centring, Known) else centring
        variability = self._etas(values, events, weights)
        known = None
        if isinstance(centring, Known):
            known = eliminated(variability, centring, {**self.fixed(), **sigma})
        etas = draw_etas(variability, self._cholesky(), known)
        for name, eta in etas.items():
            values[f"eta_{name}"] = eta
            numpyro.deterministic(f"eta_{name}", eta)
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
        cl, v = self.in_liters(parameters)
        concentrate = STRUCTURES[self.spec.structure]
        # One column broadcasts over the steps of a subject
        cl, v = (jnp.squeeze(a, 1) if a.shape[1] == 1 else a for a in (cl, v))
        if isinstance(events.steps, Rows):
            log_c = _at_rows(concentrate, events.steps, cl, v)
        else:
            log_c = jax.vmap(concentrate)(events.steps, cl, v)
        no_drug = log_c == one_compartment.NO_DRUG
        log_c = jnp.where(no_drug, log_c, log_c + jnp.log(self.per_liter))
        return Prediction(log_c, parameters)

    def in_liters(self, parameters: Values) -> tuple[Array, Array]:
        """CL in L per the model's unit of time, and V in L."""
        spec = self.spec
        cl, v = (spec.parameters[name].unit for name in ("CL", "V"))
        return (
            parameters["CL"] * conversion_factor(cl, f"L/{spec.units.time}"),
            parameters["V"] * conversion_factor(v, "L"),
        )

    @property
    def per_liter(self) -> float:
        """One unit of amount per L, in the unit of concentration."""
        units = self.spec.units
        return conversion_factor(f"({units.amount})/L", units.concentration)

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
            priors |= effect.coefficients
        for name, parameter in self._varied().items():
            assert parameter.variability is not None
            priors[f"omega_{name}"] = parameter.variability.sd
            if parameter.variability.df is not None:
                priors[self._df_name(name)] = _as_prior(parameter.variability.df)
        return priors | spec.residual.sds

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
        return {name: draw(name, prior) for name, prior in self.spec.residual.sds.items()}


def _at_rows(
    concentrate: Callable[..., Array], rows: Rows, cl: Array, v: Array
) -> Float[Array, " row"]:
    """Log concentration at each row of a list, block by block."""
    return jnp.concatenate(
        [
            concentrate(past, cl, v, subject.take)
            for past, subject in zip(rows.blocks, rows.subject, strict=True)
        ]
    )


def _as_prior(df: float | Prior) -> Prior:
    return Fixed(prior="fixed", value=df) if isinstance(df, int | float) else df
