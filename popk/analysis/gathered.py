"""Everything that a report shows of one fit, in one record.

Tables are read back from results/, where the commands wrote them: a report shows what was computed
then and computes nothing again. A fit replaces results/ whole, so that what lies there is of this
fit.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popk.analysis.gathered_dosing import Patient, Regimens, Target, patients, regimens, target
from popk.analysis.reread import Reread, required, reread
from popk.analysis.summary import PaperLine, individual_draws, objective, paper_line
from popk.data.nonmem.events import is_dose
from popk.data.overview import Overview, overview
from popk.inference.convergence import Check
from popk.population.subjects import varied
from popk.spec.fit import FitSpec
from popk.spec.model import ModelSpec
from popk.study.fit import Fit, Provenance
from popk.study.folder import Study, stale
from popk.study.maximum import MaximumFit

CHECKS: Mapping[str, tuple[str | None, tuple[str, ...]]] = {
    "verdicts": ("check", ("outcome", "value", "threshold", "meaning", "source")),
    "observations": (None, ("ID", "TIME", "TAD", "DV", "censored", "PRED", "IPRED", "NPDE")),
    "profiles": (None, ("ID", "TIME", "individual", "population")),
    "vpc": (None, ("bin", "time", "quantile", "observed", "low", "high")),
    "pcvpc": (None, ("bin", "time", "quantile", "observed", "low", "high")),
    "vpc_points": (None, ("ID", "time", "value", "censored")),
    "pcvpc_points": (None, ("ID", "time", "value", "censored")),
    "limits": (None, ("side", "time", "observed", "low", "high")),
    "npde_bins": (None, ("axis", "middle", "mean", "sd")),
    "etas": ("ID", ()),
    "eta_tests": (None, ("parameter", "covariate", "rho", "p_holm")),
    "outlying_subjects": ("ID", ()),
    "outlying_points": (None, ("ID", "TIME", "z", "probability")),
    "variability": ("variability", ("elpd", "difference", "error")),
    "prior_sensitivity": ("parameter", ("prior", "likelihood", "diagnosis")),
    "sampling_times": (None, ("reference", "time")),
    "sample_figures": ("figure", ("unit", "observed", "low", "median", "high", "p")),
    "sample_replicates": (None, ()),
}
"""Tables of results/checks: index and columns that must be there."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a report shows. A table is None where the command that makes it was not given.

    Attributes
    ----------
    name, synthetic, maximum_likelihood, converged
        Of the fit.
    folder, place
        The fit folder as it was named, and results/.
    model, settings, data, amount_unit, time_unit, concentration_unit
        The model, fit.toml, what the data hold; units of the data's amounts and times and of the
        model's concentrations.
    provenance, gate, objective, paper, stale
        Where the numbers came from, the convergence checks, OFV and its kin (empty for a
        posterior), the paper's line, what has changed since the fit.
    parameters, individuals, individual_units
        As in `popk.analysis.summary`.
    doses
        One dose record a row: ``ID``, ``TIME``, ``AMT``, ``RATE``, ``duration`` (0 for a bolus,
        inf for a constant infusion at steady state), ``ADDL``, ``II``, ``SS``, in the data's units.
    verdicts, observations, profiles, vpc, pcvpc, vpc_points, pcvpc_points, limits, npde_bins, \
