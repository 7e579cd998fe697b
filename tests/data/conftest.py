from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.spec.fit import DataSpec
from popk.spec.problem import PopkError, Problem

Read = Callable[..., Dataset]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a text (or bytes) to data.csv and read it; keywords are those of `DataSpec`."""

    def read_text(content: str | bytes, **spec: Any) -> Dataset:
        path = tmp_path / "data.csv"
        raw = content if isinstance(content, bytes) else dedent(content).lstrip("\n").encode()
        path.write_bytes(raw)
        return read_data(path, DataSpec.model_validate(spec))

    return read_text


@pytest.fixture
def faults(read: Read) -> Callable[..., tuple[Problem, ...]]:
    """Read as with `read` and return the problems that stop it."""

    def faults_of(content: str | bytes, **spec: Mapping[str, Any]) -> tuple[Problem, ...]:
        with pytest.raises(PopkError) as caught:
            read(content, **spec)
        for problem in caught.value.problems:
            assert problem.file.endswith("data.csv")
            assert problem.found
            assert problem.expected
            assert problem.cure
        return caught.value.problems

    return faults_of
