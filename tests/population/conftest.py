from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.spec.fit import DataSpec
from popk.spec.model import ModelSpec
from popk.spec.record import validate

LOGNORMAL = {"prior": "lognormal", "median": 1.0, "sigma": 1.0}
HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}
BETWEEN = {"distribution": "lognormal", "sd": HALFNORMAL}

SMALL = """
ID,TIME,AMT,RATE,DV,EVID,MDV,CENS,WT,AGE
A,0,240,10,.,1,1,0,5.5,3
A,4,0,0,18.5,0,0,0,5.5,3
A,24,0,0,22.5,0,0,0,5.5,3
A,40,0,0,1,0,0,1,5.5,3
B,0,50,0,.,1,1,0,7,8
B,2,0,0,13,0,0,0,7,8
B,9,0,0,6,0,0,0,7,8
C,0,0,0,1,0,0,1,6,5
C,1,60,30,.,1,1,0,6,5
C,5,0,0,11,0,0,0,6,5
"""
"""Three subjects with a censored sample late and one before any dose."""


@pytest.fixture(scope="session")
def spec() -> Callable[..., ModelSpec]:
    """A model in h, mg, mg/L; keywords replace whole sections, CL and V those of a parameter."""

    def make(**sections: Any) -> ModelSpec:
        cl, v = sections.pop("CL", {}), sections.pop("V", {})
        content = {
            "name": "test",
            "structure": "one_compartment",
            "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
            "parameters": {
                "CL": {"unit": "L/h", "typical": LOGNORMAL, "variability": BETWEEN} | cl,
                "V": {
                    "unit": "L",
                    "typical": LOGNORMAL | {"median": 5.0},
                    "variability": BETWEEN,
                }
                | v,
            },
            "residual": {"error": "proportional", "sd": HALFNORMAL},
        }
        return validate(ModelSpec, content | sections)

    return make


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """Write a text to data.csv and read it; keywords are those of `DataSpec`."""

    def read_text(content: str = SMALL, **spec: Any) -> Dataset:
        path = tmp_path_factory.mktemp("data") / "data.csv"
        path.write_text(dedent(content).lstrip("\n"))
        columns = {"WT": {"covariate": True, "unit": "kg"}}
        columns |= {"AGE": {"covariate": True, "unit": "month"}}
        present = {k: v for k, v in columns.items() if k in content.split("\nA,")[0]}
        return read_data(
            path, DataSpec.model_validate({**spec, "columns": present | spec.get("columns", {})})
        )

    return read_text


@pytest.fixture(scope="session")
def prepared(spec, read) -> Callable[..., tuple[Model, Events]]:
    """A model as in `spec` and the events of the small data set."""

    def prepare(**sections: Any) -> tuple[Model, Events]:
        model = spec(**sections)
        return Model(model), arrange(model, read())[0]

    return prepare
