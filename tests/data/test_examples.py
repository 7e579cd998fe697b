"""Folders to begin with: they are read as they stand, and the template's data are what they say."""

import numpy as np
import pytest

from popk.data.examples import EXAMPLES, example, template
from popk.data.nonmem.read import read_data
from popk.population.events import arrange
from popk.spec.fit import read_fit
from popk.spec.model import read_model
from popk.spec.problem import PopkError


@pytest.mark.parametrize("files", [template, *(lambda n=n: example(n) for n in EXAMPLES)])
def test_a_folder_is_complete_in_itself(files, tmp_path):
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    spec = read_fit(tmp_path)
    assert (spec.model, spec.data) == ("model.toml", "data.csv")
    data = read_data(tmp_path / spec.data, spec)
    arrange(read_model(tmp_path / spec.model), data)
    assert data.warnings == ()
    text = (tmp_path / "data.csv").read_text(encoding="utf-8")
    assert text.startswith("# SYNTHETIC DATA") == spec.synthetic
    if not spec.synthetic:
        assert "Grasela" in text  # the source goes with the data


def test_another_example(tmp_path):
    with pytest.raises(PopkError, match="write --example phenobarb-neonates"):
        example("phenobarb")


def made() -> list[str]:
    """The template's rows, by what the head of its file says."""
    rng = np.random.default_rng(2)
    lines = []
    for subject in range(1, 13):
        weight, age = round(rng.normal(72, 12), 1), int(rng.integers(22, 80))
        cl = 4 * (weight / 70) ** 0.75 * np.exp(0.3 * rng.standard_normal())
        v = 35 * weight / 70 * np.exp(0.2 * rng.standard_normal())
        own, k = f"{weight},{age}", cl / v
        lines += [f"{subject},0,1,1,20,0,.,{own}", f"{subject},0,1,1,240,10,.,{own}"]
        for time in (1.0, 6.0, 23.5, 26.0, 32.0):
            given = min(time, 24.0)
            amount = 20 * np.exp(-k * time)
            amount += 10 / k * -np.expm1(-k * given) * np.exp(-k * (time - given))
            value = amount / v * (1 + 0.1 * rng.standard_normal())
            lines.append(f"{subject},{time:g},0,0,0,0,{value:.3g},{own}")
    return lines


def test_the_template_is_made_as_it_says():
    text = template()["data.csv"].decode()
    head, *rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert head == "ID,TIME,EVID,MDV,AMT,RATE,DV,WT,AGE"
    assert rows == made()
