"""What a check says: passed, look here, or failed; with its threshold and where that comes from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Outcome = Literal["passed", "look here", "failed", "not possible"]
PASSED, LOOK, FAILED, IMPOSSIBLE = "passed", "look here", "failed", "not possible"

SUSPECT, REFUTED = 0.05, 0.001
"""p below which a check says "look here", and below which it says "failed". The first is custom;
the second leaves, with some ten checks of a sound model, one false "failed" in a hundred fits."""


@dataclass(frozen=True)
class Verdict:
    """What one check of a model found.

    Attributes
    ----------
    check
        What was checked.
    outcome
        "passed"; "look here"; "failed"; "not possible" where the data do not allow the check.
    value
        The figure that decides; NaN where there is none.
    threshold
        The bounds of "passed" and, where the check can fail, of "failed".
    meaning
        What was found, and what to do about it, in a sentence.
    figure
        Name of the figure or table that shows it, without its suffix; empty where there is none.
    source
        Where check and threshold come from.
    """

    check: str
    outcome: Outcome
    value: float
    threshold: str
    meaning: str
    figure: str
    source: str


def by_p(p: float) -> Outcome:
    """The outcome of a test by its p value; NaN: it was not possible."""
    if p != p:
        return IMPOSSIBLE
    return FAILED if p < REFUTED else LOOK if p < SUSPECT else PASSED


P_THRESHOLD = f"p ≥ {SUSPECT:g}; failed below {REFUTED:g}"
"""The threshold of `by_p` in words."""


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjust p values for their number (Holm, Scand J Stat 1979;6:65-70); NaN stays."""
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
