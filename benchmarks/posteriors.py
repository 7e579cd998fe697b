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
from typing import Any, NamedTuple

import numpy as np

from popk.data.body_size import body_surface_area
from popk.data.dataset import Dataset
from popk.data.growth import draw_body_size
from popk.population.events import arrange
from popk.spec.model import ModelSpec
from popk.spec.priors import HalfNormal, LogNormal, Normal
from popk.spec.residual import SimpleResidual
from popk.spec.units import conversion_factor
from popk.study.folder import Study, open_study

ROOT = Path(__file__).parents[1]
SIMULATED = "synthetic-sparse"
POSTERIORS = {
    "blinatumomab-infants": "26 synthetic infants, log-normal error, censored rows",
    SIMULATED: "26 simulated infants with two steady-state samples each",
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
    if name == SIMULATED:
        (folder / "data.csv").write_text(simulate(SEED), encoding="utf-8")
        settings = (ROOT / "fits" / "blinatumomab-infants" / "fit.toml").read_text(encoding="utf-8")
        settings = settings.replace("synthetic_infants.csv", "data.csv")
        settings = settings.replace("blinatumomab in infants", "simulated infants, sparse")
        lines = (x for x in settings.splitlines() if not x.startswith("description"))
        (folder / "fit.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
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


class Row(NamedTuple):
    """An observed record: when, what was measured, and the doses of its subject until then.

    Attributes
    ----------
    sign, bound
        0 for a measured value, 1 where the true one lies below the bound, -1 where above.
    infusions
        Start, end (the row's time while it runs) and rate of each.
    boluses
        Time and amount of each.
    """

    subject: int
    time: float
    dv: float
    sign: int
    bound: float
    infusions: list[tuple[float, float, float]]
    boluses: list[tuple[float, float]]

    @property
    def last(self) -> float:
        """When drug last came in."""
        return max([end for _, end, _ in self.infusions] + [time for time, _ in self.boluses])


def neutral(study: Study) -> dict[str, Any]:
    """Priors, subjects and observed rows of a study as plain numbers and lists.

    Returns
    -------
    dict
        ``error``, ``effect_on`` ("CL" or "V"), ``per_liter``, ``priors`` (of TVCL and TVV median
        and sigma of a log-normal, of the effect the SD of a normal at 0, of the others the scale
        of a half-normal); [subject] ``log_size_CL``, ``log_size_V``, ``indicator``; [row]
        ``subject``, ``dv``, ``sign``, ``bound`` and ``since``; [dose, row] ``rate``, ``ran``,
        ``ended``, ``bolus``, ``bolus_ended``. Rows with many doses come first, and a row's newest
        dose; where a row has fewer, rate or bolus is 0.
    """
    spec, data = study.model.spec, study.data
    for item in ("time", "amount", "concentration"):
        assert getattr(data.units, item) in (None, getattr(spec.units, item))
    events, _ = arrange(spec, data)
    (effect,) = spec.covariates
    found = [row for subject in range(data.subjects) for row in rows(data, subject)]
    found.sort(key=lambda row: -len(row.infusions) - len(row.boluses))
    infusions = max(len(row.infusions) for row in found)
    boluses = max(len(row.boluses) for row in found)
    rate, ran, ended = np.zeros((3, infusions, len(found)))
    bolus, bolus_ended = np.zeros((2, boluses, len(found)))
    for i, row in enumerate(found):
        for place, (start, end, speed) in enumerate(reversed(row.infusions)):
            rate[place, i], ran[place, i] = speed, end - start
            ended[place, i] = row.last - end
        for place, (time, amount) in enumerate(reversed(row.boluses)):
            bolus[place, i], bolus_ended[place, i] = amount, row.last - time
    arrays = {
        **{name: [getattr(row, name) for row in found] for name in ROW},
        "since": [row.time - row.last for row in found],
        "rate": rate,
        "ran": ran,
        "ended": ended,
        "bolus": bolus,
        "bolus_ended": bolus_ended,
        **{f"log_size_{name}": events.log_scale[name][:, 0] for name in ("CL", "V")},
        "indicator": events.terms[effect.name][:, 0],
    }
    return {
        "effect_name": effect.name,
        "effect_on": effect.parameter,
        "error": spec.residual.error,
        "per_liter": conversion_factor(f"({spec.units.amount})/L", spec.units.concentration),
        "priors": _priors(spec),
        **{name: np.asarray(array).tolist() for name, array in arrays.items()},
    }


ROW = ("subject", "dv", "sign", "bound")


def rows(data: Dataset, subject: int) -> list[Row]:
    """The observed records of one subject; doses are infusions and boluses, without more."""
    assert not data.ss[subject].any()
    assert not data.addl[subject].any()
    assert np.isin(data.evid[subject], (0, 1)).all()
    found: list[Row] = []
    doses: list[tuple[float, float, float]] = []  # start, duration, rate or amount
    for record in np.flatnonzero(data.mask[subject]):
        at = (subject, record)
        now, amount, rate = float(data.time[at]), float(data.amount[at]), float(data.rate[at])
        if data.evid[at] == 1:
            doses.append((now, amount / rate, rate) if rate > 0 else (now, 0.0, amount))
        if not data.observed[at]:
            continue
        running = [
            (start, min(start + d, now), r) for start, d, r in doses if d > 0 and start < now
        ]
        sign, bound = 0, 1.0
        if data.censoring[at] == 1:
            assert np.isneginf(data.lower[at]) ^ np.isposinf(data.upper[at]), "two sides"
            sign = 1 if np.isneginf(data.lower[at]) else -1
            bound = float(data.upper[at] if sign == 1 else data.lower[at])
        given = [(start, amount) for start, d, amount in doses if d == 0]
        dv = 1.0 if sign else float(data.dv[at])
        found.append(Row(subject, now, dv, sign, bound, running, given))
    return found


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
    assert isinstance(spec.residual, SimpleResidual)
    assert spec.residual.error in ("lognormal", "proportional")
    assert isinstance(spec.residual.sd, HalfNormal)
    priors["sigma"] = spec.residual.sd.scale
    return priors