etas, eta_tests, outlying_subjects, outlying_points, variability, prior_sensitivity, \
sampling_times, sample_figures, sample_replicates
        As in `popk.analysis.checking.checks.Checks`, with ``ID`` as a column.
    eta_names, covariate_units
        Parameters with variability, and each covariate's unit ("" for a number or levels).
    covariates, covariate_rule, covariate_notes, no_effect, bayes_factors
        Of `popk.analysis.covariates.covariate_tests`; the joint model's columns are ``joint_...``.
    search_steps, search_effects
        Of `popk.analysis.covariates.search`.
    simulation, target, patients
        See `popk.analysis.gathered_dosing`.
    power, calibration, influence
        Their JSON records.
    bootstrap
        The records of "case" and "parametric", those that were made.
    design
        Its tables by file name.
    figures
        Static figures as SVG text, by file name without its folder and suffix.
    """

    name: str
    synthetic: bool
    maximum_likelihood: bool
    converged: bool
    folder: str
    place: str
    model: ModelSpec
    settings: FitSpec
    data: Overview
    amount_unit: str
    time_unit: str
    concentration_unit: str
    provenance: Provenance
    gate: tuple[Check, ...]
    objective: Mapping[str, float]
    paper: PaperLine | None
    stale: tuple[str, ...]
    parameters: pd.DataFrame
    individuals: pd.DataFrame
    individual_units: Mapping[str, str]
    doses: pd.DataFrame
    eta_names: tuple[str, ...]
    covariate_units: Mapping[str, str]
    verdicts: pd.DataFrame | None
    observations: pd.DataFrame | None
    profiles: pd.DataFrame | None
    vpc: pd.DataFrame | None
    pcvpc: pd.DataFrame | None
    vpc_points: pd.DataFrame | None
    pcvpc_points: pd.DataFrame | None
    limits: pd.DataFrame | None
    npde_bins: pd.DataFrame | None
    etas: pd.DataFrame | None
    eta_tests: pd.DataFrame | None
    outlying_subjects: pd.DataFrame | None
    outlying_points: pd.DataFrame | None
    variability: pd.DataFrame | None
    prior_sensitivity: pd.DataFrame | None
    sampling_times: pd.DataFrame | None
    sample_figures: pd.DataFrame | None
    sample_replicates: pd.DataFrame | None
    covariates: pd.DataFrame | None
    covariate_rule: str
    covariate_notes: tuple[str, ...]
    no_effect: tuple[float, float]
    bayes_factors: pd.DataFrame | None
    search_steps: pd.DataFrame | None
    search_effects: pd.DataFrame | None
    simulation: Regimens | None
    target: Target | None
    patients: tuple[Patient, ...]
    power: Mapping[str, Any] | None
    calibration: Mapping[str, Any] | None
    design: Mapping[str, pd.DataFrame]
    bootstrap: Mapping[str, Mapping[str, Any]]
    influence: Mapping[str, Any] | None
    figures: Mapping[str, str]

    @property
    def checked(self) -> bool:
        """Whether all checks were made."""
        return self.verdicts is not None


def gathered(study: Study, result: Fit | MaximumFit) -> Gathered:
    """Read back what results/ holds of a fit.

    Parameters
    ----------
    study
        From `popk.study.folder.open_study`.
    result
        What was fitted there.

    Raises
    ------
    popk.PopkError
        If a table is there but cannot be read.
    """
    place, spec, data = study.folder / "results", result.model.spec, result.data
    tables = _checks(place / "checks", f"popk diagnose {study.folder}")
    again = f"popk fit {study.folder}"
    parameters = required(place / "parameters.csv", index="parameter", need=("unit",), again=again)
    individuals = required(place / "individuals.csv", index="ID", again=again)
    tests = reread(
        place / "covariates.csv", index="candidate", need=("ratio", "q5", "q95", "verdict"),
        again=f"popk covariates {study.folder}",
    )  # fmt: skip
    notes = () if tests is None else tests.comments
    concentration = spec.units.concentration.replace("ug", "µg")
    return Gathered(
        name=result.name,
        synthetic=result.synthetic,
        maximum_likelihood=isinstance(result, MaximumFit),
        converged=result.converged,
        folder=str(study.folder),
        place=str(place),
        model=spec,
        settings=study.spec,
        data=overview(data),
        amount_unit=(data.units.amount or spec.units.amount).replace("ug", "µg"),
        time_unit=data.units.time or spec.units.time,
        concentration_unit=concentration,
        provenance=result.provenance,
        gate=result.checks,
        objective=objective(result),
        paper=paper_line(result),
        stale=tuple(stale(study, result)),
        parameters=parameters.table,
        individuals=individuals.table,
        individual_units=individual_draws(result)[1],
        doses=_doses(result),
        eta_names=tuple(varied(result.model)),
        covariate_units={name: data.covariate_units.get(name) or "" for name in data.covariates},
        **tables,
        covariates=None if tests is None else tests.table,
        covariate_rule=next((c for c in notes if c.startswith('"')), ""),
        covariate_notes=tuple(c[6:] for c in notes if c.startswith("note: ")),
        no_effect=study.spec.no_effect,
        bayes_factors=_plain(
            reread(place / "bayes_factors.csv", need=("candidate", "prior_sd", "BF01"), again=again)
        ),
        search_steps=_plain(reread(place / "search.csv", again=f"popk search {study.folder}")),
        search_effects=_plain(
            reread(
                place / "search_effects.csv",
                index="candidate",
                again=f"popk search {study.folder}",
            )
        ),
        simulation=regimens(place / "simulation", f"popk simulate {study.folder}"),
        target=target(place / "target", f"popk target {study.folder}"),
        patients=patients(place / "dose", f"popk dose {study.folder}"),
        power=_record(place / "power" / "power.json"),
        calibration=_record(place / "calibration" / "calibration.json"),
        design=_all(place / "design"),
        bootstrap=_bootstraps(place / "bootstrap"),
        influence=_record(place / "influence" / "influence.json"),
        figures=_figures(place),
    )


def _checks(place: Path, again: str) -> dict[str, pd.DataFrame | None]:
    return {
        name: _plain(reread(place / f"{name}.csv", index=index, need=need, again=again))
        for name, (index, need) in CHECKS.items()
    }


def _plain(found: Reread | None) -> pd.DataFrame | None:
    return None if found is None else found.table


def _all(place: Path) -> dict[str, pd.DataFrame]:
    found = {p.stem: reread(p, again=f"popk {place.name} {place.parent.parent}")
             for p in sorted(place.glob("*.csv"))}  # fmt: skip
    return {name: own.table for name, own in found.items() if own is not None}


def _record(path: Path) -> dict[str, Any] | None:
    """A JSON record; None where it is not there or only half written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _bootstraps(place: Path) -> dict[str, dict[str, Any]]:
    found = {kind: _record(place / f"{kind}.json") for kind in ("case", "parametric")}
    return {kind: record for kind, record in found.items() if record is not None}


