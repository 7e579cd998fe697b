"""What commands that simulate have in common: a fit or a model, and who is simulated."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from popk.cli import completion
from popk.cli.output import current

if TYPE_CHECKING:
    from popk.analysis.simulation.subjects import Subjects
    from popk.population.model import Model
    from popk.study.fit import Fit
    from popk.study.maximum import MaximumFit

Given = Annotated[
    Path,
    typer.Argument(
        metavar="FIT",
        help="A fit folder, or a model file: then its priors alone.",
        autocompletion=completion.fits_and_models,
    ),
]
Count = Annotated[int, typer.Option(help="Virtual subjects.", min=1)]
Ages = Annotated[str, typer.Option(help="Ages of virtual infants, e.g. '0 month to 12 month'.")]
Girls = Annotated[float, typer.Option(help="Share of girls.")]
Formula = Annotated[str, typer.Option(help="Of body-surface area: haycock, mosteller, ...")]
Resample = Annotated[
    bool, typer.Option("--resample", help="The data's own subjects, drawn again, instead.")
]
Groups = Annotated[
    str | None, typer.Option(help="Limits of age groups, e.g. '3 month, 6 month, 12 month'.")
]
Seed = Annotated[int, typer.Option(help="Of all random numbers.")]
Out = Annotated[Path | None, typer.Option(help="Where results go; by default results/ of the fit.")]
Uncertainty = Annotated[
    bool, typer.Option(help="Each subject with its own draw of the parameters.")
]

Kind = Annotated[Literal["parquet", "csv"], typer.Option("--format", help="Of large tables.")]


def source_and_place(
    given: Path, out: Path | None, kind: str
) -> "tuple[Fit | MaximumFit | Model, Path]":
    """A fit or a model, and the folder of the results."""
    from popk.population.model import Model
    from popk.spec.model import read_model
    from popk.spec.problem import PopkError, Problem
    from popk.study.folder import load, open_study

    if given.suffix == ".toml" and given.name != "fit.toml":
        model = Model(read_model(given))
        if out is None:
            raise PopkError(
                Problem(
                    file="command line", key="--out", found=f"the model file {given} alone",
                    expected="a folder for the results: a model has none of its own",
                    cure="add for example --out simulated",
                )
            )  # fmt: skip
        return model, out
    study = open_study(given)
    return current(load(study), study), out or study.folder / "results" / kind


def subjects_of(
    source: "Fit | MaximumFit | Model",
    count: int,
    age: str,
    female: float,
    formula: str,
    grow: bool,
    resample: bool,
) -> "Subjects":
    from popk.analysis.simulation.subjects import Subjects
    from popk.population.model import Model
    from popk.spec.problem import PopkError, Problem
    from popk.spec.record import validate
    from popk.spec.virtual import Virtual

    data = None if isinstance(source, Model) else source.data
    if resample:
        if data is None or grow:
            raise PopkError(
                Problem(
                    file="command line", key="--resample",
                    found="a model file without data" if data is None else "--resample with --grow",
                    expected="subjects of a fit's data, at baseline",
                    cure="leave out --resample" if data is None else "leave out one of the two",
                )
            )  # fmt: skip
        return Subjects.resampled(count, data)
    spec = {"age": between(age, "--age"), "female": female, "formula": formula, "grow": grow}
    return Subjects.virtual(count, validate(Virtual, spec, "command line"), like=data)


def warn(source: "Fit | MaximumFit | Model", whole: "Subjects") -> None:
    """What had to be assumed about the subjects, on standard error."""
    from rich.console import Console

    from popk.population.model import Model
    from popk.report import terminal

    model = source if isinstance(source, Model) else source.model
    found = whole.warnings_for(model.spec)
    if found:
        Console(stderr=True, highlight=False).print(terminal.problems(found), markup=False)


def between(text: str, key: str) -> tuple[str, str]:
    """Two quantities from ``500 to 900 pg/mL``; the unit of the second serves the first too."""
    from popk.spec.problem import PopkError, Problem
    from popk.spec.units import UnitError, split_quantity

    parts = [part.strip() for part in text.split(" to ")]
    try:
        (low, low_unit), (high, high_unit) = (split_quantity(part) for part in parts)
    except (UnitError, ValueError) as error:
        raise PopkError(
            Problem(
                file="command line", key=key, found=f"{text!r} ({error})",
                expected="two quantities, the lower one first",
                cure="write for example '500 to 900 pg/mL' or '0 month to 12 month'",
            )
        ) from None  # fmt: skip
    return f"{low:g} {low_unit or high_unit}".strip(), f"{high:g} {high_unit}".strip()


def listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]
