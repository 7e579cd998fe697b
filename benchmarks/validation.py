"""Three fits whose answers are known, set beside those answers.

``python -m benchmarks.validation`` fits them and writes benchmarks/VALIDATION.md; the slow tests in
tests/validation require the agreement that the tables show. Nothing is written to fits/.
"""

import functools
import math
import os
import platform
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

import popk
from popk.population.model import Model
from popk.spec.residual import SimpleResidual
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit
from popk.study.folder import open_study

ROOT = Path(__file__).parents[1]
MODELS, FITS = ROOT / "models", ROOT / "fits"
INFUSION = ROOT.parent / "shared" / "data" / "infusion_1cpt.csv"
TRUTH = FITS / "blinatumomab-infants" / "synthetic_truth.csv"
OUTPUT = Path(__file__).with_name("VALIDATION.md")
WITHIN = 1.5
"""Standard errors of the estimate that a posterior median may lie away from it."""

Draws = Float[np.ndarray, "chain draw"]


class Estimate(NamedTuple):
    """A reference value with its standard error, and the draws to hold against it."""

    quantity: str
    value: float
    se: float
    draws: Callable[[dict[str, np.ndarray]], Draws]


class Comparison(NamedTuple):
    """A reference value beside the posterior median and 90 % interval."""

    quantity: str
    value: float
    se: float
    median: float
    q5: float
    q95: float

    @property
    def distance(self) -> float:
        """From the estimate to the posterior median, in standard errors of the estimate."""
        return (self.median - self.value) / self.se


# NONMEM 7.5.1 FOCEI; CL and V proportional to weight. V of APGR < 5 is V (1 + theta)
PHENOBARB_ESTIMATES = (
    Estimate("CL (L/h/kg)", 0.00469555, 0.00021, lambda d: d["TVCL"]),
    Estimate("V (L/kg)", 0.984258, 0.0269, lambda d: d["TVV"]),
    Estimate("Apgar < 5 on V (fraction)", 0.158920, 0.0838, lambda d: np.expm1(d["V_APGR_below"])),
    Estimate("omega² CL (variance)", 0.0293508, 0.0134, lambda d: d["omega_CL"] ** 2),
    Estimate("omega² V (variance)", 0.0279060, 0.0075, lambda d: d["omega_V"] ** 2),
    Estimate("sigma² (variance)", 0.0132410, 0.0023, lambda d: d["sigma"] ** 2),
)


def _infusion_estimates(*values: tuple[float, float]) -> tuple[Estimate, ...]:
    of: tuple[tuple[str, Callable[[dict[str, np.ndarray]], Draws]], ...] = (
        ("log CL (log L/h)", lambda d: np.log(d["TVCL"])),
        ("log V (log L)", lambda d: np.log(d["TVV"])),
        ("sigma (SD, fraction)", lambda d: d["sigma"]),
        ("omega² CL (variance)", lambda d: d["omega_CL"] ** 2),
        ("omega² V (variance)", lambda d: d["omega_V"] ** 2),
    )
    return tuple(
        Estimate(name, value, se, draws)
        for (name, draws), (value, se) in zip(of, values, strict=True)
    )


# NONMEM 7.4.3 FOCEI, columns SS and II ignored. For SD = 0 no standard errors of the omegas are
# given; those of SD = 1 stand in, from the same 120 subjects
INFUSION_ESTIMATES = {
    "SD=1": _infusion_estimates(
        (1.39335, 0.0257), (4.26940, 0.0287), (0.200449, 0.0033),
        (0.0774791, 0.0097), (0.0959909, 0.0116),
    ),
    "SD=0": _infusion_estimates(
        (1.38771, 0.0259), (4.26684, 0.0276), (0.200171, 0.0024),
        (0.0796134, 0.0097), (0.0881169, 0.0116),
    ),
}  # fmt: skip


@functools.cache
def phenobarb() -> Fit:
    """The fit of fits/phenobarb-neonates, with its own settings."""
    return _fit_of_folder(FITS / "phenobarb-neonates")


