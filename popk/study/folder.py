"""A fit folder: fit.toml in, results/ out; replaced whole or not at all; resumed if interrupted."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.inference.convergence import Check, diagnostics
from popk.inference.posterior import Progress
from popk.population.model import Model
from popk.spec.fit import FitSpec, read_fit
from popk.spec.model import read_model
from popk.spec.problem import PopkError, Problem
from popk.study.fit import Fit, Provenance, fit, hashes, prepare, versions
from popk.study.labelled import samples_from

CHECKPOINT = ".checkpoint.npz"
SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Study(NamedTuple):
    """What a fit folder names: its settings, model and data, read and checked."""

    folder: Path
    spec: FitSpec
    model: Model
    data: Dataset


def open_study(folder: str | Path) -> Study:
    """Read fit.toml and the model and data that it points to.

    Raises
    ------
    popk.PopkError
        With every fault of the first file that has any.
    """
    path = Path(folder)
    folder = path if path.is_dir() or path.suffix != ".toml" else path.parent
    spec = read_fit(folder / "fit.toml" if folder != path.parent or path.is_dir() else path)
    model = Model(read_model(folder / spec.model))
    return Study(folder, spec, model, read_data(folder / spec.data, spec))


def run(
    study: Study,
    tables: Callable[[Fit], dict[str, str]],
    watch: Callable[[Progress], None] | None = None,
) -> Fit:
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
            _save_state(checkpoint, state, key)
            saved = time.monotonic()
        if watch is not None:
            watch(progress)

    try:
        result = fit(
            study.model,
            study.data,
            study.spec.sampler,
            dose=study.spec.dose,
            synthetic=study.spec.synthetic,
            name=study.spec.name or study.folder.resolve().name,
            state=_load_state(checkpoint, key, study),
            watch=keep,
        )
    except KeyboardInterrupt:
        if latest is not None:
            _save_state(checkpoint, latest, key)
        raise
    save(result, study.folder, tables(result))
    checkpoint.unlink(missing_ok=True)
    return result


def save(result: Fit, folder: str | Path, tables: dict[str, str]) -> None:
    """Write results/ whole, then put it in the place of the old one."""
    folder = Path(folder)
    _recover(folder)
    new, old, place = folder / f".results-{os.getpid()}", _old(folder), folder / "results"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        result.posterior.to_netcdf(str(new / "posterior.nc"))
        (new / "run.json").write_text(
            json.dumps(
                {
                    "name": result.name,
                    "synthetic": result.synthetic,
                    "converged": result.converged,
                    "checks": [asdict(check) for check in result.checks],
                    "provenance": asdict(result.provenance),
                },
                indent=2,
                default=_plain,
            ),
            encoding="utf-8",
        )
        for name, text in tables.items():
            (new / name).write_text(text, encoding="utf-8")
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def load(study: Study) -> Fit:
    """Read the results of a fit folder.

    Raises
    ------
    popk.PopkError
        If there are none, or they cannot be read.
    """
    import arviz

    _recover(study.folder)
    results = study.folder / "results"
    try:
        run_record = json.loads((results / "run.json").read_text(encoding="utf-8"))
        samples = samples_from(
            arviz.from_netcdf(str(results / "posterior.nc")), run_record["provenance"]["method"]
        )
        checks = tuple(Check(**check) for check in run_record["checks"])
        provenance = Provenance(**run_record["provenance"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PopkError(
            Problem(
                file=str(results),
                found=f"no complete results ({type(error).__name__}: {error})",
                expected="run.json and posterior.nc as a fit writes them",
                cure=f"run: popk fit {study.folder}",
            ),
            unreadable=True,
        ) from None
    return Fit(
        study.model,
        study.data,
        samples,
        checks,
        diagnostics(samples.draws),
        provenance,
        study.spec.dose,
        study.spec.synthetic,
        run_record["name"],
    )


def stale(study: Study, result: Fit) -> list[str]:
    """What has changed since the results were made: "data", "model", "sampler"."""
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


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _save_state(path: Path, state: Any, key: str) -> None:
    leaves = [
        np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(state)
    ]
    arrays: dict[str, Any] = {f"leaf{i}": leaf for i, leaf in enumerate(leaves)}
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **arrays, key=np.array(key))
    temporary.replace(path)


def _load_state(path: Path, key: str, study: Study) -> Any:
    """The saved state, or None where there is none for this model, data and settings."""
    try:
        with np.load(path) as file:
            if str(file["key"]) != key:
                return None
            leaves = [file[f"leaf{i}"] for i in range(len(file.files) - 1)]
    except (OSError, ValueError, KeyError):
        return None
    with jax.enable_x64(study.spec.sampler.precision == "float64"):
        fresh, shape = jax.tree.flatten(
            prepare(study.model, study.data, study.spec.sampler).start()
        )
        if len(fresh) != len(leaves):
            return None
        return jax.tree.unflatten(
            shape, [_restored(saved, like) for saved, like in zip(leaves, fresh, strict=True)]
        )


def _restored(saved: np.ndarray, like: Any) -> Any:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(saved))
    if isinstance(like, jax.Array):
        return jnp.asarray(saved, like.dtype)
    return saved.item() if isinstance(like, int) else saved
