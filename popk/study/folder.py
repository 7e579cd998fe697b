"""A fit folder: fit.toml in, results/ out; replaced whole or not at all; resumed if interrupted."""

import json
import math
import os
import pickle
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.inference.convergence import Check
from popk.inference.diagnostics import diagnostics
from popk.inference.posterior import Posterior, Progress
from popk.population.model import Model
from popk.spec.fit import FitSpec, Sampler, read_fit
from popk.spec.model import ModelSpec, read_model
from popk.spec.problem import PopkError, Problem
from popk.spec.record import validate
from popk.study.fit import Fit, Provenance, dosed_size, fit, hashes, versions
from popk.study.labelled import labelled, samples_from
from popk.study.maximum import (
    MaximumFit,
    arrays_of,
    maximum,
    maximum_from,
    objective_of,
)
from popk.study.netcdf import write_netcdf
from popk.study.state import CHECKPOINT
from popk.study.written import written

SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Study(NamedTuple):
    """What a fit folder names: its settings, model and data, read and checked.

    `written` are hashes of what its files said then, see `popk.study.written`.
    """

    folder: Path
    spec: FitSpec
    model: Model
    data: Dataset
    written: Mapping[str, str] = MappingProxyType({})


def open_study(folder: str | Path) -> Study:
    """Read fit.toml and the model and data that it points to.

    Raises
    ------
    popk.PopkError
        With every fault of the first file that has any.
    """
    path = Path(folder)
    folder = path if path.is_dir() or path.suffix != ".toml" else path.parent
    said = written(folder)
    spec = read_fit(folder / "fit.toml" if folder != path.parent or path.is_dir() else path)
    model = Model(read_model(folder / spec.model))
    data = read_data(folder / spec.data, spec)
    if spec.dose is not None:
        dosed_size(spec.dose, data)
    return Study(folder, spec, model, data, said)


