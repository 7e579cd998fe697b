"""Figures of README.md are those of the files that they come from, as far as they are printed."""

import json
import re
import subprocess
import sys

import pytest

from tests.pages.blocks import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT = " ".join(README.split())
STUDIES = "fits/blinatumomab-infants"


def kept(name):
    return json.loads((ROOT / "benchmarks" / name).read_text(encoding="utf-8"))


def table(first):
    """[row][cell] of the table whose head begins with this cell; the head left out."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert found, f"README has no table {first!r}"
    return [[c.strip() for c in line.strip("|").split("|")] for line in found[1].splitlines()]


def says(text, value):
    """Whether a printed number is this one, rounded as printed."""
    _, _, decimals = text.partition(".")
    return abs(float(text) - value) <= 0.5000001 * 10.0 ** -len(decimals)


def percent(rate, error):
    return f"{100 * rate:.0f} ± {100 * error:.0f}"


def test_what_26_infants_can_tell():
    found = kept("power.json")
    cells = {(c["infants"], c["ratio"]): c for c in found["cells"]}
    words = {s["ratio"]: s["words"] for s in found["smallest"]}
    rows = table("true ratio")
    assert [float(row[0]) for row in rows] == sorted({ratio for _, ratio in cells})
    for ratio, *shares, infants in rows:
        cell = cells[26, float(ratio)]
        columns = ("excludes_90", "relevant", "not_relevant", "unknown")
        # An error of a share of 0 or 1 is that of one trial more or less: printed as 0
        assert shares == [percent(cell[c], cell[f"{c}_error"]) for c in columns], ratio
        assert infants == ("" if ratio == "1" else words[float(ratio)]), ratio


def test_the_sentence_about_26_infants():
    found = kept("power.json")
    cells = {c["ratio"]: c for c in found["cells"] if c["infants"] == 26}
    assert "clearance is lower by 40 %" in TEXT
    assert cells[0.6]["excludes_90"] >= 0.8 > cells[0.7]["excludes_90"]
    assert "a difference of 20 % it misses more often than not" in TEXT
    assert cells[0.8]["excludes_90"] < 0.5
    assert re.search(r"it can say so in (\d+) of 100", TEXT)[1] == (
        f"{100 * cells[1.0]['not_relevant']:.0f}"
    )
    none = [c["excludes_90"] for c in found["cells"] if c["ratio"] == 1.0]
    low, high = re.search(r"excludes 1 in (\d+) to (\d+) % of the trials", TEXT).groups()
    assert (low, high) == (f"{100 * min(none):.0f}", f"{100 * max(none):.0f}")
    assert sum(c["trials"] for c in found["cells"]) == 24_000
    assert not any(c["missed"] for c in found["cells"])
    assert re.search(r"\((\d+) minutes on", TEXT)[1] == f"{found['seconds'] / 60:.0f}"
    many = [p["expected_width"] / p["width"] - 1 for p in found["precision"] if p["infants"] >= 40]
    few = [p["expected_width"] / p["width"] - 1 for p in found["precision"] if p["infants"] < 40]
    within = re.search(r"width to (\d+) % from 40 infants on", TEXT)[1]
    assert within == f"{100 * max(map(abs, many)):.0f}"
    low, high = re.search(r"(\d+) to (\d+) % too small", TEXT).groups()
    assert (low, high) == (f"{-100 * max(few):.0f}", f"{-100 * min(few):.0f}")


def test_error_rates():
    none, half = (kept("error_rates.json")["rates"][ratio] for ratio in ("1.0", "0.5"))

    def told(key):
        return [f"{100 * r[key]['rate']:.1f} ± {100 * r[key]['error']:.1f} %" for r in (none, half)]

    first, second = told("90 % interval excludes 1")
    assert f"excludes 1 in {first} (nominal 10) and {second}" in TEXT
    first, second = told("likelihood ratio, p < 0.05")
    assert re.search(rf"rejects in {first} \(nominal 5: .{{,40}}\) and {second}", TEXT)
    first, second = (
        f"{100 * r['verdict: the data cannot tell']['rate']:.0f}" for r in (none, half)
    )
    assert f'"the data cannot tell" in {first} and {second} %' in TEXT


def test_the_sample_output():
    own = kept("readme.json")
    block = README.split("```text\nparameter")[1].split("```")[0]
    lines = {line.split()[0]: line for line in block.splitlines()[1:] if line[:1].strip()}
    for name, row in own["parameters"].items():
        unit, line = row["unit"], lines[name]
        assert unit in line
        cells = line.replace(name, "", 1).replace(unit, "", 1).replace(" to ", " ").split()
        numbers = [cell for cell in cells if cell != "%"]
        columns = ("median", "q5", "q95", "cv_percent", "shrinkage", "rhat", "ess_bulk", "ess_tail")
        for text, column in zip(numbers, columns, strict=True):
            value = row[column]
            if text == "-":
                assert value is None, (name, column)
            else:
                assert says(text, 100 * value if column == "shrinkage" else value), (name, column)
    paper = own["paper_line"]
    css, sd = re.search(r"(\d+) ± (\d+) pg/mL \(mean ± SD\)", block).groups()
    cl = re.search(r"median ([\d.]+) \(([\d.]+)-([\d.]+)\)", block).groups()
    wanted = (paper["css_mean"], paper["css_sd"], *(paper[f"cl_{n}"] for n in
              ("median", "minimum", "maximum")))  # fmt: skip
    assert all(says(text, value) for text, value in zip((css, sd, *cl), wanted, strict=True))


def test_the_verdicts_of_the_checks():
    own = kept("readme.json")
    rows = {row[1]: row for row in table("| check") if len(row) == 3}
    assert {*rows} == {*own["checks"]}
    for name, verdict in own["checks"].items():
        outcome, _, found = rows[name]
        assert outcome == verdict["outcome"]
        assert found in verdict["meaning"], name
    assert own["other_outcomes"] == ["passed"]
    assert "The rest passes." in TEXT


def test_the_covariate_tests():
    own = kept("readme.json")["covariates"]
    rows = dict(row for row in table("test"))
    numbers = [re.findall(r"-?[\d.]*\d", text) for text in rows.values()]
    wanted = [
        (own["ratio"], 90, own["q5"], own["q95"], 95, own["q2_5"], own["q97_5"]),
        (own["inside"],),
        (),
        (own["BF01"], own["BF01_error"]),
        (own["loso"], own["loso_error"]),
        (own["dOFV"], own["p"]),
        (own["classical_p"], own["classical_value"], own["classical_q2_5"], own["classical_q97_5"]),
    ]
    for test, found, values in zip(rows, numbers, wanted, strict=True):
        assert len(found) == len(values), test
        assert all(says(text, value) for text, value in zip(found, values, strict=True)), test
    (verdict,) = (text for test, text in rows.items() if test.startswith("verdict"))
    assert verdict.strip("*") == own["verdict"]


def test_the_best_dose():
    best = kept("readme.json")["target"]
    found = re.search(
        r"([\d.]+) µg/m²/day, 90 % interval ([\d.]+) to ([\d.]+), probability ([\d.]+)", TEXT
    )
    (row,) = (row for name, row in best.items() if "m^2" in name and name.endswith(" all"))
    keys = ("dose", "dose_q5", "dose_q95", "probability")
    assert all(says(text, row[key]) for text, key in zip(found.groups(), keys, strict=True))


def test_the_speeds():
    samplers = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    target = next(line for line in samplers.splitlines() if "best nutpie variant" in line)
    ratios = [
        float(n) for n in re.search(r"([\d.]+), ([\d.]+) and ([\d.]+) x its", target).groups()
    ]
    low, high = re.search(r"(\d+) to (\d+) times the effective draws", TEXT).groups()
    assert (int(low), int(high)) == (round(min(ratios)), round(max(ratios)))
    target = next(line for line in samplers.splitlines() if "Stan and NumPyro NUTS" in line)
    ratios = [float(n) for n in re.search(r"Stan ([\d.]+), ([\d.]+), ([\d.]+) x", target).groups()]
    low, high = re.search(r"(\d+) to (\d+) times Stan's", TEXT).groups()
    assert (int(low), int(high)) == (round(min(ratios)), round(max(ratios)))
    seconds = re.search(r"A million infants take ([\d.]+) s in float64", samplers)[1]
    assert f"in {float(seconds):.0f} s on 2 cores" in TEXT


@pytest.mark.slow
def test_the_pictures_are_made_by_their_command(tmp_path):
    """In a copy, so that the pictures of the project stay as they are."""
    import shutil

    for name in ("benchmarks", "fits", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("results"))
    for picture in (tmp_path / "benchmarks/pictures").iterdir():
        picture.unlink()
    subprocess.run(
        [sys.executable, "-m", "benchmarks.pictures"], cwd=tmp_path, check=True, timeout=1800
    )
    shown = re.findall(r"\]\((benchmarks/[\w/]+\.svg)\)", README)
    assert len(shown) >= 3
    assert [name for name in shown if not (tmp_path / name).exists()] == []
    again, before = (json.loads((base / "benchmarks/readme.json").read_text())
                     for base in (tmp_path, ROOT))  # fmt: skip
    for name, row in before["parameters"].items():
        spread = row["q95"] - row["q5"]
        # Five Monte Carlo errors of a median of 1,600 effective draws, in units of the interval
        assert abs(again["parameters"][name]["median"] - row["median"]) < 0.06 * spread
    assert again["checks"].keys() == before["checks"].keys()
