"""Concentrations by SciPy's ODE solvers, subject by subject: ``python -m benchmarks.peers.ode``.

The plain documented way: a right-hand side in Python, integrated from one change of rate to the
next, so that no step of the solver jumps over one. Tolerances: 1e-8 of the concentration, and
1e-8 pg/mL.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.integrate import odeint, solve_ivp

from benchmarks.peers.courses import REGIMENS, TIMES, infants, scaled, stretches

TOLERANCE = 1e-8
Solver = Callable[[float, float, float, np.ndarray], np.ndarray]
"""From the rate per volume, k, the concentration and the times to concentrations at these."""


def by_solve_ivp(rate: float, k: float, start: float, times: np.ndarray) -> np.ndarray:
    """LSODA of `solve_ivp`."""
    found = solve_ivp(
        lambda t, c: rate - k * c,
        (times[0], times[-1]),
        [start],
        method="LSODA",
        t_eval=times,
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )
    return found.y[0]


def by_odeint(rate: float, k: float, start: float, times: np.ndarray) -> np.ndarray:
    """LSODA of `odeint`, which calls the compiled loop once for all times."""
    found = odeint(lambda c, t: rate - k * c, start, times, rtol=TOLERANCE, atol=TOLERANCE)
    return found[:, 0]


SOLVERS: dict[str, Solver] = {"solve_ivp": by_solve_ivp, "odeint": by_odeint}


def course(solve: Solver, k: float, rates: list[tuple[float, float, float]]) -> np.ndarray:
    """[time] of one subject; `rates` has start, end and rate per volume of each stretch."""
    found, reached = np.zeros(len(TIMES)), 0.0
    for start, end, rate in rates:
        inside = (start <= TIMES) & (end >= TIMES)  # both ends are among the times
        found[inside] = solve(rate, k, reached, TIMES[inside])
        reached = found[inside][-1]
    return found


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("solver", choices=SOLVERS)
    parser.add_argument("infants", type=Path, help="npz with CL, V, BSA")
    parser.add_argument("regimen", choices=REGIMENS)
    parser.add_argument("subjects", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="npy of all concentrations")
    options = parser.parse_args()
    own = infants(options.infants, options.subjects)
    whole = stretches(options.regimen)
    seconds, found = [], np.zeros(0)
    for _ in range(options.repeats):
        begun = time.perf_counter()
        found = np.array(
            [
                course(
                    SOLVERS[options.solver],
                    float(cl / v),
                    [(start, end, float(scaled(dose, bsa)) / v) for start, end, dose in whole],
                )
                for cl, v, bsa in zip(*own, strict=True)
            ]
        )
        seconds.append(time.perf_counter() - begun)
    if options.keep:
        np.save(options.keep, found)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
