"""Age groups in which a simulation is summarised."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from popk.spec.problem import PopkError, Problem
from popk.spec.units import UnitError, conversion_factor, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

AgeGroups = Sequence[str]
"""Limits between the groups, rising, e.g. ``["3 month", "6 month"]``."""
DEFAULT = ("3 month", "6 month", "9 month", "12 month", "24 month")
ALL = "all"


class WithUnits(Protocol):
    """What says in which unit ages are."""

    @property
    def covariate_units(self) -> "Mapping[str, str | None]":
        """Covariate to unit."""
        ...


def groups_of(
    table: pd.DataFrame, subjects: WithUnits, limits: AgeGroups | None
) -> "pd.Categorical | str":
    """The age group of each row; ``all`` where there is no age.

    Raises
    ------
    popk.PopkError
        If limits do not rise, have no unit of age, or there is no age.
    """
    unit = subjects.covariate_units.get("AGE")
    if "AGE" not in table or unit is None:
        if limits is not None:
            raise _problem(limits, "no AGE with a unit among the covariates")
        return ALL
    own = limits if limits is not None else DEFAULT
    try:
        edges = np.array([quantity(limit, unit) for limit in own])
        months = edges * conversion_factor(unit, "month")
    except UnitError as error:
        raise _problem(own, str(error)) from None
    if not len(edges) or (np.diff(edges) <= 0).any() or edges[0] <= 0:
        raise _problem(own, "limits that do not rise from above 0")
    low = [0.0, *months]
    names = [f"{a:g} to {b:g} months" for a, b in zip(low, months, strict=False)]
    names.append(f"{low[-1]:g} months and over")
    return pd.Categorical.from_codes(
        np.searchsorted(edges, table["AGE"].to_numpy(float), side="right"), names, ordered=True
    )


def _problem(limits: AgeGroups, why: str) -> PopkError:
    return PopkError(
        Problem(
            file="simulation",
            key="age groups",
            found=f"{', '.join(map(str, limits))}: {why}",
            expected="rising limits in a unit of age, of subjects that have an AGE",
            cure="write for example '3 month', '6 month'",
        )
    )
