"""Who is simulated: virtual infants, the data's own subjects drawn again, or a given cohort."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from popk.analysis.simulation.engine import BLOCK
from popk.data.dataset import Dataset, of_subjects
from popk.data.virtual import resampled, virtual_infants
from popk.spec.model import ModelSpec
from popk.spec.problem import Problem
from popk.spec.virtual import Virtual

Make = Callable[[int, int, int, float], Dataset]


@dataclass(frozen=True, eq=False)
class Subjects:
    """Subjects, made block by block, so that a million need no memory at once.

    Attributes
    ----------
    count
        How many.
    about
        How they are made, in words.
    covariate_units, levels
        As in a `Dataset`.
    grows
        Whether body size changes during a regimen.
    make
        From block, size, seed and days to a cohort.
    warnings
        What had to be assumed about units and codes.
    """

    count: int
    about: str
    covariate_units: Mapping[str, str | None]
    levels: Mapping[str, tuple[str, ...]]
    grows: bool
    make: Make
    warnings: tuple[Problem, ...] = ()

    def warnings_for(self, spec: ModelSpec) -> tuple[Problem, ...]:
        """Those that matter to a model, or to doses by body size or age."""
        used = {*spec.covariate_names, "AGE", "WT", "BSA"}
        return tuple(w for w in self.warnings if used & set((w.key or "").split(".")))

    def cohort(self, seed: int, count: int | None = None) -> Dataset:
        """All of them at once, or the first ones, at baseline: for a few thousand."""
        return self.make(0, self.count if count is None else count, seed, 0.0)

    def block(self, number: int, count: int, seed: int, days: float) -> Dataset:
        """The subjects of one block: always the same ones for the same seed."""
        return self.make(number, count, seed, days)

    @staticmethod
    def of(given: "Subjects | Dataset | int", like: Dataset | None) -> "Subjects":
        """Subjects as they are given: a number is one of virtual infants."""
        if isinstance(given, Dataset):
            return Subjects.of_cohort(given)
        return given if isinstance(given, Subjects) else Subjects.virtual(given, like=like)

    @staticmethod
    def virtual(
        count: int, spec: Virtual | None = None, *, like: Dataset | None = None
    ) -> "Subjects":
        """Virtual infants by the WHO Child Growth Standards.

        Parameters
        ----------
        count
            How many.
        spec
            Ages, sexes, formula of body-surface area, growth; infants below one year by default.
        like
            Data whose units and codes the covariates have.

        Raises
        ------
        popk.PopkError
            If ages lie beyond the standards.
        """
        spec = spec or Virtual()

        def make(number: int, count: int, seed: int, days: float) -> Dataset:
            rng = np.random.default_rng([seed, number])
            return _numbered(
                virtual_infants(rng, count, spec, duration_day=days, like=like), number
            )

        one = make(0, 1, 0, 0.0)
        about = (
            f"virtual infants by the WHO Child Growth Standards, {spec.age[0]} to {spec.age[1]}, "
            f"{100 * spec.female:.0f} % girls, BSA by {spec.formula}"
            + (", growing" if spec.grow else "")
        )
        return Subjects(
            count, about, one.covariate_units, one.levels, spec.grow, make, one.warnings
        )

    @staticmethod
    def resampled(count: int, data: Dataset) -> "Subjects":
        """The data's subjects with their covariates at baseline, drawn with replacement."""

        def make(number: int, count: int, seed: int, days: float) -> Dataset:
            return _numbered(resampled(np.random.default_rng([seed, number]), count, data), number)

        about = f"baseline covariates of the {data.subjects} subjects of the data, drawn again"
        return Subjects(count, about, data.covariate_units, data.levels, False, make)

    @staticmethod
    def of_cohort(cohort: Dataset) -> "Subjects":
        """Given subjects; all must have their covariate records at the same times."""

        def make(number: int, count: int, seed: int, days: float) -> Dataset:
            return of_subjects(cohort, np.arange(number * BLOCK, number * BLOCK + count))

        return Subjects(
            cohort.subjects, cohort.source, cohort.covariate_units, cohort.levels, False, make
        )


def _numbered(cohort: Dataset, block: int) -> Dataset:
    """Subjects numbered through all blocks, from 1."""
    first = block * BLOCK + 1
    return replace(cohort, ids=tuple(map(str, range(first, first + cohort.subjects))))
