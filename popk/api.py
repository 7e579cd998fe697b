"""The calls that a notebook starts with. Thin: each hands on to the room that does the work."""

from pathlib import Path
from typing import Any

from popk.analysis.simulation.subjects import Subjects
from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data as read_nonmem
from popk.population.model import Model
from popk.spec.fit import DataSpec, Dose, Sampler
from popk.spec.model import read_model
from popk.spec.record import validate
from popk.spec.virtual import Virtual
from popk.study import folder
from popk.study.compiled import keep_compiled
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit
from popk.study.maximum import MaximumFit, maximum


def read_data(path: str | Path, spec: DataSpec | None = None, **options: Any) -> Dataset:
    """Read a NONMEM-style file.

    Parameters
    ----------
    path
        The CSV file.
    spec
        What its columns mean, as in fit.toml.
    options
        The same as keywords: ``columns={"WT": {"covariate": True, "unit": "kg"}}``,
        ``derived={"BSA": {"formula": "haycock"}}``, ``rows={"accept": {"SD": [1]}}``,
        ``interpolation="locf"``, ``delimiter=";"``.

    Raises
    ------
    PopkError
        With every problem found: file, line, ID, found, expected, cure.
    """
    return read_nonmem(path, spec or validate(DataSpec, options, "read_data"))


def load_model(path: str | Path) -> Model:
    """Read a model file and compile it.

    Raises
    ------
    PopkError
        With every fault: file, key, found, nearest valid word.
    """
    return Model(read_model(path))


def fit(
    model: Model,
    data: Dataset,
    *,
    dose: str | None = None,
    synthetic: bool = False,
    **sampler: Any,
) -> Fit | MaximumFit:
    """Sample the posterior of a model given data, or maximise its likelihood.

    Parameters
    ----------
    model, data
        From `load_model` and `read_data`.
    dose
        The nominal dose that the tables refer to, e.g. ``"15 ug/m^2/day"``.
    synthetic
        True where the data are simulated: every table says so.
    sampler
        As in [sampler] of fit.toml: ``draws=1000, seed=1, chains=4, precision="float64"``;
        ``method="focei"`` for maximum likelihood.

    Returns
    -------
    Fit or MaximumFit
        Immutable; `Fit.posterior` is an ArviZ InferenceData, `Fit.converged` and `Fit.checks`
        say whether it may be believed.
    """
    keep_compiled()
    settings = validate(Sampler, sampler, "fit")
    return (maximum if settings.maximises else run_fit)(
        model,
        data,
        settings,
        dose=None if dose is None else validate(Dose, {"nominal": dose}, "fit"),
        synthetic=synthetic,
    )


def virtual_infants(count: int, *, like: Dataset | None = None, **spec: Any) -> Subjects:
    """Virtual infants by the WHO Child Growth Standards, for `popk.simulate`.

    Parameters
    ----------
    count
        How many.
    like
        Data whose units and codes their covariates have, e.g. those of a fit.
    spec
        ``age=("0 month", "12 month")``, ``female=0.5``, ``formula="haycock"``, ``grow=False``.

    Raises
    ------
    PopkError
        If ages make no sense or lie beyond the standards.
    """
    return Subjects.virtual(count, validate(Virtual, spec, "virtual_infants"), like=like)


def resampled(count: int, data: Dataset) -> Subjects:
    """The subjects of data, with their covariates at baseline, drawn again: for `popk.simulate`."""
    return Subjects.resampled(count, data)


def load_fit(path: str | Path) -> Fit | MaximumFit:
    """Read the results of a fit folder, without sampling again.

    Raises
    ------
    PopkError
        If there are none.
    """
    return folder.load(folder.open_study(path))
