"""Strata of subjects, and subjects drawn with replacement within them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from popk.data.dataset import Dataset
from popk.spec.problem import PopkError, Problem
from popk.spec.units import UnitError, quantity

MOST_CATEGORIES = 8
"""Different numbers up to which a covariate without a cut is taken for one of categories."""


@dataclass(frozen=True)
class Strata:
    """Groups of subjects whose sizes resampling keeps.

    Attributes
    ----------
    label
        What divides them, in words; empty where all subjects are one stratum.
    names
        Of each stratum, in words.
    stratum
        [subject] the stratum of each.
    """

    label: str
    names: tuple[str, ...]
    stratum: Int[np.ndarray, " subject"]

    @property
    def sizes(self) -> dict[str, int]:
        """Stratum to its number of subjects."""
        return {name: int(np.sum(self.stratum == i)) for i, name in enumerate(self.names)}


def strata(data: Dataset, covariate: str | None = None, cut: str | None = None) -> Strata:
    """Divide the subjects by a covariate at their first record.

    Parameters
    ----------
    data
        The data set.
    covariate
        Its name; None: all subjects are one stratum.
    cut
        Values of a continuous one at which strata part, with units: ``"6 month"``, or
        ``"3 month, 6 month"``. A value on a cut belongs to the upper stratum.

    Raises
    ------
    popk.PopkError
        If the covariate is not there, a continuous one has no cut, a cut makes no sense, or a
        stratum has one subject: it would be the same in every replicate.
    """
    if covariate is None:
        if cut is not None:
            raise _problem(
                data, "cut", f"a cut at {cut} of no covariate", "the covariate that it cuts",
                f'name it: --stratify AGE --cut "{cut}"',
            )  # fmt: skip
        if data.subjects < 2:
            raise _problem(
                data, "ID", "one subject", "two or more: one is the same in every replicate",
                "use --kind parametric, which simulates",
            )  # fmt: skip
        return Strata("", ("all",), np.zeros(data.subjects, dtype=int))
    if covariate not in data.covariates:
        known = ", ".join(data.covariates) or "none"
        raise _problem(
            data, "stratify", f"no covariate {covariate}; the data have: {known}",
            "a covariate of the data", "name one of these, or declare it in fit.toml, [columns]",
        )  # fmt: skip
    values = np.asarray(data.covariates[covariate])[:, 0]
    found = _of_levels(data, covariate, values) if cut is None else _cut(
        data, covariate, values, cut
    )  # fmt: skip
    for name, size in found.sizes.items():
        if size == 1:
            who = data.ids[int(np.flatnonzero(found.stratum == found.names.index(name))[0])]
            raise _problem(
                data, "stratify", f"the stratum {name} with one subject, ID {who}",
                "two or more in each: one is the same in every replicate",
                "choose another cut or covariate, or leave --stratify out", who,
            )  # fmt: skip
    return found


def drawn(own: Strata, replicates: int, seed: int) -> Int[np.ndarray, "replicate subject"]:
    """Subjects of each replicate, drawn with replacement from their strata, whose sizes stay.

    A replicate's draw depends on the seed and its number alone.
    """
    members = [np.flatnonzero(own.stratum == i) for i in range(len(own.names))]
    out = np.zeros((replicates, own.stratum.size), dtype=int)
    for number in range(replicates):
        rng = np.random.default_rng([seed % (1 << 63), number, 7])
        for group in members:
            out[number, group] = rng.choice(group, group.size)
    return out


def _of_levels(data: Dataset, covariate: str, values: np.ndarray) -> Strata:
    words = data.levels.get(covariate)
    distinct, place = np.unique(values, return_inverse=True)
    if words is None and len(distinct) > MOST_CATEGORIES:
        unit = data.covariate_units.get(covariate)
        middle = f"{np.median(values):.3g}" + (f" {unit}" if unit else "")
        raise _problem(
            data, "stratify", f"{covariate} with {len(distinct)} different values and no cut",
            f"categories (at most {MOST_CATEGORIES}), or cuts of a continuous covariate",
            f'give a cut, for example --cut "{middle}"',
        )  # fmt: skip
    names = [words[int(v)] if words else f"{covariate} = {v:g}" for v in distinct]
    return Strata(covariate, tuple(names), place.reshape(-1))


def _cut(data: Dataset, covariate: str, values: np.ndarray, cut: str) -> Strata:
    unit = data.covariate_units.get(covariate)
    if covariate in data.levels:
        raise _problem(
            data, "cut", f"a cut of {covariate}, which has levels", "no cut: each level is one",
            "leave --cut out",
        )  # fmt: skip
    texts = [part.strip() for part in cut.split(",")]
    try:
        cuts = [quantity(text, unit) for text in texts]
    except (UnitError, ValueError) as error:
        raise _problem(
            data, "cut", f"{cut!r} ({error})", f"values of {covariate} in {unit or 'no unit'}",
            f'write for example --cut "{np.median(values):.3g}{f" {unit}" if unit else ""}"',
        ) from None  # fmt: skip
    if sorted(set(cuts)) != cuts:
        raise _problem(
            data, "cut", f"cuts that do not rise: {cut}", "each above the one before",
            "put them in order, each once",
        )  # fmt: skip
    stratum = np.searchsorted(cuts, values, side="right")
    names = [f"{covariate} < {texts[0]}"]
    names += [f"{covariate} {a} to {b}" for a, b in pairwise(texts)]
    names.append(f"{covariate} ≥ {texts[-1]}")
    empty = [name for i, name in enumerate(names) if not (stratum == i).any()]
    if empty:
        low, high = values.min(), values.max()
        raise _problem(
            data, "cut", f"nobody with {', '.join(empty)}",
            f"cuts between {low:g} and {high:g}{f' {unit}' if unit else ''}",
            "choose others",
        )  # fmt: skip
    return Strata(covariate, tuple(names), stratum)


def _problem(
    data: Dataset, key: str, found: str, expected: str, cure: str, subject: str | None = None
) -> PopkError:
    return PopkError(
        Problem(
            file=data.source, subject=subject, key=key, found=found, expected=expected, cure=cure
        )
    )
