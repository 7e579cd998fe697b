"""The cure of an error works: what it says is done to the files, word for word, and they are read.

Each case breaks good files, finds the error's cure by a pattern, and puts what the pattern caught
(or an edit that the cure spells out) in the place of the fault.
"""

import re
from pathlib import Path

import pytest

from popk.population.events import arrange
from popk.spec.problem import PopkError, Problem
from popk.study.folder import open_study
from tests.cli.conftest import write
from tests.cli.faults import CASES, GOOD


def errors(folder: Path) -> list[Problem]:
    """What `popk check` finds in a fit folder."""
    try:
        study = open_study(folder)
        arrange(study.model.spec, study.data)
    except PopkError as error:
        return [problem for problem in error.problems if problem.severity == "error"]
    return []


def test_the_files_are_good(tmp_path):
    assert len(CASES) > 60
    assert errors(write(tmp_path / "good", **GOOD)) == []


@pytest.mark.parametrize("name", CASES)
def test_cure(tmp_path, name):
    case = CASES[name]
    files = dict(GOOD)
    assert case.good in files[case.file]
    files[case.file] = files[case.file].replace(case.good, case.broken, 1)
    found = errors(write(tmp_path / "fit", **files))
    assert found
    cures = [problem.cure for problem in found]
    matches = [match for cure in cures if (match := re.search(case.cure, cure)) is not None]
    assert matches, cures
    after = case.after.format(*matches[0].groups())
    if case.broken:
        files[case.file] = files[case.file].replace(case.broken, after, 1)
    else:  # what is missing is written where it belongs
        files[case.file] = GOOD[case.file].replace(case.good, after, 1)
    assert errors(write(tmp_path / "fit", **files)) == [], cures
