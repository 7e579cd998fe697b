"""A subject's value at each of its rows, and back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.population import gathering
from popk.population.gathering import laid_out, rounded

SUBJECT, SUBJECTS = np.array([4, 0, 0, 3, 2, 0, 4, 2, 6, 0]), 7
"""Ten rows of seven subjects, two of whom have none."""
RNG = np.random.default_rng(4)
A, B = RNG.standard_normal((3, SUBJECTS)), RNG.standard_normal((3, SUBJECT.size))


@pytest.fixture(params=[32, 3])
def places(request, monkeypatch):
    """One tile, and three of which the last is not full."""
    monkeypatch.setattr(gathering, "TILE", request.param)
    found, place = laid_out(SUBJECT, SUBJECTS)
    assert found.matrix.shape[0] == {32: 1, 3: 3}[request.param]
    return jax.tree.map(jnp.asarray, found), place


def put(values, subject, subjects):
    out = np.zeros(subjects)
    np.add.at(out, subject, values)
    return out


def at_places(values, place):
    """Rows' values where the rows were laid out; 0 where a place only fills up."""
    return jnp.where(place < 0, 0.0, jnp.asarray(values)[..., np.maximum(place, 0)])


@pytest.mark.slow
@settings(max_examples=25)
@given(
    sizes=st.sampled_from([1, 5, 32, 33, 70]).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.integers(0, n - 1), min_size=1, max_size=40).map(np.array)
        )
    ),
    seed=st.integers(0, 9),
)
def test_take_and_put_are_those_of_numpy(sizes, seed):
    subjects, subject = sizes
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(subjects), rng.standard_normal(subject.size)
    places, place = laid_out(subject, subjects)
    row = place >= 0
    # Each row has one place, in the order of its tile, and that place is its subject's
    np.testing.assert_array_equal(np.sort(place[row]), np.arange(subject.size))
    np.testing.assert_array_equal(places.subject[row], subject[place[row]])
    assert places.subject.max() < subjects
    np.testing.assert_array_equal(places.matrix.sum(axis=2), 1.0)
    np.testing.assert_allclose(places.take(jnp.asarray(a)), a[places.subject], rtol=1e-15)
    found = places.put(at_places(b, place), subjects)
    np.testing.assert_allclose(found, put(b, subject, subjects), rtol=1e-13, atol=1e-14)


def test_work_grows_with_the_rows_alone():
    sizes = [laid_out(np.repeat(np.arange(n), 4), n)[0].matrix.size for n in (320, 3200)]
    assert sizes[1] == 10 * sizes[0]


def test_precision_of_the_values_is_kept(places):
    found, place = places
    with jax.enable_x64(False):
        assert found.take(jnp.ones(SUBJECTS, jnp.float32)).dtype == jnp.float32
        assert found.put(jnp.ones(place.size, jnp.float32), SUBJECTS).dtype == jnp.float32


def test_slopes_are_take_and_put_themselves(places):
    found, place = places
    a, b = jnp.asarray(A), at_places(B, place)
    take, back = found.take, functools.partial(found.put, subjects=SUBJECTS)
    taken, summed = A[1][found.subject], put(B[0], SUBJECT, SUBJECTS)
    np.testing.assert_allclose(jax.jvp(take, (a[0],), (a[1],))[1], taken, rtol=1e-15)
    np.testing.assert_allclose(jax.vjp(take, a[0])[1](b[0])[0], summed, rtol=1e-14)
    np.testing.assert_allclose(jax.jvp(back, (b[1],), (b[0],))[1], summed, rtol=1e-14)
    np.testing.assert_allclose(jax.vjp(back, b[0])[1](a[1])[0], taken, rtol=1e-15)


def nonlinear(places, a, b):
    """Something with second derivatives in both."""
    rows = jnp.sin(places.take(a)) * b
    return jnp.sum(jnp.exp(0.3 * places.put(rows * b, a.size)) * a)


def by_indexing(subject, a, b):
    rows = jnp.sin(a[subject]) * b
    return jnp.sum(jnp.exp(0.3 * jnp.zeros_like(a).at[subject].add(rows * b)) * a)


QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICKLY)
def _all_derivatives(function, places, a, b):
    here = functools.partial(function, places)
    ways = (jax.jacfwd, jax.jacrev)
    first = [d(here, argnums=(0, 1))(a, b) for d in ways]
    second = [d(e(here, argnums=(0, 1)), argnums=(0, 1))(a, b) for d in ways for e in ways]
    return first, second


def test_derivatives_are_those_of_indexing(places):
    """Forwards, backwards, and each over each."""
    found, place = places
    at = jnp.asarray(A[0]), at_places(B[0], place)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-13),
        _all_derivatives(nonlinear, found, *at),
        _all_derivatives(by_indexing, jnp.asarray(found.subject), *at),
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_batches(places, axis):
    """Of values, on either axis, and of batches."""
    found, place = places
    a, b = (jnp.moveaxis(x, 0, axis) for x in (jnp.asarray(A), at_places(B, place)))
    taken, summed = A[:, found.subject], [put(one, SUBJECT, SUBJECTS) for one in B]
    back = functools.partial(found.put, subjects=SUBJECTS)
    np.testing.assert_allclose(jax.vmap(found.take, axis)(a), taken, rtol=1e-15)
    np.testing.assert_allclose(jax.vmap(back, axis)(b), summed, rtol=1e-13)
    twice = jax.vmap(jax.vmap(found.take, axis))(jnp.stack([a, -a]))
    np.testing.assert_allclose(twice, [taken, -taken], rtol=1e-15)


def test_gradients_of_batches(places):
    """A gradient under vmap, and a vmap under a gradient; of places as well as values."""
    found, place = places
    a, b = jnp.asarray(A), at_places(B, place)
    slopes = jax.grad(nonlinear, argnums=(1, 2))
    wanted = jax.vmap(jax.grad(by_indexing, argnums=(1, 2)), (None, 0, 0))(
        jnp.asarray(found.subject), a, b
    )
    several = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), found)
    total = jax.grad(lambda a, b: jax.vmap(nonlinear, (None, 0, 0))(found, a, b).sum(), (0, 1))
    for right in (
        jax.vmap(slopes, (None, 0, 0))(found, a, b),
        jax.vmap(slopes)(several, a, b),
        total(a, b),
    ):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14), right, wanted
        )


def test_no_scatter_in_the_slopes(places):
    found, place = places
    at = jnp.asarray(A[0]), at_places(B[0], place)

    def compiled(function):
        return jax.jit(jax.grad(function, (0, 1))).lower(*at).compile().as_text()

    assert "scatter(" not in compiled(functools.partial(nonlinear, found))
    assert "scatter(" in compiled(functools.partial(by_indexing, jnp.asarray(found.subject)))


@given(st.integers(0, 5000))
def test_sizes_are_rounded_up_by_an_eighth_at_most(count):
    size = rounded(count)
    assert count <= size <= count * 9 / 8
    assert rounded(size) == size
    assert rounded(count + 1) >= size
    if count <= 8:
        assert size == count


def test_there_are_few_sizes():
    assert len({rounded(count) for count in range(1, 1025)}) == 64
