import gc
import os

import hypothesis
import jax
import jaxtyping
import pytest

# Before any of these is imported, so that every annotated shape is checked in tests
jaxtyping.install_import_hook(["popk.pk", "popk.population", "popk.inference"], "beartype.beartype")
hypothesis.settings.register_profile("house", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def float64():
    """The library never sets a precision; tests ask for it like any other caller."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """What compiles to the same program shares it, between files and the processes of a session."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    jax.config.update("jax_compilation_cache_dir", str(place / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def forgetting():
    """What one file has compiled is let go: with all of it held, every later test takes longer."""
    yield
    jax.clear_caches()
    gc.collect()
