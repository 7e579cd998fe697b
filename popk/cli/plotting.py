"""Command: plot."""

from pathlib import Path
from typing import Annotated

import typer

from popk.cli import completion
from popk.cli.app import BEGINS_ANEW, OUTPUT, Folder, Json, app
from popk.cli.output import current, interruptible, write


@app.command(rich_help_panel=OUTPUT)
def plot(
    folder: Folder,
    what: Annotated[
        str,
        typer.Option(
            help="Figures by name, with commas between; 'all', or 'list'.",
            autocompletion=completion.figures,
        ),
    ] = "list",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="svg, pdf, png: one or more, with commas between.",
            autocompletion=completion.listed("svg", "pdf", "png"),
        ),
    ] = "svg",
    width: Annotated[
        str, typer.Option(help="single (85 mm), double (180 mm), or a number of mm.")
    ] = "double",
    out: Annotated[
        Path | None, typer.Option(help="Where files go; by default results/figures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Figures for print: SVG, PDF with its fonts, PNG at 300 dots per inch.

    Without --what it lists all figures with a line each. Only what is asked for is computed.
    Figures of simulations and doses are written by simulate, target and dose.
    """
    from rich.console import Console

    from popk.analysis.asked import Analyses
    from popk.report.plots.catalogue import CATALOGUE, known, listed, named, pages
    from popk.report.plots.style import FORMATS, encoded, wide
    from popk.report.progress import told
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to, load, open_study

    if what.strip() == "list":
        if as_json:
            write({"figures": {name: entry.says for name, entry in CATALOGUE.items()}})
        else:
            write(listed(), "", f"e.g. popk plot {folder} --what vpc,forest --format pdf,png")
        return
    wanted = named(_parts(what))
    forms = known(_parts(form), FORMATS, "--format", "format")
    inches = wide(width)
    keep_compiled()
    study = open_study(folder)
    own = Analyses(
        current(load(study), study),
        candidates=study.spec.candidates or None,
        no_effect=study.spec.no_effect,
        settings=None if study.spec.sampler.maximises else study.spec.sampler,
    )
    console = Console(stderr=True, highlight=False)
    files: dict[str, bytes] = {}
    missing = []
    with interruptible(BEGINS_ANEW), told(console, "figures") as watch:
        for name in wanted:
            watch(name)
            drawn = pages(name, own, inches)
            if not drawn:
                missing.append(name)
            for i, figure in enumerate(drawn, start=1):
                number = f"_{i}" if len(drawn) > 1 else ""
                files |= {f"{name}{number}.{kind}": encoded(figure, kind) for kind in forms}
    place = out or study.folder / "results" / "figures"
    add_to(place, files)
    if as_json:
        write({"folder": str(place), "files": sorted(files), "nothing_to_show": missing})
        return
    lines = [f"{name}: nothing to show; it needs {CATALOGUE[name].needs}" for name in missing]
    write(*lines, f"figures: {place}: {', '.join(sorted(files)) or 'none'}")


def _parts(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
