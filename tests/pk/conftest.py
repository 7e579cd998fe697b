"""An event-by-event simulation of the data rules, to hold against the closed form.

Times are fractions and amounts decimals of 40 digits, so that nothing here depends on a tolerance.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from popk.pk.dosing import Doses, History, Steps, history
from popk.pk.one_compartment import NO_DRUG, log_concentration
from popk.pk.past import Behind, Past, look_back, tabulate

STEPS = 192
"""All histories are padded to this length: one compilation serves every test."""
MOST = (48, 32, 8)
"""Room for so many infusions, boluses and steady states, for the same reason."""


class Record(NamedTuple):
    """A data record; `time`, `duration` (of an infusion) and `interval` are exact."""

    time: Fraction
    evid: int = 0
    amount: float = 0.0
    duration: Fraction = Fraction(0)
    ss: int = 0
    addl: int = 0
    interval: Fraction = Fraction(0)
    constant: float = 0.0  # rate of a constant infusion whose steady state is asked for
    cl: float = 2.0
    v: float = 7.0

    @property
    def rate(self) -> float:
        return self.amount / float(self.duration) if self.duration else self.constant


def number(x: Any) -> Decimal:
    return Decimal(x.numerator) / x.denominator if isinstance(x, Fraction) else Decimal(x)


def exact(amount: Any, rate: Any, k: Any, time: Fraction) -> Any:
    """The amount after some time at a constant rate, in 40 digits."""
    if amount == 0 and rate == 0:
        return Decimal(0)
    left = (-k * number(time)).exp()
    return amount * left + rate / k * (1 - left)


def by_ode(amount: Any, rate: Any, k: Any, time: Fraction) -> Any:
    """The same by a Runge-Kutta method that knows nothing of the solution."""
    if amount == 0 and rate == 0:
        return Decimal(0)
    rate, k = float(rate), float(k)
    path = solve_ivp(
        lambda _, a: rate - k * a,
        (0.0, float(time)),
        [float(amount)],
        method="DOP853",
        rtol=3e-14,
        atol=1e-30,
    )
    return Decimal(float(path.y[0, -1]))


class Body:
    """One compartment with its infusions (start, end, rate) and boluses to come (time, amount)."""

    def __init__(self, flow: Callable[..., Any], time: Fraction) -> None:
        self.flow, self.time, self.amount = flow, time, Decimal(0)
        self.infusions: list[tuple[Fraction, Fraction, Any]] = []
        self.boluses: list[tuple[Fraction, Any]] = []

    def give(self, record: Record, time: Fraction) -> None:
        if record.duration:
            rate = number(record.amount) / number(record.duration)
            self.infusions.append((time, time + record.duration, rate))
        elif time > self.time:
            self.boluses.append((time, number(record.amount)))
        else:
            self.amount += number(record.amount)

    def run(self, until: Fraction, k: Any) -> None:
        """Let time pass, up to and with all that happens by itself at the end."""
        points = {self.time, until}
        points |= {t for start, end, _ in self.infusions for t in (start, end)}
        points |= {t for t, _ in self.boluses}
        for a, b in pairwise(sorted(t for t in points if self.time <= t <= until)):
            rate = sum(r for start, end, r in self.infusions if start <= a and b <= end)
            self.amount = self.flow(self.amount, rate, k, b - a)
            self.amount += sum(amount for t, amount in self.boluses if t == b)
        self.time = until
        self.infusions = [i for i in self.infusions if i[1] > until]
        self.boluses = [b for b in self.boluses if b[0] > until]


def steady_state(record: Record, flow: Callable[..., Any], k: Any) -> Body:
    """A body that has had a record's dose for so long that more of it changes nothing."""
    body = Body(flow, Fraction(0))
    if record.constant:
        body.amount = flow(Decimal(0), number(record.constant), k, Fraction(ceil(90 / k)))
        return body
    doses = ceil(42 / (float(k) * float(record.interval)))
    doses += ceil(record.duration / record.interval)
    for n in range(doses):
        body.run(n * record.interval, k)
        body.give(record, n * record.interval)
    body.run(doses * record.interval, k)
    return body


def simulate(
    records: Sequence[Record], interpolation: str, flow: Callable[..., Any]
) -> list[tuple[Any, Any]]:
    """Amount and volume at each record, by the rules for NONMEM-style data."""
    body = Body(flow, records[0].time)
    out = []
    for before, record in zip([records[0], *records], records, strict=False):
        own_k = number(record.cl) / number(record.v)
        if record.evid in (3, 4):
            body = Body(flow, record.time)
        elif interpolation == "nocb":
            body.run(record.time, own_k)
        else:
            body.run(record.time, number(before.cl) / number(before.v))
        if record.evid in (1, 4):
            if record.ss == 1:
                body = Body(flow, record.time)
            if record.ss:
                past = steady_state(record, flow, own_k)
                body.amount += past.amount
                shift = record.time - past.time
                body.infusions += [(s + shift, e + shift, r) for s, e, r in past.infusions]
            if record.amount:
                for n in range(record.addl + 1):
                    body.give(record, record.time + n * record.interval)
        out.append((body.amount, number(record.v)))
    return out


