"""Make the SYNTHETIC cohort of this folder: 26 virtual infants under a blinatumomab infusion.

No individual data of the study are public. What is published, and reproduced here to its printed
digits: 26 infants, 15 µg/m²/day for 28 days, Css 706 ± 194 pg/mL (mean ± SD), CL median 0.89 L/h/m²
(range 0.57-2.66), no effect of age on CL, one infusion interrupted and restarted at 5 µg/m²/day.

How the clearances are made. 26 values are drawn from Student's t with 4 degrees of freedom. The
lowest is set to log 0.57, the highest to log 2.66. The 24 between go through one smooth rising
function of the drawn t, log CL = a + b sinh(asinh(t) + e) (Jones and Pewsey, Biometrika 2009;
96:761-80), with a, b and e solved so that mean and SD of Css = 625 / CL and median CL over all 26
are the published ones. The clearances are shuffled over the infants until CL and age are
unrelated. Nothing else is adjusted, but SEED is chosen: the first of 1, 2, 3, ... where the
figures hold, |e| < 0.1 (the drawn shape is kept), lengths and weights lie within 3 z-scores and
at least 5 values lie beyond each limit of the assay.

Sources: Martins et al., J Clin Oncol 2026, doi 10.1200/JCO-25-01806; van der Sluis et al., N Engl
J Med 2023;388:1572-81.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from popk.data.body_size import body_surface_area
from popk.data.growth import draw_body_size

Array = NDArray[np.float64]
Infusion = tuple[int, int, float]  # start (h), duration (h), rate (µg/h)

SEED = 41
DATA_COLUMNS = "ID,TIME,EVID,MDV,AMT,RATE,DV,CENS,AGE,WT,HT,SEX"
TRUTH_COLUMNS = "ID,CL_per_m2,CL,V_per_m2,V,BSA"
STREAMS = ("age", "sex", "size", "clearance", "order", "volume", "sampling", "residual", "who")
INFANTS = 26
FIGURES = np.array([706.0, 194.0, 0.89])  # mean and SD of Css (pg/mL), median CL (L/h/m²)
MIN_CL, MAX_CL = 0.57, 2.66  # L/h/m²
DEGREES_OF_FREEDOM = 4
TVV, OMEGA_V = 3.2, 0.2  # L/m², SD of log V
SIGMA = 0.15  # SD of the log residual
LLOQ, ULOQ = 50.0, 1000.0  # pg/mL

DAYS_PER_MONTH = 365.25 / 12
DOSE, LOW_DOSE = 15.0 / 24, 5.0 / 24  # µg/h/m²
END = 672  # h, 28 days
STOP, RESTART, RESUME = 240, 288, 336  # h, of the interrupted infant
PG_PER_ML = 1000.0  # pg/mL in 1 µg/L

SAMPLING = np.array([34.0, 178.0, 346.0, 514.0, 658.0])  # h: hour 10 of days 2, 8, 15, 22 and 28
AFTER_END = END + np.array([2.0, 6.0])  # h
INTERRUPTION_SAMPLES = np.array([243.0, 264.0, 312.0])  # h: 3 and 24 h into the stop, 24 h at 5

NOTE = f"""\
# SYNTHETIC DATA. No row describes a real child. Written by make_data.py, seed {SEED}.
# Published, and reproduced to the printed digits: 26 infants; 15 ug/m2/day for 28 days; one infant
#   stopped for 2 days, 2 days at 5 ug/m2/day, then 15 ug/m2/day to the end; true Css at
#   15 ug/m2/day 706 +/- 194 pg/mL (mean +/- SD); CL median 0.89, range 0.57-2.66 L/h/m2;
#   no effect of age on CL.
# Made up: every individual value; ages (13 below and 13 above 6 months); length and weight (WHO
#   Child Growth Standards 2006); V; residual error; the time of the interruption; the sampling
#   plan (hour 10 of days 2, 8, 15, 22 and 28, jitter up to 3 h; 2 h and 6 h after the end in 13
#   infants, jitter up to 0.25 h; 3 more samples around the interruption); the limits 50 and 1000
#   pg/mL, within the range the assay is described with.
# Sources: Martins et al., J Clin Oncol 2026, doi 10.1200/JCO-25-01806;
#   van der Sluis et al., N Engl J Med 2023;388:1572-81.
"""
DATA_UNITS = """\
# Units: TIME h since the start of infusion; AMT ug; RATE ug/h; DV pg/mL; AGE month (365.25/12 day)
#   at the start; WT kg; HT cm (length); SEX 0 male, 1 female.
# EVID 1 infusion (duration AMT/RATE), 0 observation. CENS 1: true value below DV (50, the lower
#   limit of quantification); -1: above DV (1000, the upper limit); 0: DV is the value.
"""
TRUTH_UNITS = """\
# Units: CL_per_m2 L/h/m2; CL L/h; V_per_m2 L/m2; V L; BSA m2 (Haycock).
# TVCL, omega_CL: exp(mean) and SD (n - 1) of log CL_per_m2 of the 26 infants: location and spread,
#   after adjustment, of the population, of which the 26 are the whole. Css = 625/CL_per_m2 pg/mL.
# CL_df, CL_location, CL_scale, CL_skewness: log CL = location + scale sinh(asinh(t) + skewness), t
#   from Student's t with CL_df degrees of freedom; the lowest and the highest CL were set.
# TVV, omega_V: median of V and SD of log V in the drawn population; V_sample, omega_V_sample:
#   the same of the 26 drawn. sigma: SD of the log residual.
"""


class Cohort(NamedTuple):
    """The 26 infants, each array of shape [infant]."""

    age_month: Array
    female: NDArray[np.int64]
    weight_kg: Array
    length_cm: Array
    bsa: Array  # m²
    cl_per_m2: Array  # L/h/m²
    v_per_m2: Array  # L/m²
    shape: Array  # location, scale and skewness of log CL


def clearances(rng: np.random.Generator) -> tuple[Array, Array]:
    """Rising CL (L/h/m²) of the cohort, and location, scale, skewness of the middle 24."""
    drawn = np.sort(stats.t.ppf(rng.random(INFANTS), DEGREES_OF_FREEDOM))

    def transformed(shape: Array) -> Array:
        location, scale, skewness = shape
        middle = location + scale * np.sinh(np.arcsinh(drawn[1:-1]) + skewness)
        return np.concatenate([[MIN_CL], np.exp(middle), [MAX_CL]])

    def misfit(shape: Array) -> Array:
        cl = transformed(shape)
        css = PG_PER_ML * DOSE / cl
        return np.array([css.mean(), css.std(ddof=1), np.median(cl)]) / FIGURES - 1.0

    solution = optimize.root(misfit, x0=np.array([-0.1, 0.2, 0.0]), tol=1e-12)
    if not solution.success:
        raise ValueError(f"no shape gives the published figures: {solution.message}")
    # rounding keeps the files the same on machines whose last bits differ
    return transformed(solution.x).round(5), solution.x


def draw_cohort(rng: dict[str, np.random.Generator]) -> Cohort:
    """Draw ages, body sizes, clearances and volumes."""
    half = INFANTS // 2
    strata = [rng["age"].uniform(2, 6, half), rng["age"].uniform(6, 12, half)]
    age = rng["age"].permutation(np.concatenate(strata)).round(2)
    female = rng["sex"].integers(0, 2, INFANTS)
    sizes = [
        draw_body_size(rng["size"], month * DAYS_PER_MONTH, "female" if girl else "male")
        for month, girl in zip(age, female, strict=True)
    ]
    length, weight = np.array(sizes).T
    length, weight = length.round(1), weight.round(2)
    cl, shape = clearances(rng["clearance"])
    orders = (rng["order"].permutation(cl) for _ in range(1000))
    cl = next(order for order in orders if related_little(age, order))
    v = np.exp(np.log(TVV) + OMEGA_V * rng["volume"].standard_normal(INFANTS)).round(5)
    bsa = np.asarray(body_surface_area(weight, length, "haycock"))
    return Cohort(age, female, weight, length, bsa, cl, v, shape)


def related_little(age_month: Array, cl: Array) -> bool:
    """Whether CL is as good as unrelated to age, by rank and by the medians around 6 months."""
    young = age_month < 6.0
    ratio = np.median(cl[young]) / np.median(cl[~young])
    rank = np.corrcoef(stats.rankdata(age_month), stats.rankdata(cl))[0, 1]
    return bool(abs(rank) < 0.1 and 0.95 < ratio < 1.05)


def infusions(bsa: float, interrupted: bool) -> list[Infusion]:
    """The course of one infant; rates in full µg/h to 6 decimals, so that AMT is exact."""
    full, low = round(DOSE * bsa, 6), round(LOW_DOSE * bsa, 6)
    if not interrupted:
        return [(0, END, full)]
    return [(0, STOP, full), (RESTART, RESUME - RESTART, low), (RESUME, END - RESUME, full)]


def concentration(time: Array, course: list[Infusion], cl: float, v: float) -> Array:
    """Concentration (pg/mL) at times (h): one compartment, CL (L/h), V (L), infusions added up."""
    total = np.zeros_like(time)
    for start, duration, rate in course:
        since_start = np.maximum(time - start, 0.0)
        since_end = np.maximum(time - start - duration, 0.0)
        rise = np.exp(-cl / v * since_end) - np.exp(-cl / v * since_start)
        total += PG_PER_ML * rate / cl * rise
    return total


def sampling_times(rng: np.random.Generator, after_end: bool, interrupted: bool) -> Array:
    """Sampling times (h, 2 decimals) of one infant."""
    times = [SAMPLING + rng.uniform(-3, 3, SAMPLING.size)]
    if after_end:
        times.append(AFTER_END + rng.uniform(-0.25, 0.25, AFTER_END.size))
    if interrupted:
        times.append(INTERRUPTION_SAMPLES + rng.uniform(-0.25, 0.25, INTERRUPTION_SAMPLES.size))
    return np.sort(np.concatenate(times)).round(2)


def data_rows(cohort: Cohort, rng: dict[str, np.random.Generator], interrupted: int) -> list[str]:
    """Rows of the data file, infant by infant, in order of time."""
    after_end = rng["sampling"].permutation(np.arange(INFANTS) % 2 == 0)
    rows = []
    for i in range(INFANTS):
        bsa = cohort.bsa[i]
        course = infusions(bsa, i == interrupted)
        times = sampling_times(rng["sampling"], bool(after_end[i]), i == interrupted)
        true = concentration(times, course, cohort.cl_per_m2[i] * bsa, cohort.v_per_m2[i] * bsa)
        measured = true * np.exp(SIGMA * rng["residual"].standard_normal(times.size))
        age, weight, length = cohort.age_month[i], cohort.weight_kg[i], cohort.length_cm[i]
        who = f"{age:.2f},{weight:.2f},{length:.1f},{cohort.female[i]}"
        events = [
            (float(start), f"{start},1,1,{rate * duration:.6f},{rate:.6f},.,0")
            for start, duration, rate in course
        ]
        values = np.clip(measured, LLOQ, ULOQ)
        limits = (measured < LLOQ).astype(int) - (measured > ULOQ)
        for time, dv, cens in zip(times, values, limits, strict=True):
            events.append((float(time), f"{time:.2f},0,0,0,0,{dv:.1f},{cens}"))
        rows += [f"{i + 1},{event},{who}" for _, event in sorted(events)]
    return rows


def make(seed: int = SEED) -> tuple[str, str]:
    """Text of the data file and of the truth file."""
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    rng = {name: np.random.default_rng(key) for name, key in zip(STREAMS, children, strict=True)}
    cohort = draw_cohort(rng)
    interrupted = int(rng["who"].integers(INFANTS))
    log_cl, log_v = np.log(cohort.cl_per_m2), np.log(cohort.v_per_m2)
    truth = {
        "TVCL": np.exp(log_cl.mean()),
        "omega_CL": log_cl.std(ddof=1),
        "CL_df": DEGREES_OF_FREEDOM,
        **dict(zip(("CL_location", "CL_scale", "CL_skewness"), cohort.shape, strict=True)),
        "TVV": TVV,
        "omega_V": OMEGA_V,
        "V_sample": np.exp(log_v.mean()),
        "omega_V_sample": log_v.std(ddof=1),
        "sigma": SIGMA,
        "interrupted_ID": interrupted + 1,
    }
    each = zip(cohort.cl_per_m2, cohort.v_per_m2, cohort.bsa, strict=True)
    people = [
        f"{infant},{cl:.5f},{cl * bsa:.6f},{v:.5f},{v * bsa:.6f},{bsa:.6f}"
        for infant, (cl, v, bsa) in enumerate(each, start=1)
    ]
    values = [f"# truth: {name} = {value:.6g}" for name, value in truth.items()]
    data_text = "\n".join([DATA_COLUMNS, *data_rows(cohort, rng, interrupted), ""])
    truth_text = "\n".join([*values, TRUTH_COLUMNS, *people, ""])
    return NOTE + DATA_UNITS + data_text, NOTE + TRUTH_UNITS + truth_text


def main() -> int:
    """Write both files, or with --check compare them with the committed ones."""
    parser = argparse.ArgumentParser(description="Make the synthetic infants.")
    parser.add_argument("--check", action="store_true", help="exit 1 if the files differ")
    only_check, failed = parser.parse_args().check, False
    for name, text in zip(("synthetic_infants.csv", "synthetic_truth.csv"), make(), strict=True):
        path = Path(__file__).parent / name
        if not only_check:
            path.write_bytes(text.encode("utf-8"))
        elif not path.exists() or path.read_bytes() != text.encode("utf-8"):
            failed = True
            print(f"{name} differs from what make_data.py writes", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
