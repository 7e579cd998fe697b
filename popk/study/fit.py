"""`Fit`: model, data, posterior and where they came from; and `fit`, which makes one."""

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np
from jaxtyping import Float, Int

from popk.data.dataset import Dataset
from popk.inference.convergence import Check, constants, gate
from popk.inference.diagnostics import Diagnostics
from popk.inference.ensemble import Ensemble
from popk.inference.fallback import EnsembleOrNuts
from popk.inference.nuts import Nuts
from popk.inference.posterior import Posterior, Progress, Sampler
from popk.population.condensed import condense
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.spec.fit import Dose
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.problem import PopkError, Problem
from popk.spec.record import Record
from popk.spec.units import UnitError, conversion_factor
from popk.study.labelled import inference_data

if TYPE_CHECKING:
    import arviz

METHODS: Mapping[str, Callable[[Model, Events, SamplerSpec], Sampler]] = {
    "ensemble": lambda *given: EnsembleOrNuts(Ensemble(*given), Nuts(*given)),
    "nuts": Nuts,
}

Watch = Callable[[Progress, Any], None]
"""Called after each piece of sampling with the progress and the sampler's state."""


@dataclass(frozen=True)
class Provenance:
    """Where a fit came from.

    Attributes
    ----------
    hashes
        SHA-256 of the data file's bytes, of what was read from it, and of the content of the
        model and the settings.
    versions
        Of Python and of the libraries that computed it.
    device, precision, seed
        What it ran on and with.
    finished
        UTC time, ISO 8601.
    seconds
        Phase to seconds.
    method
        The sampler and its settings.
    """

    hashes: Mapping[str, str]
    versions: Mapping[str, str]
    device: str
    precision: str
    seed: int
    finished: str
    seconds: Mapping[str, float]
    method: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished fit. Immutable; tables come from `popk.analysis`.

    Attributes
    ----------
    model, data
        What was fitted.
    samples
        The draws as plain arrays.
    checks, diagnostics
        The convergence gate, check by check, and R-hat and ESS of every quantity.
    provenance
        Hashes, versions, device, seed, timings.
    dose
        The nominal dose to which concentrations are referred, if any.
    synthetic
        True where the data are simulated; every table says so.
    name
        How the fit is called in tables.
    """

    model: Model
    data: Dataset
    samples: Posterior
    checks: tuple[Check, ...]
    diagnostics: Diagnostics
    provenance: Provenance
    dose: Dose | None = None
    synthetic: bool = False
    name: str = field(default="")

    @property
    def converged(self) -> bool:
        """Whether every check of the convergence gate passed."""
        return all(check.passed for check in self.checks)

    def __repr__(self) -> str:
        return in_words(self)

    @cached_property
    def posterior(self) -> "arviz.InferenceData":
        """The posterior as ArviZ InferenceData, with coordinates `subject` and `parameter`."""
        return inference_data(self.model, self.data, self.samples)


class Finished(Protocol):
    """What every kind of fit has."""

    @property
    def model(self) -> Model: ...
    @property
    def data(self) -> Dataset: ...
    @property
    def checks(self) -> tuple[Check, ...]: ...
    @property
    def provenance(self) -> Provenance: ...
    @property
    def synthetic(self) -> bool: ...
    @property
    def name(self) -> str: ...


def in_words(fit: Finished) -> str:
    """A finished fit in a few lines: its verdict, what it is of, what to call next."""
    failed = ", ".join(check.name for check in fit.checks if not check.passed)
    verdict = f"NOT CONVERGED ({failed}): do not use its numbers" if failed else "converged"
    data = f"{fit.data.subjects} subjects, {fit.data.observations} observations"
    return (
        f"{type(fit).__name__} {fit.name or fit.model.spec.name!r}: {verdict}\n"
        f"  {fit.model.spec.name}; {'SYNTHETIC DATA, ' * fit.synthetic}{data}; "
        f"{fit.provenance.method.get('name', '')}\n"
        + (
            "  look at .checks"
            if failed
            else "  tables: popk.parameters(fit), popk.individuals(fit)"
        )
    )


def fit(
    model: Model,
    data: Dataset,
    sampler: SamplerSpec | None = None,
    *,
    dose: Dose | None = None,
    synthetic: bool = False,
    name: str = "",
    state: Any = None,
    watch: Watch | None = None,
) -> Fit:
    """Sample the posterior of a model given data.

    Parameters
    ----------
    model, data
        See `popk.load_model` and `popk.read_data`.
    sampler
        Method, draws, seed, precision; the defaults where None.
    dose
        The nominal dose for the tables, e.g. ``Dose(nominal="15 ug/m^2/day")``.
    synthetic
        True where the data are simulated.
    name
        How the fit is called in tables.
    state
        A sampler's state to go on from, as `watch` was given it.
    watch
        Called after each piece of work; it may raise to interrupt.

    Raises
    ------
    popk.PopkError
        If the data lack what the model needs. A posterior that fails its checks is no error:
        see `Fit.converged` and `Fit.checks`.
    """
    if dose is not None:
        dosed_size(dose, data)
    settings = sampler or SamplerSpec()
    seconds: dict[str, float] = {}
    device = device_of(settings)
    with jax.enable_x64(settings.precision == "float64"), jax.default_device(device):
        prepared, order = prepare(model, data, settings)
        samples = _sample(prepared, state, watch, seconds)
    begun = time.perf_counter()
    found = samples.diagnostics
    samples = replace(samples, log_likelihood=samples.log_likelihood[:, :, order])
    checks = gate(samples, found, settings.ess, ignore=constants(model, data.subjects))
    seconds["diagnostics"] = time.perf_counter() - begun
    provenance = provenance_of(model, data, settings, str(device), seconds, samples.method)
    return Fit(model, data, samples, checks, found, provenance, dose, synthetic, name)


def provenance_of(
    model: Model,
    data: Dataset,
    settings: SamplerSpec,
    device: str,
    seconds: Mapping[str, float],
    method: Mapping[str, Any],
) -> Provenance:
    """The record of a fit that has just finished."""
    return Provenance(
        hashes=hashes(model, data, settings),
        versions=versions(),
        device=device,
        precision=settings.precision,
        seed=settings.seed,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={phase: round(s, 3) for phase, s in seconds.items()},
        method=method,
    )


def device_of(settings: SamplerSpec) -> Any:
    """The device that the settings ask for.

    Raises
    ------
    popk.PopkError
        If there is none of this kind.
    """
    try:
        return jax.devices(settings.device)[0]
    except RuntimeError:
        have = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise PopkError(
            Problem(
                file="[sampler]",
                key="device",
                found=f"device {settings.device!r}, but JAX sees only: {have}",
                expected="a device that is there and that jaxlib was built for",
                cure='install "popk[cuda]" on a machine with an NVIDIA GPU, or set device = "cpu"',
            )
        ) from None


def dosed_size(dose: Dose, data: Dataset) -> Float[np.ndarray, " subject"]:
    """What a nominal dose is multiplied by for each subject: m², kg, or 1.

    Raises
    ------
    popk.PopkError
        If the dose is per m² or per kg and the data have no such covariate.
    """
    if dose.per is None:
        return np.ones(data.subjects)
    target = {"BSA": "m^2", "WT": "kg"}[dose.per]
    values, unit = data.covariates.get(dose.per), data.covariate_units.get(dose.per)
    try:
        if values is None or unit is None:
            raise UnitError(f"no covariate {dose.per} with a unit")
        return values[:, 0] * conversion_factor(unit, target)
    except UnitError as error:
        raise PopkError(
            Problem(
                file=data.source,
                key="dose.nominal",
                found=f"{dose.nominal!r}, but {error}",
                expected=f"a covariate {dose.per} in a unit that converts to {target}",
                cure=f"declare {dose.per} in [columns] or [derived] of fit.toml, "
                "or state the nominal dose without body size",
            )
        ) from None


def prepare(
    model: Model, data: Dataset, settings: SamplerSpec
) -> tuple[Sampler, Int[np.ndarray, " observation"]]:
    """The sampler of this method for this model and data (float64 if JAX is in float64).

    With it the places of its observations in the order of the file.
    """
    events, order = condense(arrange(model.spec, data)[0])
    return METHODS[settings.method](model, events, settings), order


def _sample(
    sampler: Sampler, state: Any, watch: Watch | None, seconds: dict[str, float]
) -> Posterior:
    clock = time.perf_counter()

    def note(phase: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[phase] = seconds.get(phase, 0.0) + now - clock
        clock = now

    state = sampler.start() if state is None else state
    note("start")
    progress = sampler.progress(state)
    while progress.done < progress.total:
        phase = progress.phase
        state = sampler.advance(state)
        progress = sampler.progress(state)
        note(phase)
        if watch is not None:
            watch(progress, state)
            note("saving")
    posterior = sampler.posterior(state)
    note("collecting")
    return posterior


def hashes(model: Model, data: Dataset, settings: SamplerSpec) -> dict[str, str]:
    """SHA-256 of the content of model and settings, and of the data file's bytes and its meaning.

    "data as read" changes where the same bytes are given other units, columns or rows.
    """
    return {
        "model": content_hash(model.spec),
        "data": data.sha256,
        "data as read": _reading_hash(data),
        "sampler": content_hash(settings),
    }


def content_hash(record: Record) -> str:
    """SHA-256 of a record's content; comments and layout of its file do not change it."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()


def _reading_hash(data: Dataset) -> str:
    digest = hashlib.sha256()
    for item in fields(data):
        if item.name in ("source", "sha256", "ignored", "warnings"):
            continue
        value = getattr(data, item.name)
        named = value if isinstance(value, Mapping) else {"": value}
        for name, part in sorted(named.items()):
            content = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
            digest.update(f"{item.name}.{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute a fit."""
    libraries = ("popk", "jax", "jaxlib", "numpyro", "numpy", "scipy", "arviz-stats")
    return {"python": platform.python_version()} | {name: version(name) for name in libraries}