def as_doses(records: Sequence[Record]) -> Doses:
    return Doses(
        time=np.array([float(r.time) for r in records]),
        evid=np.array([r.evid for r in records]),
        amount=np.array([float(r.amount) for r in records]),
        rate=np.array([float(r.rate) for r in records]),
        ss=np.array([r.ss for r in records]),
        addl=np.array([r.addl for r in records]),
        interval=np.array([float(r.interval) for r in records]),
    )


def padded(steps: Steps, length: int = STEPS) -> Steps:
    extra = length - steps.duration.shape[0]
    assert extra >= 0
    one = {"keep", "steady_interval"}
    return Steps(
        **{
            name: jnp.concatenate([jnp.asarray(values), jnp.full(extra, float(name in one))])
            for name, values in vars(steps).items()
        }
    )


class Layout(NamedTuple):
    """A padded history with each step's parameters and the place of each record.

    `behind` is what each record has behind it, by superposition.
    """

    steps: Steps
    cl: jax.Array
    v: jax.Array
    place: np.ndarray
    behind: list[Behind]


def lay_out(records: Sequence[Record], interpolation: str) -> Layout:
    laid: History = history(as_doses(records), split_records=interpolation == "locf")
    record = np.concatenate(
        [laid.record, np.full(STEPS - len(laid.record), laid.record[-1])]
    ).astype(int)
    place = np.flatnonzero(laid.is_record)
    return Layout(
        padded(laid.steps),
        jnp.array([r.cl for r in records])[record],
        jnp.array([r.v for r in records])[record],
        place,
        look_back(laid.steps, place),
    )


def as_past(rows: Sequence[Behind]) -> Past:
    """Rows with the room they need."""
    infusion, bolus, steady = np.max([row.widths for row in rows], axis=0).tolist()
    return tabulate(list(rows), (infusion, bolus, steady))


def by_superposition(laid: Layout) -> np.ndarray:
    """Log concentration at each record, with the CL and V of the first."""
    count = len(laid.behind)
    past = jax.tree.map(
        lambda a: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, STEPS - count)]),
        tabulate(laid.behind, MOST),
    )
    ones = np.ones(STEPS)
    return np.asarray(concentrate(past, laid.cl[0] * ones, laid.v[0] * ones))[:count]


concentrate = jax.jit(log_concentration)


@pytest.fixture(scope="session")
def record() -> type[Record]:
    return Record


@pytest.fixture(scope="session")
def laid_out() -> Callable[..., Layout]:
    return lay_out


@pytest.fixture(scope="session")
def tabulated() -> Callable[..., Past]:
    return as_past


@pytest.fixture(scope="session")
def popk_log_c() -> Callable[..., np.ndarray]:
    """Popk's log concentration at each record; one CL and V where `constant` is set.

    Then it is computed step by step and as a sum over doses, which must agree.
    """

    def log_c(
        records: Sequence[Record], interpolation: str = "nocb", *, constant: bool = False
    ) -> np.ndarray:
        laid = lay_out(records, interpolation)
        cl, v = (laid.cl[0], laid.v[0]) if constant else (laid.cl, laid.v)
        found = np.asarray(concentrate(laid.steps, cl, v))[laid.place]
        if constant:
            summed = by_superposition(laid)
            np.testing.assert_array_equal(summed == NO_DRUG, found == NO_DRUG)
            np.testing.assert_allclose(summed, found, rtol=1e-12, atol=1e-12)
        return found

    return log_c


@pytest.fixture(scope="session")
def reference() -> Callable[..., np.ndarray]:
    """Log concentration at each record by `simulate`; -inf where there is no drug."""

    def log_c(
        records: Sequence[Record], interpolation: str = "nocb", *, ode: bool = False
    ) -> np.ndarray:
        with localcontext(prec=40):
            states = simulate(records, interpolation, by_ode if ode else exact)
            return np.array([float((number(a) / v).ln()) if a > 0 else -np.inf for a, v in states])

    return log_c


@pytest.fixture(scope="session")
def exact_log_c() -> Callable[..., Any]:
    """Log concentration at the last record as a Decimal, for derivatives."""

    def log_c(records: Sequence[Record], cl: Any, v: Any) -> Any:
        amount, volume = simulate([r._replace(cl=cl, v=v) for r in records], "nocb", exact)[-1]
        return (amount / volume).ln()

    return log_c
