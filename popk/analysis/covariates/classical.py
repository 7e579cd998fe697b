"""The tests that a paper prints, on individual estimates.

Individual estimates of sparse data are drawn towards the typical value: groups look more alike than
they are, and the tests lose power or mislead (Savic & Karlsson, AAPS J 2009;11:558-69).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import mannwhitneyu, norm, spearmanr

SHRUNK = 0.3
"""Shrinkage of etas above which tests on individual estimates mislead (ibid.: 20 to 30 %)."""


class Groups(NamedTuple):
    """Wilcoxon-Mann-Whitney with the Hodges-Lehmann shift.

    Attributes
    ----------
    p
        Two-sided; exact where there are no ties and no more than 8 in the smaller group.
    ratio, q2_5, q97_5
        Hodges-Lehmann estimate of the ratio of the first group to the second, with its 95 %
        confidence interval (Hollander & Wolfe, Nonparametric Statistical Methods 1999, ch. 4).
    sizes
        Subjects in each group.
    """

    p: float
    ratio: float
    q2_5: float
    q97_5: float
    sizes: tuple[int, int]


class Rank(NamedTuple):
    """Spearman's correlation and its two-sided p."""

    rho: float
    p: float


def two_groups(
    values: Float[np.ndarray, " subject"], first: Float[np.ndarray, " subject"]
) -> Groups:
    """Compare positive values between the subjects where `first` is 1 and the others."""
    a, b = np.log(values[first == 1.0]), np.log(values[first != 1.0])
    p = float(mannwhitneyu(a, b, alternative="two-sided").pvalue)
    shifts = np.sort((a[:, None] - b).ravel())
    n, m = len(a), len(b)
    spread = float(norm.ppf(0.975)) * math.sqrt(n * m * (n + m + 1) / 12.0)
    at = max(round(n * m / 2.0 - spread), 1)
    return Groups(
        p,
        math.exp(float(np.median(shifts))),
        math.exp(float(shifts[at - 1])),
        math.exp(float(shifts[n * m - at])),
        (n, m),
    )


def correlated(
    values: Float[np.ndarray, " subject"], covariate: Float[np.ndarray, " subject"]
) -> Rank:
    """Whether values rise or fall with a covariate."""
    found: Any = spearmanr(values, covariate)
    return Rank(float(found.statistic), float(found.pvalue))


def warning(shrinkage: float) -> str:
    """What shrinkage does to these tests; empty where it is small."""
    if not shrinkage > SHRUNK:
        return ""
    return f"etas are shrunk by {100 * shrinkage:.0f} %: tests on individual estimates mislead here"
