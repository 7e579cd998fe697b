"""Every command speaks JSON: nothing else on standard output, no NaN, also where it refuses."""

import pytest
import typer

from popk.cli import app
from tests.cli.conftest import CLEAN, PROBLEMS, UNREADABLE, command, strict_json

GROUP = typer.main.get_command(app)
COMMANDS: dict[str, typer.core.TyperCommand] = GROUP.commands  # type: ignore[attr-defined]
ALWAYS = {"schema"}
"""Prints JSON whatever it is asked."""

NOWHERE = {
    "calibrate": ["no.toml", "--design", "nowhere"],
    "compare": ["nowhere", "elsewhere"],
    "dose": ["nowhere", "--patient", "no.toml"],
    "init": ["new", "--data", "no.csv"],
    "plot": ["nowhere", "--what", "vpc"],
    "regimens": ["no.toml"],
    "simulate": ["nowhere", "--regimen", "standard"],
    "target": ["nowhere", "--window", "500 to 900 pg/mL"],
}
"""Arguments that name files that are not there; of the other commands: one folder."""


def test_every_command_has_the_option():
    without = {
        name
        for name, own in COMMANDS.items()
        if not any("--json" in parameter.opts for parameter in own.params)
    }
    assert without == ALWAYS


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - ALWAYS))
def test_a_refusal_is_json_too(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(name, *NOWHERE.get(name, ["nowhere"]), "--json")
    assert result.code in (PROBLEMS, UNREADABLE)
    problems = strict_json(result.out)["problems"]
    assert problems
    assert all(own["found"] and own["expected"] and own["cure"] for own in problems)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["schema"], ["schema", "fit"], ["regimens", "--json"], ["regimens", "step", "--json"],
     ["init", "new", "--json"], ["plot", "nowhere", "--json"]],
    ids=" ".join,
)  # fmt: skip
def test_what_is_told_at_once(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert result.code == CLEAN
    assert strict_json(result.out)
    assert result.err == ""
