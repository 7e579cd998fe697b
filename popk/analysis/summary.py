"""Tables of a fit: population, individuals, and the line that a paper prints."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.exposure import css_actual, css_nominal
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.parameters import distribution
from popk.spec.model import Variability
from popk.spec.priors import LogNormal, Prior
from popk.spec.residual import ERRORS, ErrorKind
from popk.spec.units import conversion_factor
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit, objective_of

PRIOR_DRIVEN = 0.5
"""Contraction below which a posterior is called driven by the prior."""
LEAST_OMEGA = 1e-3
"""SD on the log scale below which a maximum-likelihood omega is at the edge of what is allowed."""
Z90 = 1.6448536269514722


def parameters(fit: Fit | MaximumFit) -> pd.DataFrame:
    """Population parameters, one a row.

    Parameters
    ----------
    fit
        A posterior or maximum-likelihood estimates.

    Returns
    -------
    DataFrame
        Index: parameter. ``unit``. For a posterior: ``median``, ``mean``, ``sd``; ``q5``, ``q95``
        (90 % interval, equal tails); ``rhat`` (rank-normalised), ``ess_bulk``, ``ess_tail``;
        ``cv_percent`` (for an omega, which is an SD on the log scale: 100 sqrt(exp(omega²) - 1));
        ``shrinkage`` of its etas, 1 - SD(posterior mean eta)/omega; ``contraction`` = 1 -
        posterior variance / prior variance (on the log scale for a log-normal prior); ``note``.
        For maximum likelihood: ``estimate``; ``se`` (by the Hessian) and ``se_sandwich`` (NONMEM's
        default); ``rse_percent`` (100 se/estimate); ``q5``, ``q95`` (90 % confidence interval: on
        the log scale for what cannot be negative, by Fisher's z for a correlation);
        ``cv_percent``; ``shrinkage`` of etas, and for one sigma of the residuals, 1 - SD(IWRES);
        ``note``.
    """
    if isinstance(fit, MaximumFit):
        return _estimates(fit)
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


def _estimates(fit: MaximumFit) -> pd.DataFrame:
    found, model = fit.estimate, fit.model
    rows = {}
    for name in found.names:
        value, se = found[name], found.se(name)
        low, high = _confidence(fit, name)
        rows[name] = {
            "unit": _unit(fit, name),
            "estimate": value,
            "se": se,
            "se_sandwich": found.se(name, sandwich=True),
            "rse_percent": 100.0 * se / abs(value) if value else math.nan,
            "q5": low,
            "q95": high,
            "cv_percent": _cv(fit, name, np.array([value])),
            "shrinkage": _shrinkage_of_modes(fit, name),
            "note": "at the edge: no variability seen" if _vanishes(model, name, value) else "",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "parameter"
    return table


def objective(fit: Fit | MaximumFit) -> dict[str, float]:
    """OFV, -2 log L, AIC, BIC and condition number of a maximum-likelihood fit; else empty.

    OFV is -2 log L without N log(2 pi), N measured rows, as NONMEM prints it.
    """
    return objective_of(fit) if isinstance(fit, MaximumFit) else {}


def _confidence(fit: MaximumFit, name: str) -> tuple[float, float]:
    """90 % interval, on the scale on which the estimate is nearest to normal."""
    value, se = fit.estimate[name], fit.estimate.se(name)
    if name in fit.model.correlation_names:
        middle, spread = math.atanh(value), se / (1.0 - value**2)
        return math.tanh(middle - Z90 * spread), math.tanh(middle + Z90 * spread)
    if name.startswith(("TV", "omega_", "sigma")):
        if _vanishes(fit.model, name, value):
            return math.nan, math.nan
        with np.errstate(over="ignore"):  # a parameter that the data leave open
            low, high = value * np.exp(np.array([-Z90, Z90]) * se / value)
        return float(low), float(high)
    return value - Z90 * se, value + Z90 * se


def _vanishes(model: Model, name: str, value: float) -> bool:
    return name not in model.fixed() and name.startswith("omega_") and value < LEAST_OMEGA


def _shrinkage_of_modes(fit: MaximumFit, name: str) -> float:
    """NONMEM's ETASHRINKSD and EPSSHRINKSD, as fractions."""
    if name.startswith("omega_") and fit.data.subjects > 1:
        eta = fit.etas[name.removeprefix("omega_")]
        return 1.0 - float(eta.std(ddof=1)) / fit.estimate[name]
    if name == "sigma":
        return objective_of(fit)["epsilon shrinkage"]
    return math.nan


def individuals(fit: Fit | MaximumFit) -> pd.DataFrame:
    """Individual parameters, one subject a row.

    Parameters
    ----------
    fit
        A posterior or maximum-likelihood estimates.

    Returns
    -------
    DataFrame
        Index: ID. For each of CL and V (in the parameter's unit, and per unit of its scale where
        it has one), the half-life, and for infusions Css at the subject's own rate (the one given
        longest) and at the nominal dose: ``NAME``, ``NAME_q5``, ``NAME_q95``: posterior median
        and 90 % interval; for maximum likelihood those of the subject's conditional distribution
        at the estimates (empirical Bayes). Units stand in ``table.attrs["units"]``.
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
    fit: Fit | MaximumFit,
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

    @property
    def css_decimals(self) -> int:
        """Decimals of Css: none as in print, more where the mean would have under three digits."""
        if not 0.0 < self.css_mean < 100.0:
            return 0
        return min(2 - math.floor(math.log10(self.css_mean)), 6)

    def __str__(self) -> str:
        return (
            f"Css at {self.dose}: {self.css_mean:.{self.css_decimals}f} ± "
            f"{self.css_sd:.{self.css_decimals}f} {self.css_unit} "
            f"(mean ± SD); CL: median {self.cl_median:.2f} "
            f"({self.cl_minimum:.2f}-{self.cl_maximum:.2f}) {self.cl_unit}"
        )


def paper_line(fit: Fit | MaximumFit) -> PaperLine | None:
    """Css and CL of the subjects as a paper prints them.

    Parameters
    ----------
    fit
        A posterior or maximum-likelihood estimates.

    Returns
    -------
    PaperLine or None
        None without infusions or without a nominal dose. As text: the line itself.
    """
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


def _unit(fit: Fit | MaximumFit, name: str) -> str:
    spec = fit.model.spec
    if name.startswith("TV"):
        return spec.typical_unit(name[2:])
    if name.startswith("omega_"):
        relative = _variability(fit, name).distribution == "normal"
        return "fraction of TV (SD)" if relative else "log scale (SD)"
    if name.startswith("sigma"):
        return _sd_unit(ERRORS[spec.residual.error], name, spec.units.concentration)
    for effect in spec.covariates:
        if name == f"{effect.name}_half":
            return getattr(effect, "unit", "")
        if name == effect.name and effect.relation != "linear":
            return "exponent" if effect.relation == "power" else "log scale"
    return ""


def _sd_unit(kind: ErrorKind, name: str, concentration: str) -> str:
    if kind.logarithmic:
        return "log scale (SD)"
    match 1.0 - kind.powers[name]:
        case 0.0:
            return "fraction (SD)"
        case 1.0:
            return f"{concentration} (SD)"
        case power:
            return f"({concentration})^{power:g} (SD)"


def _variability(fit: Fit | MaximumFit, omega: str) -> Variability:
    variability = fit.model.spec.parameters[omega.removeprefix("omega_")].variability
    assert variability is not None
    return variability


def _cv(fit: Fit | MaximumFit, name: str, values: Float[np.ndarray, " draw"]) -> float:
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


def _scale(fit: Fit | MaximumFit, name: str) -> Float[np.ndarray, " subject"]:
    """Factor of each subject's scale at baseline, e.g. BSA in m²."""
    events, _ = arrange(fit.model.spec, fit.data)
    return np.exp(np.asarray(events.log_scale[name])[:, 0])


def _turnover(fit: Fit | MaximumFit) -> float:
    """V/CL in the model's time, for one V unit over one CL unit."""
    parameters, time = fit.model.spec.parameters, fit.model.spec.units.time
    return conversion_factor(f"({parameters['V'].unit})/({parameters['CL'].unit})", time)
