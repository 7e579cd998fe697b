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