def with_sampler(study: Study, **settings: str | None) -> Study:
    """The same with other settings of its sampler; None leaves one as it is.

    Raises
    ------
    popk.PopkError
        If a setting has no such value.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    changed = study.spec.sampler.model_dump() | given
    sampler = validate(Sampler, changed, "command line")
    return study._replace(spec=study.spec.model_copy(update={"sampler": sampler}))


def run(
    study: Study,
    tables: Callable[[Fit | MaximumFit], dict[str, str]],
    watch: Callable[[Progress], None] | None = None,
) -> Fit | MaximumFit:
    """Fit what the folder names and replace its results.

    Parameters
    ----------
    study
        From `open_study`.
    tables
        Gives the text of further files of results/, by name, for a finished fit.
    watch
        Called with the progress after each piece of work.

    Notes
    -----
    The sampler's state is saved every few seconds and on an interrupt; the next run of the same
    model, data and settings goes on from it and gives the draws that it would have given.
    """
    checkpoint = study.folder / CHECKPOINT
    key = json.dumps([hashes(study.model, study.data, study.spec.sampler), versions()])
    saved = time.monotonic()
    latest: Any = None

    def keep(progress: Progress, state: Any) -> None:
        nonlocal saved, latest
        latest = state
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            save_state(checkpoint, state, key)
            saved = time.monotonic()
        if watch is not None:
            watch(progress)

    try:
        result = (maximum if study.spec.sampler.maximises else fit)(
            study.model,
            study.data,
            study.spec.sampler,
            dose=study.spec.dose,
            synthetic=study.spec.synthetic,
            name=study.spec.name or study.folder.resolve().name,
            state=load_state(checkpoint, key, study.spec.sampler.precision),
            watch=keep,
        )
    except KeyboardInterrupt:
        if latest is not None:
            save_state(checkpoint, latest, key)
        raise
    save(result, study.folder, tables(result), study.written)
    checkpoint.unlink(missing_ok=True)
    return result


def save(
    result: Fit | MaximumFit,
    folder: str | Path,
    tables: dict[str, str],
    said: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write results/ whole, then put it in the place of the old one.

    `said` is what the folder's files said when they were read, see `popk.study.written`.

    Raises
    ------
    popk.PopkError
        If the folder cannot be written; results that were there stay.
    """
    folder = Path(folder)
    new, old, place = folder / f".results-{os.getpid()}", _old(folder), folder / "results"
    try:
        _recover(folder)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        if isinstance(result, Fit):
            parts = labelled(result.model, result.data, result.samples)
            write_netcdf(new / "posterior.nc", parts)
        else:
            arrays: Any = arrays_of(result)
            np.savez_compressed(new / "estimates.npz", **arrays)
        (new / "run.json").write_text(_run_record(result, said), encoding="utf-8")
        for name, text in tables.items():
            (new / name).write_text(text, encoding="utf-8")
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        new.rename(place)
    except OSError as error:
        raise PopkError(
            Problem(
                file=str(folder),
                found=f"results that cannot be written ({error})",
                expected="a folder that may be written, with space left",
                cure="mend that and give the command again; results that were there are unchanged",
            ),
            unreadable=True,
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def add(folder: str | Path, files: Mapping[str, str | bytes]) -> Path:
    """Write further files into results/, each whole; those of other names stay.

    Returns
    -------
    Path
        The results.

    Raises
    ------
    popk.PopkError
        If they cannot be written.
    """
    return add_to(Path(folder) / "results", files)


def add_to(place: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files into a folder, each whole; those of other names stay. Errors as in `add`."""
    for name, content in files.items():
        path = place / name
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise PopkError(
                Problem(
                    file=str(path),
                    found=f"a file that cannot be written ({error})",
                    expected="a folder that may be written, with space left",
                    cure="mend that and give the command again",
                ),
                unreadable=True,
            ) from None
    return place


def child(study: Study, spec: ModelSpec, depth: int) -> dict[str, str]:
    """A fit folder's files for another model and the same data.

    `depth` says how many folders below the study's own the new one lies.
    """
    import tomli_w

    up = "../" * depth
    fit_spec = study.spec.model_copy(
        update={"model": "model.toml", "data": f"{up}{study.spec.data}", "name": spec.name}
    )
    plain = {"mode": "json", "exclude_none": True, "exclude_defaults": True}
    note = "# SYNTHETIC DATA\n" if study.spec.synthetic else ""
    return {
        "model.toml": tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True)),
        "fit.toml": note + tomli_w.dumps(fit_spec.model_dump(**plain)),
    }


def _run_record(result: Fit | MaximumFit, said: Mapping[str, str]) -> str:
    record = {
        "name": result.name,
        "synthetic": result.synthetic,
        "converged": result.converged,
        "checks": [asdict(check) for check in result.checks],
        "provenance": asdict(result.provenance),
        "written": dict(said),
    }
    if isinstance(result, MaximumFit):
        record["objective"] = objective_of(result)
    # JSON has no NaN and no infinity: null
    finite = json.loads(json.dumps(record, default=_plain), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2, allow_nan=False)


def load(study: Study) -> Fit | MaximumFit:
    """Read the results of a fit folder: a posterior's, or maximum-likelihood estimates.

    Raises
    ------
    popk.PopkError
        If there are none, or they cannot be read.
    """
    _recover(study.folder)
    results = study.folder / "results"
    try:
        run_record = json.loads((results / "run.json").read_text(encoding="utf-8"))
        checks = tuple(
            Check(**{**check, "value": math.nan if check["value"] is None else check["value"]})
            for check in run_record["checks"]
        )
        provenance = Provenance(**run_record["provenance"])
        about = (checks, provenance, study.spec.dose, study.spec.synthetic, run_record["name"])
        if "objective" in run_record:
            with np.load(results / "estimates.npz", allow_pickle=False) as arrays:
                kept = maximum_from(dict(arrays), provenance.method)
            draws, observations = kept.samples.draws, kept.iwres.size
            _require_same_shape(study, (), draws, kept.ids, observations)
            return MaximumFit(
                study.model, study.data, kept.estimate, kept.etas, kept.iwres, kept.samples, *about
            )
        samples, subjects = _samples(results, provenance)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PopkError(
            Problem(
                file=str(results),
                found=f"no complete results ({type(error).__name__}: {error})",
                expected="run.json, and posterior.nc or estimates.npz, as a fit writes them",
                cure=f"run: popk fit {study.folder}",
            ),
            unreadable=True,
        ) from None
    names = (*study.model.population_names, *study.model.correlation_names)
    observations = samples.log_likelihood.shape[2]
    _require_same_shape(study, names, samples.draws, subjects, observations)
    found = diagnostics(samples.draws)
    return Fit(study.model, study.data, samples, checks, found, *about[1:])


def _samples(results: Path, provenance: Provenance) -> tuple[Posterior, tuple[str, ...]]:
    """The draws, and the subjects that they are of."""
    import arviz

    idata = arviz.from_netcdf(str(results / "posterior.nc"))
    subjects = tuple(map(str, idata["posterior"]["subject"].values))
    return samples_from(idata, provenance.method), subjects


def _require_same_shape(
    study: Study,
    names: tuple[str, ...],
    draws: Mapping[str, np.ndarray],
    subjects: tuple[str, ...],
    observations: int,
) -> None:
    """Refuse results whose numbers have no place in the tables of this model and these data."""
    model, data = study.model, study.data
    if (
        {*model.spec.parameters, *names} - draws.keys()
        or subjects != data.ids
        or observations != data.observations
    ):
        raise PopkError(
            Problem(
                file=str(study.folder / "results"),
                found="results of another model, or of other subjects or observations",
                expected="results of the model and data that fit.toml names",
                cure=f"run: popk fit {study.folder}",
            )
        )


def stale(study: Study, result: Fit | MaximumFit) -> list[str]:
    """What has changed since the results were made: "model", "data", "data as read", "sampler"."""
    now = hashes(study.model, study.data, study.spec.sampler)
    return [what for what, value in now.items() if result.provenance.hashes.get(what) != value]


def _old(folder: Path) -> Path:
    return folder / ".results-old"


def _recover(folder: Path) -> None:
    """Finish a replacement that was cut off between its two renames."""
    if _old(folder).exists() and not (folder / "results").exists():
        _old(folder).rename(folder / "results")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in run.json")


class _Key(NamedTuple):
    """A random key as a plain array."""

    data: np.ndarray


def save_state(path: Path, state: Any, key: str) -> None:
    """The state as plain arrays in its own records; written whole, then put in place."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        pickle.dump((key, jax.tree.map(_plain_leaf, state)), file)
    temporary.replace(path)


def load_state(path: Path, key: str, precision: str) -> Any:
    """The saved state, or None where there is none for this model, data and settings."""
    try:
        with path.open("rb") as file:
            saved_key, state = pickle.load(file)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, pickle.UnpicklingError):
        return None
    if saved_key != key:
        return None
    with jax.enable_x64(precision == "float64"):
        return jax.tree.map(_live_leaf, state, is_leaf=lambda leaf: isinstance(leaf, _Key))


def _plain_leaf(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return _Key(np.asarray(jax.random.key_data(leaf)))
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf


def _live_leaf(leaf: Any) -> Any:
    if isinstance(leaf, _Key):
        return jax.random.wrap_key_data(jnp.asarray(leaf.data))
    return leaf
