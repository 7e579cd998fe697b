"""Tables of a fit: population, individuals, and the line that a paper prints."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.exposure import css_actual, css_nominal
from popk.population.events import arrange
from popk.population.parameters import distribution
from popk.spec.model import Variability
from popk.spec.priors import LogNormal, Prior
from popk.spec.units import conversion_factor
from popk.study.fit import Fit

PRIOR_DRIVEN = 0.5
"""Contraction below which a posterior is called driven by the prior."""


def parameters(fit: Fit) -> pd.DataFrame:
    """Population parameters, one a row.

    Returns
    -------
    DataFrame
        Index: parameter. ``unit``; ``median``, ``mean``, ``sd``; ``q5``, ``q95`` (90 % interval,
        equal tails); ``rhat`` (rank-normalised), ``ess_bulk``, ``ess_tail``; ``cv_percent`` (for
        an omega, which is an SD on the log scale: 100 sqrt(exp(omega²) - 1)); ``shrinkage`` of
        its etas, 1 - SD(posterior mean eta)/omega; ``contraction`` = 1 - posterior variance /
        prior variance (on the log scale for a log-normal prior); ``note``.
    """
    model, draws = fit.model, fit.samples.draws
    rows = {}
    for name in (*model.population_names, *model.correlation_names):
        values = draws[name].reshape(-1)
        rhat, bulk, tail = fit.diagnostics.of(name)
        contraction = _contraction(fit, name, values)
        rows[name] = {
            "unit": _unit(fit, name),
            **_described(values),
            "rhat": rhat,
            "ess_bulk": bulk,
            "ess_tail": tail,
            "cv_percent": _cv(fit, name, values),
            "shrinkage": _shrinkage(fit, name),
            "contraction": contraction,
            "note": "driven by the prior" if contraction < PRIOR_DRIVEN else "",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "parameter"
    return table


def individuals(fit: Fit) -> pd.DataFrame:
    """Individual parameters, one subject a row.

    Returns
    -------
    DataFrame
        Index: ID. For each of CL and V (in the parameter's unit, and per unit of its scale where
        it has one), the half-life, and for infusions Css at the subject's own rate (the one given
        longest) and at the nominal dose: ``NAME``, ``NAME_q5``, ``NAME_q95``: posterior median
        and 90 % interval. Units stand in ``table.attrs["units"]``.
    """
    quantities, units = individual_draws(fit)
    columns = {}
    for name, values in quantities.items():
        flat = values.reshape(-1, values.shape[-1])
        low, middle, high = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
        columns |= {name: middle, f"{name}_q5": low, f"{name}_q95": high}
    table = pd.DataFrame(columns, index=pd.Index(fit.data.ids, name="ID"))
    table.attrs["units"] = units
    return table


def individual_draws(
    fit: Fit,
) -> tuple[dict[str, Float[np.ndarray, "chain draw subject"]], dict[str, str]]:
    """Draws of every individual quantity, and the units. Of time-varying ones: at baseline."""
    spec, draws = fit.model.spec, fit.samples.draws
    quantities: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for name, parameter in spec.parameters.items():
        quantities[name], units[name] = draws[name], parameter.unit
        if parameter.scales:
            scaled = f"{name}_scaled"
            quantities[scaled] = draws[name] / _scale(fit, name)
            units[scaled] = spec.typical_unit(name)
    quantities["half_life"] = math.log(2.0) * draws["V"] / draws["CL"] * _turnover(fit)
    units["half_life"] = spec.units.time
    for name, rate in (("Css_actual", css_actual(fit)), ("Css_nominal", css_nominal(fit))):
        if rate is not None:
            quantities[name], units[name] = rate, spec.units.concentration
    return quantities, units


@dataclass(frozen=True)
class PaperLine:
    """Css and CL as a paper prints them, from the individual posterior medians, with intervals.

    Attributes
    ----------
    css_mean, css_sd
        Mean and SD over subjects of Css at the nominal dose.
    cl_median, cl_minimum, cl_maximum
        Over subjects, of CL per unit of its scale.
    intervals
        The same figures' 90 % posterior intervals (of the sample's figure in each draw).
    css_unit, cl_unit, dose
        Units, and the dose that Css refers to.
    """

    css_mean: float
    css_sd: float
    cl_median: float
    cl_minimum: float
    cl_maximum: float
    intervals: dict[str, tuple[float, float]]
    css_unit: str
    cl_unit: str
    dose: str

    def __str__(self) -> str:
        return (
            f"Css at {self.dose}: {self.css_mean:.0f} ± {self.css_sd:.0f} {self.css_unit} "
            f"(mean ± SD); CL: median {self.cl_median:.2f} "
            f"({self.cl_minimum:.2f}-{self.cl_maximum:.2f}) {self.cl_unit}"
        )


def paper_line(fit: Fit) -> PaperLine | None:
    """The published kind of summary; None without infusions or without a nominal dose."""
    quantities, units = individual_draws(fit)
    css = quantities.get("Css_nominal")
    if css is None or fit.dose is None:
        return None
    name = "CL_scaled" if "CL_scaled" in quantities else "CL"
    cl = quantities[name]
    figures = {
        "css_mean": lambda css, cl: css.mean(axis=-1),
        "css_sd": lambda css, cl: css.std(axis=-1, ddof=1) if css.shape[-1] > 1 else css[..., 0],
        "cl_median": lambda css, cl: np.median(cl, axis=-1),
        "cl_minimum": lambda css, cl: cl.min(axis=-1),
        "cl_maximum": lambda css, cl: cl.max(axis=-1),
    }
    middle = np.median(css, axis=(0, 1)), np.median(cl, axis=(0, 1))
    intervals = {}
    for figure, of in figures.items():
        low, high = np.quantile(of(css, cl), [0.05, 0.95])
        intervals[figure] = (float(low), float(high))
    return PaperLine(
        **{figure: float(of(*middle)) for figure, of in figures.items()},
        intervals=intervals,
        css_unit=units["Css_nominal"],
        cl_unit=units[name],
        dose=fit.dose.nominal.replace("ug", "µg").replace("^2", "²"),
    )


def _described(values: Float[np.ndarray, " draw"]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return {
        "median": float(middle),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "q5": float(low),
        "q95": float(high),
    }


def _unit(fit: Fit, name: str) -> str:
    spec = fit.model.spec
    if name.startswith("TV"):
        return spec.typical_unit(name[2:])
    if name.startswith("omega_"):
        relative = _variability(fit, name).distribution == "normal"
        return "fraction of TV (SD)" if relative else "log scale (SD)"
    if name.startswith("sigma"):
        error = spec.residual.error
        additive = error == "additive" or name == "sigma_additive"
        if additive:
            return f"{spec.units.concentration} (SD)"
        return "log scale (SD)" if error == "lognormal" else "fraction (SD)"
    for effect in spec.covariates:
        if name == f"{effect.name}_half":
            return getattr(effect, "unit", "")
        if name == effect.name and effect.relation != "linear":
            return "exponent" if effect.relation == "power" else "log scale"
    return ""


def _variability(fit: Fit, omega: str) -> Variability:
    variability = fit.model.spec.parameters[omega.removeprefix("omega_")].variability
    assert variability is not None
    return variability


def _cv(fit: Fit, name: str, values: Float[np.ndarray, " draw"]) -> float:
    if not name.startswith("omega_"):
        return math.nan
    omega = float(np.median(values))
    match _variability(fit, name).distribution:
        case "lognormal":
            return 100.0 * math.sqrt(math.expm1(omega**2))
        case "normal":
            return 100.0 * omega
        case _:  # exp of a Student-t has no variance
            return math.nan


def _shrinkage(fit: Fit, name: str) -> float:
    """1 - SD(eta_hat)/omega with eta_hat the posterior means."""
    if not name.startswith("omega_") or fit.data.subjects < 2:
        return math.nan
    eta = fit.samples.draws[name.replace("omega_", "eta_")].mean(axis=(0, 1))
    spread = float(np.median(fit.samples.draws[name]))
    variability = _variability(fit, name)
    if isinstance(variability.df, float):
        if variability.df <= 2:
            return math.nan
        spread *= math.sqrt(variability.df / (variability.df - 2.0))
    return 1.0 - float(eta.std(ddof=1)) / spread


def _contraction(fit: Fit, name: str, values: Float[np.ndarray, " draw"]) -> float:
    if name in fit.model.correlation_names:
        correlation = fit.model.spec.correlation
        assert correlation is not None
        # A correlation under LKJ(c) among k etas is 2 Beta(a, a) - 1 with a = c + k/2 - 1
        a = correlation.concentration + len(correlation.parameters) / 2 - 1.0
        return 1.0 - float(values.var()) * (2.0 * a + 1.0)
    prior: Prior = fit.model.population_priors()[name]
    if isinstance(prior, LogNormal):
        return 1.0 - float(np.log(values).var()) / prior.sigma**2
    return 1.0 - float(values.var()) / float(np.asarray(distribution(prior).variance))


def _scale(fit: Fit, name: str) -> Float[np.ndarray, " subject"]:
    """Factor of each subject's scale at baseline, e.g. BSA in m²."""
    events, _ = arrange(fit.model.spec, fit.data)
    return np.exp(np.asarray(events.log_scale[name])[:, 0])


def _turnover(fit: Fit) -> float:
    """V/CL in the model's time, for one V unit over one CL unit."""
    parameters, time = fit.model.spec.parameters, fit.model.spec.units.time
    return conversion_factor(f"({parameters['V'].unit})/({parameters['CL'].unit})", time)
