"""What a check says: passed, look here, or failed; with its threshold and where that comes from."""

from dataclasses import dataclass
from typing import Literal

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
