"""Virtual infants by the WHO Child Growth Standards, or subjects drawn anew from a data set.

Length follows its standard for age, and weight its standard for that length. The weight for age
that comes of it is close to its own standard, not equal. From 31 to 730 days its median lies
within 0.9 % and its centiles at 2 SD within 4 % of the weight-for-age standard. In the first
month, when newborns lose weight but not length, the median is off by up to 3.2 % and these
centiles by up to 5.2 %.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from popk.data.cohort import at_baseline, cohort
from popk.data.dataset import Dataset, of_subjects
from popk.data.declared import Infants, as_declared
from popk.data.growth import OLDEST_LYING, SEXES, body_size, draw_scores
from popk.spec.problem import PopkError, Problem
from popk.spec.units import conversion_factor
from popk.spec.virtual import Virtual

PLAIN = cohort({"AGE": np.zeros((1, 1))}, {"AGE": "month"}, source="no data")
"""Stands for a data set that declares nothing of its own."""
SOURCE = "virtual infants (WHO Child Growth Standards 2006)"


def virtual_infants(
    rng: np.random.Generator,
    count: int,
    spec: Virtual,
    *,
    duration_day: float = 0.0,
    every_day: float = 7.0,
    like: Dataset | None = None,
) -> Dataset:
    """Draw infants: sex, age, length given age and sex, weight given length and sex.

    An infant that grows keeps its z-scores of length for age and of weight for length. Lengths
    that leave the table of weight for length (below 45 cm: some newborns) are drawn again; of an
    infant that grows its first length decides, as length rises along the curves.

    Parameters
    ----------
    rng
        Source of random numbers.
    count
        Number of infants.
    spec
        Which infants.
    duration_day
        How long they are followed (day); plays no part unless they grow.
    every_day
        Time between two records of an infant that grows (day). Between them a covariate has the
        value of one of the two, see `Dataset.interpolation`.
    like
        A data set whose units, levels and interpolation are taken over.

    Returns
    -------
    Dataset
        A cohort (see `popk.data.cohort.cohort`) with AGE (month), WT (kg), HT (cm), BSA (m²) and
        SEX (0 female, 1 male), or in the units and with the levels of SEX that `like` declares;
        and with what `like` derives from AGE, WT and HT under other names. Other covariates of
        `like` are absent, and so is one of these five where `like` has levels that are not known
        here. Its records are at 0, at every multiple of `every_day` and at `duration_day` if the
        infants grow, else at 0 only. Its `warnings` say what was assumed about `like`.

    Raises
    ------
    PopkError
        For ages that the standards do not cover, times or a number of infants that make no
        sense, or a unit in `like` that does not measure what it should.
    """
    _refuse(count, spec, duration_day, every_day)
    like = PLAIN if like is None else like
    days = _knots(duration_day, every_day) if spec.grow else np.zeros(1)
    declared = as_declared(_draw(rng, count, spec, days), like)
    made = cohort(
        declared.covariates,
        declared.units,
        time=days * conversion_factor("day", like.units.time or "h"),
        units=like.units,
        levels=declared.levels,
        derived=declared.derived,
        interpolation=like.interpolation,
        source=SOURCE,
    )
    return replace(made, warnings=declared.warnings)


def resampled(rng: np.random.Generator, count: int, data: Dataset) -> Dataset:
    """Draw subjects of a data set, with replacement, with the covariates of their first record.

    Parameters
    ----------
    rng
        Source of random numbers.
    count
        Number of subjects.
    data
        Any data set with covariates.

    Returns
    -------
    Dataset
        A cohort with one record at time 0. Names, units, levels and formulas of the covariates,
        units of the items and interpolation are those of `data`.

    Raises
    ------
    PopkError
        If `count` is below 1, or `data` has no covariates.
    """
    problems = [*_count_problems(count)]
    if not data.covariates:
        problems.append(
            Problem(
                file=data.source,
                key="columns",
                found="no covariates",
                expected="subjects with covariates, to be drawn from",
                cure="declare them under [columns], or draw virtual infants",
            )
        )
    if problems:
        raise PopkError(*problems)
    own = of_subjects(at_baseline(data), rng.integers(data.subjects, size=count))
    ids = tuple(map(str, range(1, count + 1)))
    return replace(own, ids=ids, source=f"subjects drawn from {data.source}")


def _draw(
    rng: np.random.Generator, count: int, spec: Virtual, days: Float[np.ndarray, " knot"]
) -> Infants:
    """The infants at each knot (day since the start)."""
    female = rng.random(count) < spec.female
    age = rng.uniform(*spec.age_range("day"), count)[:, None] + days
    length, weight = np.empty_like(age), np.empty_like(age)
    for sex, own in zip(SEXES, (~female, female), strict=True):
        scores = draw_scores(rng, age[own, 0], sex, age[own, -1] if spec.grow else None)
        z_length, z_weight = (np.asarray(z)[:, None] for z in scores)
        length[own], weight[own] = body_size(z_length, z_weight, age[own], sex)
    return Infants(female, age, length, weight, spec.formula)


def _knots(duration_day: float, every_day: float) -> Float[np.ndarray, " knot"]:
    """Times of the records (day): each multiple of the interval, and the end."""
    before = np.ceil(duration_day / every_day - 1e-9)
    return np.append(every_day * np.arange(before), duration_day)


def _refuse(count: int, spec: Virtual, duration_day: float, every_day: float) -> None:
    problems = [
        *_count_problems(count),
        *_time_problems(duration_day, every_day),
    ] or [*_age_problems(spec, duration_day if spec.grow else 0.0)]
    if problems:
        raise PopkError(*problems)


def _count_problems(count: int) -> Iterator[Problem]:
    if count < 1:
        yield Problem(
            key="subjects",
            found=f"{count} subjects",
            expected="a number of at least 1",
            cure="write how many are to be drawn, such as 1000",
        )


def _time_problems(duration_day: float, every_day: float) -> Iterator[Problem]:
    if not 0.0 <= duration_day < np.inf:
        yield Problem(
            key="duration_day",
            found=f"infants followed for {duration_day:g} day",
            expected="a finite time of at least 0 day",
            cure="write how long they are followed, such as 28",
        )
    if not 0.0 < every_day < np.inf:
        yield Problem(
            key="every_day",
            found=f"a record every {every_day:g} day",
            expected="a finite time above 0 day",
            cure="write how far apart the records are, such as 7",
        )


def _age_problems(spec: Virtual, growing_day: float) -> Iterator[Problem]:
    youngest, oldest = spec.age_range("day")
    latest = OLDEST_LYING - growing_day
    if youngest >= 0.0 and oldest <= latest:
        return
    grown = f" that grow for {growing_day:g} day" if growing_day else ""
    yield Problem(
        key="age",
        found=f"infants of {spec.age[0]} to {spec.age[1]} ({youngest:g} to {oldest:g} day){grown}",
        expected=f"ages from 0 to {OLDEST_LYING:g} day at all times: the range of the WHO "
        "standard of lying length",
        cure=f"write ages from '0 day' to '{np.floor(latest):g} day', or a part of that"
        if latest >= 0.0
        else f"let them grow for {OLDEST_LYING:g} day at the most, or not at all",
    )