def infusion(rows: str, error: Literal["proportional", "lognormal"] = "proportional") -> Fit:
    """The fit of infusion_1cpt.csv: ``"SD=1"`` single doses, ``"SD=0"`` multiple doses.

    A dose flagged SS is an ordinary dose here, and EVID 2 is no observation, as in the NONMEM runs.
    They had a proportional error; the file's errors are log-normal, see `residuals_at_truth`.
    """
    return _infusion(rows, error)


@functools.cache
def _infusion(rows: str, error: Literal["proportional", "lognormal"]) -> Fit:
    spec = popk.load_model(MODELS / "infusion_1cpt.toml").spec
    assert isinstance(spec.residual, SimpleResidual)
    residual = spec.residual.model_copy(update={"error": error})
    model = Model(spec.model_copy(update={"residual": residual}))
    data = popk.read_data(
        INFUSION,
        columns={
            "TIME": {"unit": "h"},
            "AMT": {"unit": "ug"},
            "DV": {"unit": "ug/L"},
            "SS": {"ignore": True},
            "II": {"ignore": True},
        },
        rows={"accept": {"SD": [int(rows.removeprefix("SD="))]}, "ignore": {"EVID": [2]}},
    )
    return run_fit(model, data, synthetic=True)


@functools.cache
def blinatumomab(model: str) -> Fit:
    """The fit of fits/blinatumomab-infants with a model of models/ and the folder's settings."""
    return _fit_of_folder(FITS / "blinatumomab-infants", MODELS / f"{model}.toml")


def _fit_of_folder(folder: Path, model: Path | None = None) -> Fit:
    """Fit what a folder names, leaving its results alone."""
    study = open_study(folder)
    return run_fit(
        study.model if model is None else popk.load_model(model),
        study.data,
        study.spec.sampler,
        dose=study.spec.dose,
        synthetic=study.spec.synthetic,
    )


def compare(fit: Fit, estimates: Iterable[Estimate]) -> list[Comparison]:
    """Posterior median and 90 % interval beside each estimate."""
    draws = dict(fit.samples.draws)
    rows = []
    for estimate in estimates:
        q5, median, q95 = np.quantile(estimate.draws(draws), [0.05, 0.5, 0.95])
        rows.append(
            Comparison(
                estimate.quantity,
                estimate.value,
                estimate.se,
                float(median),
                float(q5),
                float(q95),
            )
        )
    return rows


class Recovery(NamedTuple):
    """How well individual values are found again.

    Attributes
    ----------
    correlation
        Between the posterior medians and the true values.
    coverage
        Share of the true values in their 90 % interval.
    subjects
        Their number.
    """

    correlation: float
    coverage: float
    subjects: int


def recovery(fit: Fit, name: str) -> Recovery:
    """Individual CL or V of an infusion fit against the file's true values."""
    file: Any = pd.read_csv(INFUSION, dtype={"ID": str}).drop_duplicates("ID").set_index("ID")
    truth = file.loc[list(fit.data.ids), name].to_numpy(float)
    flat = fit.samples.draws[name].reshape(-1, truth.size)
    q5, median, q95 = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
    inside = (q5 <= truth) & (truth <= q95)
    correlation = float(np.corrcoef(median, truth)[0, 1])
    return Recovery(correlation, float(inside.mean()), truth.size)


class Residuals(NamedTuple):
    """Mean, its standard error, SD and skewness of the file's errors around its true profiles."""

    mean: float
    se: float
    sd: float
    skewness: float


