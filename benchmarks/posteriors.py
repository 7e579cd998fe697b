"""Three posteriors as plain numbers, for samplers that know nothing of popk.

`write` lays out a fit folder for popk and one JSON file for everybody else: priors, subjects, and
observed rows with the doses behind them. A row's amount is

    exp(-k since) [sum rate/k (1 - exp(-k ran)) exp(-k ended) + sum bolus exp(-k bolus_ended)]

with k = CL/V, its concentration amount/V times `per_liter`.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from popk.data.body_size import body_surface_area
from popk.data.growth import draw_body_size
from popk.pk.past import Past
from popk.population.condensed import Rows, condense
from popk.population.events import Events, arrange
from popk.population.gathering import Places
from popk.spec.model import ModelSpec
from popk.spec.priors import HalfNormal, LogNormal, Normal
from popk.spec.units import conversion_factor
from popk.study.folder import Study, open_study

ROOT = Path(__file__).parents[1]
POSTERIORS = {
    "blinatumomab-infants": "26 synthetic infants, log-normal error, censored rows",
    "synthetic-sparse": "26 simulated infants with two steady-state samples each",
    "phenobarb-neonates": "59 neonates, boluses, proportional error",
}

INFANTS, SEED = 26, 20260101
TRUTH = {"TVCL": 0.92, "TVV": 3.3, "effect": -0.1, "omega_CL": 0.35, "omega_V": 0.2, "sigma": 0.2}
"""Of the simulated infants: CL (L/h/m²), V (L/m²), effect of age below 6 months on log CL."""
DOSE, END = 15.0 / 24, 672  # µg/h/m², h
SAMPLES = np.array([178.0, 346.0])  # h: hour 10 of days 8 and 15
DAYS_PER_MONTH = 365.25 / 12
PG_PER_ML = 1000.0  # pg/mL in 1 µg/L


def write(name: str, work: Path) -> Study:
    """Lay out a posterior as work/fits/NAME and work/NAME.json."""
    shutil.copytree(ROOT / "models", work / "models", dirs_exist_ok=True)
    folder = work / "fits" / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "synthetic-sparse":
        (folder / "data.csv").write_text(simulate(SEED), encoding="utf-8")
        settings = (ROOT / "fits" / "blinatumomab-infants" / "fit.toml").read_text(encoding="utf-8")
        settings = settings.replace("synthetic_infants.csv", "data.csv")
        settings = settings.replace("blinatumomab in infants", "simulated infants, sparse")
        (folder / "fit.toml").write_text(settings, encoding="utf-8")
    else:
        for file in (ROOT / "fits" / name).iterdir():
            if file.suffix in (".toml", ".csv"):
                shutil.copy(file, folder)
    study = open_study(folder)
    (work / f"{name}.json").write_text(json.dumps(neutral(study)), encoding="utf-8")
    return study


def simulate(seed: int) -> str:
    """A NONMEM-style file of infants with two samples each during a 28-day infusion."""
    rng = np.random.default_rng(seed)
    age = np.concatenate([rng.uniform(2, 6, INFANTS // 2), rng.uniform(6, 12, INFANTS // 2)])
    female = rng.integers(0, 2, INFANTS)
    length, weight = np.array(
        [
            draw_body_size(rng, month * DAYS_PER_MONTH, "female" if girl else "male")
            for month, girl in zip(age, female, strict=True)
        ]
    ).T.round(2)
    bsa = np.asarray(body_surface_area(weight, length, "haycock"))
    eta_cl, eta_v = rng.standard_normal((2, INFANTS))
    log_cl = math.log(TRUTH["TVCL"]) + TRUTH["effect"] * (age < 6) + TRUTH["omega_CL"] * eta_cl
    cl, v = np.exp(log_cl) * bsa, TRUTH["TVV"] * np.exp(TRUTH["omega_V"] * eta_v) * bsa
    rows = [
        f"# SIMULATED DATA (benchmarks/posteriors.py, seed {seed}).",
        "ID,TIME,EVID,MDV,AMT,RATE,DV,CENS,AGE,WT,HT,SEX",
    ]
    for i in range(INFANTS):
        who = f"{age[i]:.2f},{weight[i]:.2f},{length[i]:.2f},{female[i]}"
        rate = round(DOSE * bsa[i], 6)
        time = (SAMPLES + rng.uniform(-3, 3, SAMPLES.size)).round(2)
        true = PG_PER_ML * rate / cl[i] * -np.expm1(-cl[i] / v[i] * time)
        dv = true * np.exp(TRUTH["sigma"] * rng.standard_normal(time.size))
        rows.append(f"{i + 1},0,1,1,{rate * END:.6f},{rate:.6f},.,0,{who}")
        rows += [f"{i + 1},{t:.2f},0,0,0,0,{c:.1f},0,{who}" for t, c in zip(time, dv, strict=True)]
    return "\n".join(rows) + "\n"


def neutral(study: Study) -> dict[str, Any]:
    """Priors, subjects and observed rows of a study as plain numbers and lists.

    Returns
    -------
    dict
        ``error``, ``effect_on`` ("CL" or "V"), ``per_liter``, ``priors`` (of TVCL and TVV median
        and sigma of a log-normal, of the effect the SD of a normal at 0, of the others the scale
        of a half-normal); [subject] ``log_size_CL``, ``log_size_V``, ``indicator``; [row]
        ``subject``, ``dv``, ``sign`` (0 measured, 1 the true value lies below ``bound``, -1 above)
        and ``since``; [dose, row] ``rate``, ``ran``, ``ended``, ``bolus``, ``bolus_ended``. Rows
        with many doses come first, and a row's newest dose; where a row has fewer, rate or bolus
        is 0.
    """
    spec = study.model.spec
    events = condense(arrange(spec, study.data)[0]).events
    assert isinstance(events.steps, Rows)
    (effect,) = spec.covariates
    known = np.flatnonzero(events.observed)
    tables = [_table(events.steps.blocks, name)[:, known] for name in ("rate", "bolus")]
    order = known[np.argsort(-sum((t > 0).sum(axis=0) for t in tables), kind="stable")]
    subject = np.concatenate([_subjects(places) for places in events.steps.subject])
    rows = {
        "subject": subject[order],
        "dv": events.dv[order],
        "since": np.concatenate([block.since for block in events.steps.blocks])[order],
        **_limits(events, order),
    }
    doses = {
        name: _newest_first(table, _table(events.steps.blocks, given)[:, order] > 0)
        for given, names in (
            ("rate", ("rate", "ran", "ended")),
            ("bolus", ("bolus", "bolus_ended")),
        )
        for name in names
        for table in [_table(events.steps.blocks, name)[:, order]]
    }
    subjects = {f"log_size_{name}": events.log_scale[name][:, 0] for name in ("CL", "V")}
    subjects["indicator"] = events.terms[effect.name][:, 0]
    arrays = {**rows, **doses, **subjects}
    return {
        "effect_name": effect.name,
        "effect_on": effect.parameter,
        "error": spec.residual.error,
        "per_liter": conversion_factor(f"({spec.units.amount})/L", spec.units.concentration),
        "priors": _priors(spec),
        **{name: np.asarray(array).tolist() for name, array in arrays.items()},
    }


def _table(blocks: tuple[Past, ...], name: str) -> np.ndarray:
    """[dose, row] over all blocks, a block with fewer doses filled up with zeros."""
    parts = [np.asarray(getattr(block, name)) for block in blocks]
    most = max(part.shape[0] for part in parts)
    return np.concatenate(
        [np.pad(part, ((0, most - part.shape[0]), (0, 0))) for part in parts], axis=1
    )


def _newest_first(table: np.ndarray, given: np.ndarray) -> np.ndarray:
    """[dose, row] with the newest dose of each row first and its empty places last."""
    place = np.arange(len(given))[:, None]
    order = np.argsort(np.where(given, -place, len(given)), axis=0, kind="stable")
    return np.take_along_axis(table, order, axis=0)


def _subjects(places: Places) -> np.ndarray:
    """The subject of each row."""
    if places.index is not None:
        return np.asarray(places.index)
    assert places.matrix is not None
    return np.asarray(places.matrix).argmax(axis=1)


def _limits(events: Events, order: np.ndarray) -> dict[str, np.ndarray]:
    """One-sided limits of the censored rows."""
    censored, lower, upper = (
        np.asarray(a)[order] for a in (events.censored, events.lower, events.upper)
    )
    below = censored & np.isneginf(lower)
    above = censored & np.isposinf(upper)
    assert (censored == below ^ above).all(), "an interval has two sides"
    return {
        "sign": below.astype(int) - above.astype(int),
        "bound": np.where(below, upper, np.where(above, lower, 1.0)),
    }


def _priors(spec: ModelSpec) -> dict[str, Any]:
    priors: dict[str, Any] = {}
    for name, unit in (("CL", f"L/{spec.units.time}"), ("V", "L")):
        parameter = spec.parameters[name]
        typical, variability = parameter.typical, parameter.variability
        assert parameter.unit == unit
        assert isinstance(typical, LogNormal)
        assert variability is not None
        assert variability.distribution == "lognormal"
        assert isinstance(variability.sd, HalfNormal)
        priors[f"TV{name}"] = [typical.median, typical.sigma]
        priors[f"omega_{name}"] = variability.sd.scale
    (effect,) = spec.covariates
    assert effect.relation == "below"
    assert isinstance(effect.effect, Normal)
    assert effect.effect.loc == 0
    priors["effect"] = effect.effect.scale
    assert spec.residual.error in ("lognormal", "proportional")
    assert isinstance(spec.residual.sd, HalfNormal)
    priors["sigma"] = spec.residual.sd.scale
    return priors
