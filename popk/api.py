"""The calls that a notebook starts with. Thin: each hands on to the room that does the work."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from popk.analysis.simulation.subjects import Subjects
from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data as read_nonmem
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.report.progress import shown
from popk.spec.fit import DataSpec, Dose, Sampler
from popk.spec.model import read_model
from popk.spec.patient import PatientSpec
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

    Returns
    -------
    Dataset
        What the file says, [subject, record], in the file's units: see `Dataset`.

    Raises
    ------
    PopkError
        With every problem found: file, line, ID, found, expected, cure.
    """
    return read_nonmem(path, spec or validate(DataSpec, options, "read_data"))


def load_model(path: str | Path) -> Model:
    """Read a model file and compile it.

    Parameters
    ----------
    path
        A TOML file such as ``models/infusion_1cpt_bsa.toml``.

    Returns
    -------
    Model
        A NumPyro model; what the file says is its `spec`.

    Raises
    ------
    PopkError
        With every fault: file, key, found, nearest valid word.
    """
    return Model(read_model(path))


def events(model: Model, data: Dataset) -> Events:
    """A data set as the arrays that a model takes, to use it as a NumPyro model.

    ``numpyro.infer.MCMC(NUTS(model), ...).run(key, popk.events(model, data))`` samples the same
    posterior as `fit`; in float64 after ``numpyro.enable_x64()``.

    Parameters
    ----------
    model, data
        From `load_model` and `read_data`.

    Returns
    -------
    Events
        [subject, step], in the model's units; see `popk.population.events.Events`.

    Raises
    ------
    PopkError
        If the data lack what the model needs.
    """
    return arrange(model.spec, data)[0]


def fit(
    model: Model,
    data: Dataset,
    *,
    dose: str | None = None,
    synthetic: bool = False,
    progress: bool | None = None,
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
    progress
        Whether to show how far it is; by default in a notebook only.
    sampler
        As in [sampler] of fit.toml: ``draws=1000, seed=1, chains=4, precision="float64"``;
        ``method="focei"`` for maximum likelihood.

    Returns
    -------
    Fit or MaximumFit
        Immutable; `Fit.posterior` is an ArviZ InferenceData, `Fit.converged` and `Fit.checks`
        say whether it may be believed.

    Raises
    ------
    PopkError
        If a setting has no such value, or the data lack what the model or the dose needs.
    """
    keep_compiled()
    settings = validate(Sampler, sampler, "fit")
    console = Console()
    watched = console.is_jupyter if progress is None else progress
    with shown(console) if watched else nullcontext() as show:
        return (maximum if settings.maximises else run_fit)(
            model,
            data,
            settings,
            dose=None if dose is None else validate(Dose, {"nominal": dose}, "fit"),
            synthetic=synthetic,
            watch=None if show is None else lambda reached, _: show(reached),
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

    Returns
    -------
    Subjects
        Made when they are simulated: age (months), sex, weight (kg), length (cm), BSA (m²), in
        the units of `like` where it is given.

    Raises
    ------
    PopkError
        If ages make no sense or lie beyond the standards.
    """
    return Subjects.virtual(count, validate(Virtual, spec, "virtual_infants"), like=like)


def patient(**spec: Any) -> PatientSpec:
    """One new infant in Python, for `popk.patient_dose`; `popk.read_patient` reads one from a file.

    Parameters
    ----------
    spec
        As in a patient file: ``id="new-1"``, ``covariates={"AGE": "5.2 month", "WT": "7.1 kg"}``,
        ``given=[{"infusion": "15 ug/m^2/day", "duration": "28 day"}]``,
        ``samples=[{"time": "24 h", "DV": "650 pg/mL"}]``,
        ``target={"window": ("500 pg/mL", "900 pg/mL")}``.

    Returns
    -------
    PatientSpec
        Checked, and immutable.

    Raises
    ------
    PopkError
        With every fault found.
    """
    return validate(PatientSpec, spec, "patient")


def resampled(count: int, data: Dataset) -> Subjects:
    """The subjects of data, with their covariates at baseline, drawn again: for `popk.simulate`.

    Parameters
    ----------
    count
        How many, 1 or more.
    data
        From `read_data`, or the `data` of a fit.

    Returns
    -------
    Subjects
        Drawn when they are simulated, with replacement, in the units of the data.

    Raises
    ------
    PopkError
        When they are drawn, if there is no subject to draw or the data have no covariates.
    """
    return Subjects.resampled(count, data)


def load_fit(path: str | Path) -> Fit | MaximumFit:
    """Read the results of a fit folder, without sampling again.

    Parameters
    ----------
    path
        A fit folder, or its fit.toml.

    Returns
    -------
    Fit or MaximumFit
        By the method that the fit was made with.

    Raises
    ------
    PopkError
        If there are none.
    """
    return folder.load(folder.open_study(path))