def _doses(result: Fit | MaximumFit) -> pd.DataFrame:
    data = result.data
    dose = data.mask & is_dose(data.evid)
    subject, _ = np.nonzero(dose)
    amount, rate = data.amount[dose], data.rate[dose]
    with np.errstate(divide="ignore", invalid="ignore"):
        duration = np.where(rate > 0, amount / rate, 0.0)
    constant = (rate > 0) & (amount == 0)
    return pd.DataFrame(
        {
            "ID": [data.ids[i] for i in subject],
            "TIME": data.time[dose],
            "AMT": amount,
            "RATE": rate,
            "duration": np.where(constant, np.inf, duration),
            "ADDL": data.addl[dose],
            "II": data.interval[dose],
            "SS": data.ss[dose],
        }
    )


def _figures(place: Path) -> dict[str, str]:
    folders: Iterable[Path] = (
        place / "checks", place, place / "simulation", place / "target", place / "power",
        place / "design", place / "calibration", place / "bootstrap", place / "influence",
    )  # fmt: skip
    found = {
        (path.stem if folder.name in ("checks", place.name) else f"{folder.name}/{path.stem}"): path
        for folder in folders
        for path in sorted(folder.glob("*.svg"))
    }
    found |= {f"dose/{p.parent.name}": p for p in sorted((place / "dose").glob("*/dose.svg"))}
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}
