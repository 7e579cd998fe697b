"""What tests of the page share: a study with everything in its results, and its page."""

from typing import NamedTuple

import pytest

from popk.analysis.gathered import Gathered, gathered
from popk.report.html import page
from popk.study.folder import Study, add
from tests.report.studies import checked, effects_table, fitted


class Whole(NamedTuple):
    """A study, what its report is made of, and the page."""

    study: Study
    gathered: Gathered
    html: str


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """With checks and covariate tests. Not to be changed."""
    study, fit = fitted(tmp_path_factory.mktemp("report") / "awkward")
    files = {f"checks/{name}": text for name, text in checked(study).items()}
    add(study.folder, files | {"covariates.csv": effects_table()})
    found = gathered(study, fit)
    html = page(found)
    add(study.folder, {"report.html": html})
    return Whole(study, found, html)
