"""models/NONMEM.md: what it shows is read by popk, and its commands run."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
import typer

from popk.cli import app
from popk.spec.fit import FitSpec
from popk.spec.model import ModelSpec, read_model
from popk.spec.problem import PopkError
from popk.spec.record import validate
from tests.cli.conftest import CLEAN, NOT_CONVERGED, command

MODELS = Path(__file__).parents[2] / "models"
PAGE = (MODELS / "NONMEM.md").read_text(encoding="utf-8")
BASE = tomllib.loads((MODELS / "bolus_1cpt_wt.toml").read_text(encoding="utf-8"))
FIT = {"model": "model.toml", "data": "data.csv"}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("popk ")
]
ROWS = [
    snippets
    for line in PAGE.splitlines()
    if line.startswith("| ")
    and (snippets := [s for s in re.findall(r"`([^`]+)`", line.split(" | ")[-1]) if " = " in s])
]


def test_the_model_is_the_one_that_is_named():
    whole = max(blocks("toml"), key=len)
    shown = validate(
        ModelSpec, {"name": BASE["name"], "units": BASE["units"], **tomllib.loads(whole)}
    )
    assert shown == read_model(MODELS / "bolus_1cpt_wt.toml")


def test_the_fit_file_is_read():
    (part,) = [block for block in blocks("toml") if "[sampler]" in block]
    assert validate(FitSpec, FIT | tomllib.loads(part)).sampler.method == "focei"


def places(own: dict) -> list[tuple[type, dict]]:
    """Files in which these keys stand where the page says that they do."""
    effect = {"parameter": "CL", "covariate": "AGE",
              "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5}}  # fmt: skip
    cl = BASE["parameters"]["CL"]
    return [
        (ModelSpec, BASE | {"covariates": [effect | own]}),
        (ModelSpec, BASE | {"parameters": BASE["parameters"] | {"CL": cl | own}}),
        (ModelSpec, BASE | {"correlation": own}),
        (FitSpec, FIT | own),
        (FitSpec, FIT | {"columns": own}),
        (FitSpec, FIT | {"rows": own}),
        (FitSpec, FIT | {"sampler": own}),
    ]


@pytest.mark.parametrize("snippets", ROWS, ids=" ".join)
def test_a_line_of_a_table_is_read(snippets):
    own: dict = {}
    for snippet in snippets:
        text = f"typical = {snippet}" if snippet.startswith("{ prior") else snippet
        text = text if not text.startswith("{ ignore") else f"COLUMN = {text}"
        own |= tomllib.loads(text.replace("{...}", "{}"))
    read = 0
    for kind, content in places(own):
        try:
            validate(kind, content)
            read += 1
        except PopkError:
            continue
    assert read == 1


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_is_understood(arguments):
    group = typer.main.get_command(app)
    name, *rest = arguments
    own = group.commands[name]  # type: ignore[attr-defined]
    assert own.make_context(name, rest).params


def test_every_command_that_is_named_exists():
    names = set(re.findall(r"`popk (\w+)", PAGE))
    group = typer.main.get_command(app)
    assert names <= set(group.commands)  # type: ignore[attr-defined]
    assert len(names) > 10


@pytest.mark.slow
def test_the_commands_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(MODELS.parent / "fits" / "phenobarb-neonates" / "data.csv", "data.csv")
    for arguments in COMMANDS:
        result = command(*arguments)
        # NPDE of these data are worth a look; nothing else may fail
        assert result.code in ((CLEAN, NOT_CONVERGED) if arguments[0] == "diagnose" else (CLEAN,))