def residuals_at_truth() -> dict[str, Residuals]:
    """Errors of the single-dose rows around the file's true CL and V: relative, and of the log."""
    file: Any = pd.read_csv(INFUSION)
    file = file[file["SD"] == 1]
    dose = file[file["EVID"] == 1].set_index("ID")
    rows = file[file["EVID"] == 0]
    rate = dose.loc[rows["ID"], "RATE"].to_numpy(float)
    end = dose.loc[rows["ID"], "AMT"].to_numpy(float) / rate
    cl, v, time = (rows[name].to_numpy(float) for name in ("CL", "V", "TIME"))
    rise = -np.expm1(-cl / v * np.minimum(time, end))
    true = rate / cl * rise * np.exp(-cl / v * np.maximum(time - end, 0.0))
    ratio = rows["DV"].to_numpy(float) / true
    return {name: _residuals(e) for name, e in (("relative", ratio - 1), ("log", np.log(ratio)))}


def _residuals(errors: np.ndarray) -> Residuals:
    sd = float(errors.std())
    return Residuals(
        float(errors.mean()),
        sd / math.sqrt(errors.size),
        sd,
        float(np.mean((errors - errors.mean()) ** 3) / sd**3),
    )


class Figure(NamedTuple):
    """One figure of the paper's line.

    Attributes
    ----------
    quantity
        With its unit.
    published, truth
        In the paper; of the 26 true values in the synthetic file, to the paper's digits the same.
    allowed
        Relative distance from the published figure that a fit may have.
    of
        The figure's name in `popk.analysis.summary.PaperLine`.
    """

    quantity: str
    published: float
    truth: float
    allowed: float
    of: str


def figures() -> tuple[Figure, ...]:
    """Css at 15 µg/m²/day and CL of the 26 infants: published, and of the synthetic truth."""
    truth: Any = pd.read_csv(TRUTH, comment="#")
    cl = truth["CL_per_m2"].to_numpy(float)
    css = 625.0 / cl  # pg/mL at 0.625 µg/h/m²
    return (
        Figure("Css mean (pg/mL)", 706.0, float(css.mean()), 0.05, "css_mean"),
        Figure("Css SD (pg/mL)", 194.0, float(css.std(ddof=1)), 0.15, "css_sd"),
        Figure("CL median (L/h/m²)", 0.89, float(np.median(cl)), 0.05, "cl_median"),
        Figure("CL lowest (L/h/m²)", 0.57, float(cl.min()), 0.15, "cl_minimum"),
        Figure("CL highest (L/h/m²)", 2.66, float(cl.max()), 0.15, "cl_maximum"),
    )


def true_value(name: str) -> float:
    """A population value from the header of the synthetic truth."""
    for line in TRUTH.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"# truth: {name} = "):
            return float(line.rpartition("=")[2])
    raise KeyError(name)


def interval(fit: Fit, name: str) -> tuple[float, float]:
    """90 % posterior interval of a population parameter."""
    q5, q95 = np.quantile(fit.samples.draws[name], [0.05, 0.95])
    return float(q5), float(q95)


def main() -> None:
    """Fit everything and write VALIDATION.md."""
    sections, missed = [], []
    comparisons = {"Phenobarb": compare(phenobarb(), PHENOBARB_ESTIMATES)}
    sections.append(
        "## Phenobarb in 59 neonates (real data)\n\n"
        "`fits/phenobarb-neonates` beside NONMEM 7.5.1 FOCEI.\n\n"
        + _estimates_table(comparisons["Phenobarb"])
        + _sampling(phenobarb())
    )
    recovered: dict[tuple[str, str, str], Recovery] = {}
    if INFUSION.exists():
        for rows, estimates in INFUSION_ESTIMATES.items():
            comparisons[f"Infusion {rows}"] = compare(infusion(rows), estimates)
            recovered |= {
                (rows, error, name): recovery(infusion(rows, error), name)
                for error in ("proportional", "lognormal")
                for name in ("CL", "V")
            }
        sections.append(_infusion_section(comparisons, recovered))
    fits = {
        "log-normal": blinatumomab("infusion_1cpt_bsa"),
        "Student-t": blinatumomab("infusion_1cpt_bsa_student"),
    }
    sections.append(_infants_section(fits))
    missed += [
        f"{where}: {row.quantity} lies {row.distance:+.2f} SE from the estimate"
        for where, rows in comparisons.items()
        for row in rows
        if abs(row.distance) > WITHIN
    ]
    missed += [
        f"Infusion {rows}, {error} error: {name} correlation {r.correlation:.3f}, "
        f"coverage {r.coverage:.1%}"
        for (rows, error, name), r in recovered.items()
        if not (r.correlation > 0.95 and 0.85 <= r.coverage <= 0.95)
    ]
    missed += [f"Infants, {line}" for line in _infants_missed(fits)]
    verdict = "All targets are met." if not missed else "\n".join(
        ["Targets that are missed:", "", *(f"- {m}" for m in missed)]
    )  # fmt: skip
    text = "\n\n".join([_head(fits["log-normal"]), verdict, *sections]) + "\n"
    OUTPUT.write_text(text, encoding="utf-8")
    print(f"{OUTPUT}: {verdict}")


