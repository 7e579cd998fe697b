"""``popk plot``: figures by name as files for print, and what to do where there are none."""

import pytest

import popk
from tests.cli.conftest import CLEAN, FIT, PROBLEMS, UNREADABLE, command, strict_json, write


@pytest.fixture(scope="module")
def estimated(tmp_path_factory):
    """A folder with maximum-likelihood results: it has no figures of a posterior."""
    path = write(tmp_path_factory.mktemp("focei") / "fit", fit=FIT + 'method = "focei"\n')
    assert command("fit", path, "--no-report").code == CLEAN
    return path


def test_without_names_it_lists_them(tmp_path):
    found = command("plot", tmp_path)
    assert found.code == CLEAN
    assert "vpc visual predictive check" in found.words
    assert "--what vpc,forest" in found.words
    assert strict_json(command("plot", tmp_path, "--json").out)["figures"]["npde"]


def test_what_is_asked_for_in_each_format(estimated, tmp_path):
    found = command("plot", estimated, "--what", "exposure,priors", "--format", "svg,pdf,png",
                    "--width", "single", "--out", tmp_path / "figures")  # fmt: skip
    assert found.code == CLEAN, found.complaint
    names = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert set(names) == {"exposure.svg", "exposure.pdf", "exposure.png"}
    assert names["exposure.pdf"].startswith(b"%PDF")
    assert names["exposure.png"].startswith(b"\x89PNG")
    assert b"<svg" in names["exposure.svg"]
    assert "priors: nothing to show; it needs a posterior" in found.words


def test_by_default_among_the_results_and_as_json(estimated):
    found = command("plot", estimated, "--what", "exposure", "--json")
    assert found.code == CLEAN, found.complaint
    record = strict_json(found.out)
    assert record["files"] == ["exposure.svg"]
    assert record["nothing_to_show"] == []
    assert (estimated / "results" / "figures" / "exposure.svg").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--what", "vcp"), "did you mean 'vpc'?"),
        (("--what", "vpc,"), None),
        (("--what", "vpc", "--format", "jpg"), "did you mean 'png'?"),
        (("--what", "vpc", "--width", "broad"), "--width double"),
    ],
)
def test_words_that_it_does_not_know(tmp_path, options, said):
    found = command("plot", tmp_path / "none", *options)
    assert found.code == (UNREADABLE if said is None else PROBLEMS)
    assert (said or "none") in found.complaint


def test_without_results_it_says_how_to_get_them(tmp_path):
    found = command("plot", write(tmp_path / "x"), "--what", "vpc")
    assert found.code == UNREADABLE
    assert "popk fit" in found.complaint


def test_in_python_a_figure_comes_back(estimated):
    fit = popk.load_fit(estimated)
    figure = popk.plot(fit, "exposure", width="120")
    assert figure.get_figwidth() == pytest.approx(120 / 25.4)
    with pytest.raises(popk.PopkError, match="posterior"):
        popk.plot(fit, "priors")
    with pytest.raises(popk.PopkError, match="page"):
        popk.plot(fit, "exposure", page=2)
    with pytest.raises(popk.PopkError, match="did you mean 'exposure'"):
        popk.plot(fit, "exposures")
