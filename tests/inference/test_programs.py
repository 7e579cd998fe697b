"""Stored programs: found again, never trusted where something else was asked for."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from popk.inference import programs
from popk.inference.programs import compiled, recalled

ARGUMENTS = (np.arange(4.0), {"shift": np.ones(4)})


def function(x, rest):
    return {"sum": jnp.sin(x) + rest["shift"]}, (x * 2,)


def untraceable(*_):
    raise AssertionError("traced although there is a file")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_directory", lambda: tmp_path / "programs")
    with jax.enable_x64(True):
        yield tmp_path / "programs"


def check(program):
    values, (doubled,) = program(*ARGUMENTS)
    np.testing.assert_allclose(values["sum"], np.sin(np.arange(4.0)) + 1.0)
    np.testing.assert_allclose(doubled, 2 * np.arange(4.0))


def test_a_program_is_found_again_without_tracing(folder):
    check(compiled("key", function, ARGUMENTS))
    assert len(list(folder.iterdir())) == 1
    check(compiled("key", untraceable, ARGUMENTS))


def test_another_key_is_another_program(folder):
    compiled("key", function, ARGUMENTS)
    with pytest.raises(AssertionError, match="traced although"):
        compiled("other key", untraceable, ARGUMENTS)


def test_other_source_libraries_or_processor_make_another_program(folder, monkeypatch):
    compiled("key", function, ARGUMENTS)
    monkeypatch.setattr(programs, "_surroundings", lambda: "elsewhere")
    with pytest.raises(AssertionError, match="traced although"):
        compiled("key", untraceable, ARGUMENTS)


@pytest.mark.parametrize("length", [0, 10, -100])
def test_a_file_cut_off_is_made_anew(folder, length):
    compiled("key", function, ARGUMENTS)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:length])
    check(compiled("key", function, ARGUMENTS))
    check(compiled("key", untraceable, ARGUMENTS))


def test_a_file_of_something_else_is_made_anew(folder):
    recalled("key", lambda: np.zeros(3))
    (file,) = folder.iterdir()
    content = file.read_bytes()
    compiled("key", function, ARGUMENTS)
    (other,) = set(folder.iterdir()) - {file}
    other.write_bytes(content)
    check(compiled("key", function, ARGUMENTS))


def test_nothing_is_stored_where_jax_stores_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_directory", lambda: None)
    check(compiled("key", function, ARGUMENTS))
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(programs, "_directory", lambda: tmp_path / "file" / "programs")
    check(compiled("key", function, ARGUMENTS))


def test_numbers_are_recalled(folder):
    first = recalled("key", lambda: {"x": np.arange(3)})
    second = recalled("key", untraceable)
    np.testing.assert_array_equal(first["x"], second["x"])


ANEW = """
import sys
import subprocess
import sys

import jax
import numpy as np
from popk.inference import programs
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
programs._surroundings = lambda: sys.argv[2]
x = np.linspace(0.0, 1.0, 50_000, dtype=np.float32)
program = programs.compiled("key", lambda x: jax.numpy.sort(jax.numpy.exp(x) + 1.0), (x,))
np.testing.assert_allclose(program(x), np.exp(x) + 1.0, rtol=1e-6)
"""


def test_a_program_in_the_cache_of_jax_is_stored_whole_by_another_version_of_popk(tmp_path):
    # XLA stores a program that it has read from a file without its machine code
    for version in ("old", "new", "new"):
        command = [sys.executable, "-c", ANEW, str(tmp_path), version]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "popk").iterdir())) == 2
