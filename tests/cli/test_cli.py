"""The command `popk`: what it prints, its exit codes, and what it does with bad files."""

import json
import subprocess
import sys

import pytest

import popk
import popk.study.folder
from tests.cli.conftest import (
    CLEAN,
    DATA,
    FIT,
    HEAD,
    INTERRUPTED,
    MODEL,
    NOT_CONVERGED,
    PROBLEMS,
    SAMPLES,
    UNREADABLE,
    command,
    results,
    strict_json,
    write,
)

# --- start ----------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    """What `popk --help` needs answers in well under a second; these would take several."""
    heavy = {"jax", "numpyro", "arviz", "arviz_stats", "pandas", "scipy", "pint", "pydantic"}
    code = (
        "import sys; sys.argv = ['popk', '--help']\n"
        "from popk.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        f"print('loaded:', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"
    for word in ("check", "fit", "summary", "schema"):
        assert word in done.stdout


def test_installed_command_gives_the_exit_code(tmp_path):
    code = "from popk.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "check", tmp_path / "nowhere.csv"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == UNREADABLE
    assert "nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr


# --- fit and summary ------------------------------------------------------------------------


def test_fit_that_converges(fitted):
    folder, result = fitted
    assert result.code == CLEAN
    assert set(results(folder)) >= {"run.json", "posterior.nc", "parameters.csv", "individuals.csv"}
    assert "little [bold] fit: model steady [b]" in result.out
    assert "NOT CONVERGED" not in result.out
    for part in ("TVCL", "omega_CL", "sigma", "R-hat", "ESS bulk", "divergences", "E-BFMI"):
        assert part in result.out
    assert "Css at 1 ug/kg/h".replace("ug", "µg") in result.out


def test_tables_say_that_the_data_are_synthetic(fitted):
    folder, result = fitted
    assert result.words.count("SYNTHETIC DATA") >= 2
    for name in ("parameters.csv", "individuals.csv"):
        assert results(folder)[name].decode().startswith("# SYNTHETIC DATA")


def test_ids_are_text_and_no_markup(fitted):
    first = [line.split()[0] for line in fitted[1].out.splitlines() if line.split()]
    for who in SAMPLES:
        assert first.count(who) == 1, who


def test_summary_prints_the_tables_again(fitted, folder):
    before = results(folder)
    summary = command("summary", folder)
    assert summary.code == CLEAN
    assert results(folder) == before
    assert "STALE" not in summary.out

    def tables(text):
        return text[text.index("check ") : text.index("results: ")]

    assert tables(summary.out) == tables(fitted[1].out)


def test_json_of_a_summary(folder):
    result = command("summary", folder, "--json")
    assert result.code == CLEAN
    record = strict_json(result.out)
    assert record["converged"] is True
    assert record["synthetic"] is True
    assert record["stale"] == []
    assert set(record["parameters"]) == {"TVCL", "omega_CL", "sigma"}
    assert set(record["individuals"]) == set(SAMPLES)
    row = record["parameters"]["TVCL"]
    assert row["q5"] < row["median"] < row["q95"]
    assert record["units"]["Css_nominal"] == "ug/L"
    assert record["paper_line"]["css_mean"] > 0
    assert {check["name"] for check in record["checks"]} >= {"R-hat", "ESS bulk", "divergences"}


def test_stale_results_are_reported(folder):
    (folder / "data.csv").write_text(DATA.replace(",1.4,", ",1.6,"), encoding="utf-8")
    result = command("summary", folder)
    assert result.code == CLEAN
    assert result.out.startswith("STALE: data")
    assert f"popk fit {folder}" in result.words.replace("- ", "-")
    assert strict_json(command("summary", folder, "--json").out)["stale"][0] == "data"


def test_failed_check_is_said_first_and_gives_its_own_exit_code(folder):
    path = folder / "results" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["checks"][0] |= {"passed": False, "value": None}  # not a number
    path.write_text(json.dumps(record), encoding="utf-8")
    result = command("summary", folder)
    assert result.code == NOT_CONVERGED
    assert result.out.index("NOT CONVERGED") < result.out.index("TVCL")
    assert "NOT CONVERGED" in result.out.splitlines()[1]  # in a frame
    record = command("summary", folder, "--json")
    assert record.code == NOT_CONVERGED
    assert strict_json(record.out)["converged"] is False


def test_fit_that_does_not_converge(tmp_path):
    short = FIT + 'method = "nuts"\ndraws = 8\nwarmup = 8\nchains = 1\n'
    folder = write(tmp_path / "short", fit=short)
    result = command("fit", folder, "--json")
    assert result.code == NOT_CONVERGED
    record = strict_json(result.out)
    assert record["converged"] is False
    assert not all(check["passed"] for check in record["checks"])
    assert "draws" in result.err  # progress does not disturb the JSON
    strict_json((folder / "results" / "run.json").read_text(encoding="utf-8"))
    assert command("summary", folder).code == NOT_CONVERGED


def test_interrupt(folder, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = results(folder)
    monkeypatch.setattr(popk.study.folder, "run", interrupted)
    result = command("fit", folder)
    assert result.code == INTERRUPTED
    assert "the same command goes on" in result.err
    assert results(folder) == before


def test_summary_of_nothing(tmp_path):
    folder = write(tmp_path / "new")
    result = command("summary", folder)
    assert result.code == UNREADABLE
    assert "popk fit" in result.err


def test_summary_of_broken_results(folder):
    (folder / "results" / "posterior.nc").write_bytes(b"not netCDF")
    result = command("summary", folder)
    assert result.code == UNREADABLE
    assert "posterior.nc" in result.err
    assert strict_json(command("summary", folder, "--json").out)["problems"]


# --- check and schema -----------------------------------------------------------------------


def test_check_of_clean_files(tmp_path):
    folder = write(tmp_path / "clean")
    for what in (folder, folder / "fit.toml", folder / "data.csv"):
        result = command("check", what)
        assert result.code == CLEAN, result
        assert "no problems" in result.out
        assert "subjects" in result.out
        assert "WT" in result.out
    result = command("check", folder / "model.toml")
    assert (result.code, "no problems" in result.out) == (CLEAN, True)
    assert "steady [b]" in result.out


def test_check_as_json(tmp_path):
    folder = write(tmp_path / "clean")
    record = strict_json(command("check", folder, "--json").out)
    assert record["subjects"] == len(SAMPLES)
    assert record["observations"] == 3 * len(SAMPLES)
    assert record["problems"] == []
    model = strict_json(command("check", folder / "model.toml", "--json").out)
    assert model["structure"] == "one_compartment"


def test_check_reports_every_problem(tmp_path):
    data = DATA.replace("[red],48,0,0,0,0,0,0,1.1", "[red],48,0,0,0,0,0,0,high").replace(
        "c,72,1,1,0,4,", "c,72,1,1,0,-4,"
    )
    folder = write(tmp_path / "bad", data=data)
    result = command("check", folder)
    assert result.code == PROBLEMS
    assert "ID [red]" in result.err
    assert "ID c" in result.err
    record = command("check", folder, "--json")
    assert record.code == PROBLEMS
    problems = strict_json(record.out)["problems"]
    assert f"{len(problems)} problems" in result.err
    errors = [problem for problem in problems if problem["severity"] == "error"]
    assert [problem["subject"] for problem in errors] == ["[red]", "c"]
    assert all(p["line"] and p["found"] and p["expected"] and p["cure"] for p in problems)


@pytest.mark.parametrize("kind", ["model", "fit"])
def test_schema(kind):
    result = command("schema", kind)
    assert result.code == CLEAN
    schema = strict_json(result.out)
    wanted = {"model": "parameters", "fit": "sampler"}[kind]
    assert wanted in schema["properties"]


def test_schema_of_something_else():
    result = command("schema", "data")
    assert result.code == 2
    assert "neither 'model' nor 'fit'" in " ".join(result.err.replace("│", " ").split())


# --- bad input ------------------------------------------------------------------------------

FIRST = "[red],24,1,1,0,5,1,0,.,5"  # line 2
SECOND = "[red],24,0,0,0,0,0,0,0.9,5"  # line 3


def data_with(old: str, new: str) -> dict[str, str]:
    assert DATA.count(old) == 1
    return {"data": DATA.replace(old, new)}


def fit_with(old: str, new: str) -> dict[str, str]:
    assert FIT.count(old) == 1
    return {"fit": FIT.replace(old, new)}


LAST = "f,72,0,0,0,0,0,0,0.6,6\n"
ALL_CENSORED = (
    DATA.replace(HEAD, HEAD + ",CENS").replace("\n", ",1\n").replace("WT,CENS,1", "WT,CENS")
)
COVARIATE = """[[covariates]]
parameter = "CL"
covariate = "AGE"
relation = "below"
cut = 6.0
effect = {prior = "normal", loc = 0.0, scale = 0.5}
[residual]"""

# Files that differ, exit code, line, ID, and words of what was found
BAD: dict[str, tuple[dict[str, str], int, int | None, str | None, str]] = {
    "missing data file": (fit_with("data.csv", "gone.csv"), 2, None, None, "No such file"),
    "missing model file": (fit_with("model.toml", "gone.toml"), 2, None, None, "No such file"),
    "empty file": ({"data": ""}, 2, None, None, "an empty file"),
    "wrong delimiter": ({"data": DATA.replace(",", ";")}, 2, 1, None, ""),
    "missing column": ({"data": DATA.replace("TIME", "CLOCK")}, 1, None, None, ""),
    "unknown unit": (fit_with('"ug/L"', '"pg/mlx"'), 1, None, None, "pg/mlx"),
    "unit of something else": (fit_with('"ug/L"', '"kg"'), 1, None, None, "kg"),
    "text for a number": (data_with(SECOND, SECOND.replace("0.9", "n.d.")), 1, 3, "[red]", "n.d."),
    "negative dose": (data_with(FIRST, FIRST.replace(",0,5,1", ",-3,5,0")), 1, 2, "[red]", "-3"),
    "time going back": (data_with("c,72,0,", "c,2,0,"), 1, 19, "c", "TIME = 2"),
    "duplicate ID blocks": ({"data": DATA + "c,90,0,0,0,0,0,0,1.2,4\n"}, 1, 38, "c", "line 14"),
    "DV on a dose row": (data_with(FIRST, FIRST.replace(",.,", ",7,")), 1, 2, "[red]", "DV = 7"),
    "RATE -1": (data_with(FIRST, FIRST.replace(",0,5,1", ",10,-1,0")), 1, 2, "[red]", "RATE = -1"),
    "RATE -2": (data_with(FIRST, FIRST.replace(",0,5,1", ",10,-2,0")), 1, 2, "[red]", "RATE = -2"),
    "dose without end": (data_with(FIRST, FIRST.replace(",0,5,1", ",0,5,0")), 1, 2, "[red]", ""),
    "covariate missing": (data_with(SECOND, SECOND[:-1] + "."), 1, 3, "[red]", "no value of WT"),
    "all censored": ({"data": ALL_CENSORED}, 1, None, None, "only censored"),
    "no such covariate": ({"model": MODEL.replace("[residual]", COVARIATE)}, 1, None, None, "AGE"),
    "NaN": (data_with(SECOND, SECOND.replace("0.9", "NaN")), 1, 3, "[red]", "NaN"),
    "infinity": (data_with(SECOND, SECOND.replace("0.9", "inf")), 1, 3, "[red]", "inf"),
    "infinite dose": (data_with(FIRST, FIRST.replace(",5,1", ",inf,1")), 1, 2, "[red]", "inf"),
    "unknown word": ({"fit": FIT + 'method = "nuds"\n'}, 1, None, None, "nuds"),
    "fit.toml is no TOML": ({"fit": FIT + "= 3"}, 2, None, None, "not TOML"),
    "dose per area, no area": (fit_with("1 ug/kg/h", "1 ug/m^2/h"), 1, None, None, "BSA"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_explained_and_leaves_results_alone(folder, name):
    files, code, line, subject, found = BAD[name]
    before = results(folder)
    write(folder, **files)
    result = command("fit", folder)
    assert result.code == code, result
    assert results(folder) == before
    assert not list(folder.glob(".results-*"))
    problems = strict_json(command("fit", folder, "--json").out)["problems"]
    errors = [problem for problem in problems if problem["severity"] == "error"]
    assert errors
    assert any(
        p["line"] == line and p["subject"] == subject and found in p["found"] for p in errors
    )
    said = " ".join(result.err.split())
    for problem in errors:
        assert problem["expected"]
        assert problem["cure"]
        assert problem["file"]
        for part in ("file", "found", "expected", "cure"):
            assert " ".join(problem[part].split()) in said
        if problem["line"] is not None:
            assert f"line {problem['line']}" in said
        if problem["subject"] is not None:
            assert f"ID {problem['subject']}" in said


def test_subject_without_observations_is_told_and_the_rest_is_read(folder):
    data = DATA + "g,0,1,1,0,5,1,0,.,5\n"
    write(folder, data=data)
    result = command("check", folder)
    record = strict_json(command("check", folder, "--json").out)
    told = record["warnings"] + record["problems"]
    assert any(problem["subject"] == "g" for problem in told)
    assert "ID g" in result.out + result.err


def test_no_folder(tmp_path):
    for word in ("fit", "summary", "check"):
        result = command(word, tmp_path / "nowhere")
        assert result.code == UNREADABLE
        assert "nowhere" in result.err


def test_unknown_command_and_option():
    assert command("fir").code == 2
    assert command("fit", "--fast", "x").code == 2


# --- export ---------------------------------------------------------------------------------


def test_export(folder):
    """What is written is popk.observations; IDs that are words are numbered, with a list."""
    result = command("export", folder, "--sdtab", "--json")
    assert result.code == CLEAN
    record = strict_json(result.out)
    assert (record["synthetic"], record["files"]) == (True, ["ids.csv", "sdtab1"])
    text = (folder / "results" / "nonmem" / "sdtab1").read_text(encoding="utf-8")
    title, names, *lines = text.splitlines()
    assert title == "TABLE NO.  1"
    assert len(lines) == DATA.count("\n") - 1
    rows = [dict(zip(names.split(), map(float, line.split()), strict=True)) for line in lines]
    found = popk.observations(popk.load_fit(folder))
    for row, own in zip([r for r in rows if not r["MDV"]], found.to_dict("records"), strict=True):
        assert row["ID"] == record["ids"][own["ID"]]
        for name in ("TIME", "DV", "PRED", "IPRED", "IWRES", "NPDE"):
            assert row[name] == pytest.approx(own[name], rel=6e-5, abs=1e-12)