def _infants_missed(fits: dict[str, Fit]) -> list[str]:
    missed = []
    for name, fit in fits.items():
        line, truth, (q5, q95) = paper_line(fit), true_value("TVCL"), interval(fit, "TVCL")
        if not q5 <= truth <= q95:
            missed.append(f"{name}: TVCL {q5:.3f} to {q95:.3f} does not cover {truth:.3f}")
        for figure in figures():
            off = getattr(line, figure.of) / figure.published - 1.0
            if abs(off) > figure.allowed:
                missed.append(f"{name}: {figure.quantity} {off:+.1%}, allowed {figure.allowed:.0%}")
    return missed


def paper_line(fit: Fit) -> Any:
    """The line that the paper prints."""
    line = popk.paper_line(fit)
    assert line is not None
    return line


def _head(fit: Fit) -> str:
    versions = fit.provenance.versions
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        "# Validation\n\n"
        "Written by `python -m benchmarks.validation`; `make validate` requires the same "
        "agreements.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}; {cores} cores ({platform.machine()}), "
        f"{fit.provenance.precision}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".\n\nIntervals are 90 % posterior intervals, equal tails. Every fit runs with the "
        "default settings of its kind. Seconds include compilation."
    )


def _estimates_table(rows: Iterable[Comparison]) -> str:
    lines = [
        "| quantity | NONMEM | SE | posterior median | 90 % interval | distance / SE |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.quantity} | {r.value:.4g} | {r.se:.2g} | {r.median:.4g} | "
        f"{r.q5:.4g} to {r.q95:.4g} | {r.distance:+.2f} |"
        for r in rows
    ]
    return "\n".join(lines) + f"\n\nRequired: distance within ± {WITHIN} SE.\n\n"


def _infusion_section(
    comparisons: dict[str, list[Comparison]], recovered: dict[tuple[str, str, str], Recovery]
) -> str:
    parts = [
        "## Infusion, 120 simulated subjects (SIMULATED data)\n\n"
        "infusion_1cpt.csv (ACOP 2016 model comparison, nlmixr2data) with "
        "`models/infusion_1cpt.toml` beside NONMEM 7.4.3 FOCEI. As there, the columns SS and II "
        "are ignored and rows with EVID 2 are left out."
    ]
    for rows in INFUSION_ESTIMATES:
        parts.append(
            f"### {rows}: {'single' if rows == 'SD=1' else 'multiple'} doses, "
            f"{infusion(rows).data.observations} observations\n\n"
            + _estimates_table(comparisons[f"Infusion {rows}"])
            + _sampling(infusion(rows))
        )
    lines = [
        "### Individual values against the file's true ones\n",
        "| rows | error model | parameter | correlation of medians | in the 90 % interval |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {rows} | {error} | {name} | {r.correlation:.4f} | {r.coverage:.1%} of {r.subjects} |"
        for (rows, error, name), r in recovered.items()
    ]
    relative, log = residuals_at_truth()["relative"], residuals_at_truth()["log"]
    lines.append(
        "\nTarget: correlation above 0.95, 85 to 95 % of true values covered. "
        "The NONMEM runs took the error as proportional, but the file was simulated with a "
        "log-normal one: around the true profiles of the single-dose rows the relative errors have "
        f"mean {relative.mean:+.4f} (SE {relative.se:.4f}) and skewness {relative.skewness:.2f}, "
        f"those of log DV {log.mean:+.4f} (SE {log.se:.4f}) and {log.skewness:.2f}. "
        "With a proportional error every concentration is therefore taken about 2 % too high, "
        "which is 0.4 posterior SD of an individual CL or V, and too few true values lie in their "
        "intervals. The rows with a log-normal error show the intervals of the right model."
    )
    for error in ("proportional", "lognormal"):
        lines += [
            f"\n{error}, {rows}: {_sampling(infusion(rows, error))}" for rows in INFUSION_ESTIMATES
        ]
    lines.append(
        "\nFor SD=0 no standard errors of the omegas are given; those of SD=1 (the same subjects) "
        "are used."
    )
    return "\n\n".join([*parts, "\n".join(lines)])


