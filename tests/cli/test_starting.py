"""The first minutes: popk alone, popk init, and that what it writes fits anywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from popk.cli import app
from popk.study.folder import CHECKPOINT, add_to
from popk.study.written import written
from tests.cli.conftest import CLEAN, PROBLEMS, UNREADABLE, command, strict_json, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- popk alone -----------------------------------------------------------------------------


def test_where_there_is_nothing_it_says_how_to_begin(here):
    result = command()
    assert result.code == CLEAN
    for word in ("popk init my-study", "--example blinatumomab-infants", "--data FILE.csv"):
        assert word in result.out.split("Usage")[0]


def test_each_fit_with_its_state_and_the_next_command(here):
    write(here / "fits" / "new")
    write(here / "fits" / "half")
    (here / "fits" / "half" / CHECKPOINT).write_bytes(b"")
    done = write(here / "done")
    record = {"converged": True, "written": written(done)}
    add_to(done / "results", {"run.json": json.dumps(record)})
    lines = command().out.splitlines()
    (line,) = [line for line in lines if line.startswith("fits/new")]
    assert "SYNTHETIC" in line
    assert "never fitted" in line
    assert line.rstrip().endswith("popk fit fits/new")
    assert any("interrupted" in line and "popk fit fits/half" in line for line in lines)
    assert any("converged" in line and "popk diagnose done" in line for line in lines)
    add_to(done / "results", {"checks/verdicts.csv": ""})
    assert "popk report done" in command().out
    (done / "data.csv").write_text("ID", encoding="utf-8")
    assert any("STALE" in line and "popk fit done" in line for line in command().out.splitlines())


def test_commands_stand_in_groups(here):
    text = command().out
    places = [text.index(own) for own in (
        "Data and fits", "Is it right?", "Covariates", "Simulation and dosing", "Trial design",
        "Output",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "Commands" not in text  # none is left outside
    names = {own.name or own.callback.__name__ for own in app.registered_commands if own.callback}
    assert all(f"│ {name} " in text for name in names)


def test_it_is_quick():
    """Nothing that takes seconds to import; typer itself brings pydantic."""
    heavy = {"jax", "numpy", "numpyro", "arviz", "pandas", "scipy", "pint", "matplotlib"}
    code = (
        "import sys; sys.argv = ['popk']\n"
        "from popk.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"print('loaded:', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "loaded: []"
    assert "fits/phenobarb-neonates" in done.stdout


# --- init -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [[], ["--example", "blinatumomab-infants"], ["--example", "phenobarb-neonates"]]
)
def test_what_init_writes_is_without_problems(here, options):
    result = command("init", "new study", *options)
    assert result.code == CLEAN
    assert "next: popk fit new study" in result.out
    assert "no problems" in command("check", "new study").out


def test_init_as_json(here):
    record = strict_json(command("init", "one", "--json").out)
    assert record == {
        "folder": "one", "files": ["data.csv", "fit.toml", "model.toml"], "next": "popk fit one"
    }  # fmt: skip


def test_init_never_overwrites_and_its_cure_works(here):
    assert command("init", "one").code == CLEAN
    before = {path: path.read_bytes() for path in (here / "one").iterdir()}
    result = command("init", "one", "--example", "phenobarb-neonates")
    assert result.code == PROBLEMS
    assert "not empty" in result.err
    (problem,) = strict_json(command("init", "one", "--json").out)["problems"]
    cure = problem["cure"].partition("popk ")[2].split()
    assert command(*cure).code == CLEAN
    assert before == {path: path.read_bytes() for path in (here / "one").iterdir()}


def test_an_unknown_example_and_its_cure(here):
    (problem,) = strict_json(command("init", "one", "--example", "phenobarb", "--json").out)[
        "problems"
    ]
    assert command("init", "one", *problem["cure"].removeprefix("write ").split()).code == CLEAN


def test_around_ones_own_data(here):
    shutil.copy(ROOT / "fits" / "phenobarb-neonates" / "data.csv", "raw.csv")
    result = command("init", "own", "--data", "raw.csv", "--units", "h, mg, mg/L")
    assert result.code == CLEAN
    assert "59 subjects, 744 rows" in result.out
    assert "ID, TIME, AMT, RATE, DV, EVID, MDV" in result.out
    assert "WT, APGR" in result.out
    found = command("check", "own")
    assert found.code == PROBLEMS  # the medians of the priors are the user's to fill in
    assert found.err.count("write a number above 0") == 2
    model = here / "own" / "model.toml"
    model.write_text(model.read_text("utf-8").replace('median = "?"', "median = 0.5"), "utf-8")
    assert command("check", "own").code == CLEAN


def test_around_data_as_json(here):
    (here / "raw.csv").write_text("ID,time,AMT,DV,WT\n1,0,5,.,3\n1,1,0,2,3\n", encoding="utf-8")
    record = strict_json(command("init", "own", "--data", "raw.csv", "--json").out)
    assert record["taken"]["TIME"] == "time"
    assert (record["not_read"], record["missing"]) == (["WT"], [])
    assert record["units"] == ["?", "?", "?"]


def test_options_that_do_not_go_together(here):
    assert command("init", "a", "--units", "h, mg, mg/L").code == 2
    assert command("init", "a", "--data", "x.csv", "--example", "phenobarb-neonates").code == 2
    assert command("init", "a", "--data", "none.csv").code == UNREADABLE
    assert not (here / "a").exists()


SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the data that may not be shipped are not here")
@pytest.mark.parametrize("name", ["phenobarb", "infusion_1cpt", "remifentanil"])
def test_data_sets_as_they_are(here, name):
    """Their header is understood, and what stands in the way is said with its cure."""
    assert command("init", name, "--data", SHARED / f"{name}.csv").code == CLEAN
    result = command("check", SHARED / f"{name}.csv")
    if name == "phenobarb":
        assert result.code == CLEAN
    elif name == "infusion_1cpt":  # SS = 99 on samples
        assert "SS = {ignore = true}" in result.err
        fit = here / name / "fit.toml"
        text = fit.read_text("utf-8").replace('unit = "?"', 'unit = "h"', 1)
        text = text.replace('unit = "?"', 'unit = "ug"', 1).replace(
            'unit = "?"', 'unit = "ug/L"', 1
        )
        text = text.replace(
            "[columns]\n", "[columns]\nSS = {ignore = true}\nII = {ignore = true}\n"
        )
        fit.write_text(text, "utf-8")
        shutil.copy(ROOT / "models" / "infusion_1cpt.toml", here / name / "model.toml")
        assert command("check", name).code == CLEAN
    else:
        assert 'Amt = {item = "AMT"}' in result.err


# --- installed ------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_installed_wheel_has_the_examples_and_fits_anywhere(tmp_path):
    """From a wheel, away from the repository: popk init my-study && popk fit my-study."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True, timeout=600)
    (wheel,) = wheels.glob("popk-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True, timeout=600)
    assert not list((site / "popk" / "examples").rglob("results"))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    place = tmp_path / "elsewhere"
    place.mkdir()

    def popk(*arguments: str) -> str:
        code = "import popk; from popk.cli import main; print(popk.__file__); main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True,
            timeout=600, cwd=place, env=environment,
        )  # fmt: skip
        assert done.stdout.startswith(str(site))
        return done.stdout

    popk("init", "my-study")
    assert "NOT CONVERGED" not in popk("fit", "my-study")
    for example in ("blinatumomab-infants", "phenobarb-neonates"):
        popk("init", example, "--example", example)
        assert "no problems" in popk("check", example)
    assert "popk diagnose my-study" in popk()
