"""Concentrations in plain NumPy, vectorised over subjects.

``python -m benchmarks.peers.closed_form FORM``: what a user would write. "superposition" adds up,
for each infusion,

    C(t) = R/CL (1 - exp(-k ran)) exp(-k after)

with the time that it ran and the time since its end: any times, any overlap. "stepwise" goes from
one time to the next, C + (R/CL - C)(1 - exp(-k d)): fewer exponentials, but rates may change only
at the times. "measured" is superposition with residual error, and the AUC from what was given and
what is left. All in chunks of subjects and in one thread; each chunk is thrown away. CL, V and BSA
are given: drawing infants, population values and etas is left out, and so are Css, t90,
quantiles, age groups, tables, and (but for "measured") residual error and AUC.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers.courses import REGIMENS, TIMES, Infants, infants, scaled, stretches

CHUNK = {"superposition": 128, "stepwise": 4096, "measured": 128}
"""Subjects at once: the fastest or near it, of 16 to 8192."""
SIGMA = 0.15
"""SD of residual error on the log scale."""
Form = Callable[[Infants, str], np.ndarray]


def superposition(own: Infants, regimen: str) -> np.ndarray:
    """[subject, time]."""
    k = (own.CL / own.V)[:, None]
    found = np.zeros((len(own.CL), len(TIMES)))
    for start, end, dose in REGIMENS[regimen]:
        plateau = (scaled(dose, own.BSA) / own.CL)[:, None]
        ran, after = np.clip(TIMES - start, 0.0, end - start), np.maximum(TIMES - end, 0.0)
        found -= plateau * np.expm1(-k * ran) * np.exp(-k * after)
    return found


def stepwise(own: Infants, regimen: str) -> np.ndarray:
    """[subject, time]; all changes of rate are at times that are asked for."""
    k = own.CL / own.V
    begun = np.array([start for start, _, _ in stretches(regimen)])
    plateaus = [scaled(dose, own.BSA) / own.CL for _, _, dose in stretches(regimen)]
    at = np.searchsorted(begun, TIMES[:-1], side="right") - 1
    found = np.zeros((len(TIMES), len(k)))
    for i, duration in enumerate(np.diff(TIMES)):
        found[i + 1] = found[i] + (found[i] - plateaus[at[i]]) * np.expm1(-k * duration)
    return found.T


def measured(own: Infants, regimen: str) -> np.ndarray:
    """[subject, time] with residual error; the AUC is computed too."""
    true = superposition(own, regimen)
    given = sum(scaled(dose, own.BSA) * (end - start) for start, end, dose in REGIMENS[regimen])
    _ = (given - own.V * true[:, -1]) / own.CL
    return true * np.exp(SIGMA * np.random.default_rng().standard_normal(true.shape))


FORMS: dict[str, Form] = {
    "superposition": superposition,
    "stepwise": stepwise,
    "measured": measured,
}


def seconds(name: str, own: Infants, regimen: str) -> float:
    """Seconds of all infants, chunk after chunk."""
    begun, chunk = time.perf_counter(), CHUNK[name]
    for low in range(0, len(own.CL), chunk):
        FORMS[name](Infants(*(values[low : low + chunk] for values in own)), regimen)
    return time.perf_counter() - begun


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("form", choices=FORMS)
    parser.add_argument("infants", type=Path, help="npz with CL, V, BSA")
    parser.add_argument("regimen", choices=REGIMENS)
    parser.add_argument("subjects", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="npy of concentrations of infants 1 to --kept")
    parser.add_argument("--kept", type=int, default=0)
    options = parser.parse_args()
    own = infants(options.infants, options.subjects)
    seconds(
        options.form, Infants(*(values[: CHUNK[options.form]] for values in own)), options.regimen
    )
    found = [seconds(options.form, own, options.regimen) for _ in range(options.repeats)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.keep:
        first = Infants(*(values[: options.kept] for values in own))
        np.save(options.keep, FORMS[options.form](first, options.regimen))
    print(json.dumps({"seconds": found, "peak_MB": round(peak)}))


if __name__ == "__main__":
    main()