def _infants_section(fits: dict[str, Fit]) -> str:
    lines = {name: paper_line(fit) for name, fit in fits.items()}
    table = [
        "## Blinatumomab in 26 infants (SYNTHETIC data)\n",
        "`fits/blinatumomab-infants` with log-normal and with Student-t (4 degrees of freedom) "
        "variability of CL. Published: Martins et al., J Clin Oncol 2026, "
        "doi 10.1200/JCO-25-01806. Css at 15 µg/m²/day. Figures of a fit are those of the "
        "individual posterior medians; in brackets the 90 % interval of the sample's figure.\n",
        "| figure | published | truth | " + " | ".join(fits) + " | required |",
        "|---|---|---|" + "---|" * len(fits) + "---|",
    ]
    for figure in figures():
        cells = []
        for line in lines.values():
            value, (q5, q95) = getattr(line, figure.of), line.intervals[figure.of]
            off = value / figure.published - 1.0
            cells.append(f"{value:.3g} ({q5:.3g} to {q95:.3g}), {off:+.1%}")
        table.append(
            f"| {figure.quantity} | {figure.published:g} | {figure.truth:.4g} | "
            + " | ".join(cells)
            + f" | ± {figure.allowed:.0%} |"
        )
    for name, unit, required in (
        ("TVCL", "L/h/m²", "covers the truth"),
        ("omega_CL", "SD or scale, log", "-"),
        ("TVV", "L/m²", "-"),
        ("sigma", "SD, log", "-"),
    ):
        cells = []
        for fit in fits.values():
            q5, q95 = interval(fit, name)
            cells.append(f"{np.median(fit.samples.draws[name]):.3g} ({q5:.3g} to {q95:.3g})")
        table.append(
            f"| {name} ({unit}) | - | {true_value(name):.4g} | "
            + " | ".join(cells)
            + f" | {required} |"
        )
    return "\n".join(table) + "\n\n" + "\n".join(
        f"{name}: {_sampling(fit)}\n" for name, fit in fits.items()
    )  # fmt: skip


def _sampling(fit: Fit) -> str:
    """One line: how it was sampled, whether it converged, how long it took."""
    method, checks = fit.provenance.method, {check.name: check for check in fit.checks}
    shape = fit.samples.stats["lp"].shape
    failed = [check.name for check in fit.checks if not check.passed]
    return (
        f"{method['name']}, {shape[0]} chains x {shape[1]} draws, seed {fit.provenance.seed}; "
        f"R-hat {checks['R-hat'].value:.4f}, ESS bulk {checks['ESS bulk'].value:.0f}, "
        f"tail {checks['ESS tail'].value:.0f} (the worst of all parameters), "
        f"{checks['divergences'].value:.0f} divergences; "
        + ("all checks passed" if not failed else f"FAILED: {', '.join(failed)}")
        + f"; {sum(fit.provenance.seconds.values()):.0f} s."
    )


if __name__ == "__main__":
    main()
