"""What tables of the terminal and of the page say in the same words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from popk.report.numbers import number, spread, unit

if TYPE_CHECKING:
    from popk.analysis.summary import PaperLine
    from popk.data.overview import CovariateOverview, Overview


def data_facts(data: "Overview") -> dict[str, str]:
    """What a data set holds, name by name."""
    time, concentration = _unit(data.time_unit), _unit(data.concentration_unit)
    return {
        "file": data.source,
        "subjects": f"{data.subjects}",
        "rows": f"{data.records}" + (f", {data.resets} of them resets" if data.resets else ""),
        "doses": f"{data.doses} ({data.dose_records} rows: {data.boluses} boluses, "
        f"{data.infusions} infusions), amounts in {_unit(data.amount_unit)}",
        "observations": f"{data.observations}; {spread(data.observations_per_subject)} a subject",
        "censored": f"{data.below} below a limit, {data.above} above, {data.interval} between two",
        "times": f"{spread(data.time)} {time}",
        "measured DV": "none" if data.dv is None else f"{spread(data.dv)} {concentration}",
        "covariates between rows": "next observation carried backward (nocb)"
        if data.interpolation == "nocb"
        else "last observation carried forward (locf)",
        "columns not used": ", ".join(data.ignored) or "none",
    }


def covariate_facts(covariate: "CovariateOverview") -> tuple[str, str, str, str, str]:
    """Name, unit, values at baseline, records without one, and what to know of it."""
    values = (
        ", ".join(f"{level}: {n}" for level, n in covariate.counts.items())
        if covariate.baseline is None
        else spread(covariate.baseline)
    )
    notes = (
        "changes over time" if covariate.varies else "",
        "" if covariate.derived is None else f"derived: {covariate.derived}",
    )
    note = "; ".join(part for part in notes if part)
    return covariate.name, unit(covariate.unit or "-"), values, str(covariate.missing), note


def evidence(row: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Further tests of a candidate effect: test, value, error, p, and what to know of it."""
    low, high = number(row["classical_q2_5"], 3), number(row["classical_q97_5"], 3)
    return [
        ("Bayes factor BF01 (Savage-Dickey)", number(row["BF01"], 3), number(row["BF01_error"], 2),
         "", str(row["evidence"])),
        ("elpd with less without, observations", f"{row['loo']:.2f}", f"{row['loo_error']:.2f}",
         "", f"{row['loo_unreliable']:.0f} with Pareto k above 0.7"),
        ("elpd with less without, subjects", f"{row['loso']:.2f}", f"{row['loso_error']:.2f}", "",
         f"{row['loso_refitted']:.0f} left out by another fit"),
        (f"likelihood ratio, delta OFV ({row['df']:.0f} df)", f"{row['dOFV']:.3f}", "",
         number(row["p"], 3), ""),
        (str(row["classical"]), number(row["classical_value"], 3), "",
         number(row["classical_p"], 3), "" if low == "-" else f"95 % {low} to {high}"),
    ]  # fmt: skip


def objective_parts(found: Mapping[str, float]) -> list[str]:
    """The objective function of a maximum-likelihood fit, and what is derived from it."""
    error = found["OFV Monte Carlo error"]
    return [
        f"OFV {found['OFV']:.3f}" + (f" (Monte Carlo error {error:.2g})" if error else ""),
        f"-2 log L {found['-2 log L']:.3f}",
        f"AIC {found['AIC']:.2f}",
        f"BIC {found['BIC']:.2f}",
        f"condition number {found['condition number']:.3g}"
        + (" (above 1000: ill-conditioned)" if found["condition number"] > 1000 else ""),
    ]


def paper_intervals(line: "PaperLine") -> str:
    """The intervals of the figures of the paper's line."""
    of = line.intervals
    return (
        f"90 % intervals: Css mean {_to(of['css_mean'], line.css_decimals)}, "
        f"SD {_to(of['css_sd'], line.css_decimals)} {line.css_unit}; "
        f"CL median {of['cl_median'][0]:.2f}-{of['cl_median'][1]:.2f}, "
        f"lowest {of['cl_minimum'][0]:.2f}-{of['cl_minimum'][1]:.2f}, "
        f"highest {of['cl_maximum'][0]:.2f}-{of['cl_maximum'][1]:.2f} {line.cl_unit}"
    )


def _to(interval: tuple[float, float], decimals: int) -> str:
    return f"{interval[0]:.{decimals}f}-{interval[1]:.{decimals}f}"


def _unit(text: str | None) -> str:
    return unit(text) if text else "no declared unit (the model's is taken)"
