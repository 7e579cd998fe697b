"""Take values by index, with a slope that needs no scatter.

The slope of ``values[index]`` is a scatter-add, which XLA compiles to a slow loop, on CPU and
(jax 0.10.2 to 0.11.0, float32) on GPU. Few values are taken by a product with a matrix of zeros
and ones; for many, it is known which places each value goes to, and the slope is a sum of taken
values. That is a primitive of its own: it can be differentiated forwards and backwards, to any
order, and batched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

from popk.pk.dosing import NumericArray

LARGEST_MATRIX = 1 << 15
"""Up to so many entries a product is faster: XLA:CPU computes the operand of a gather anew for
every place, since it fuses the two."""


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Places:
    """m places, each with the index of one of n values, or with n for none.

    Attributes
    ----------
    matrix
        [m, n] 1 where the place has the value; None where that is too large.
    index, back
        [m] the index, and [n, r] the places of each value, m where there are fewer; None where
        there is a matrix.
    """

    matrix: Float[NumericArray, "m n"] | None
    index: Int[NumericArray, " m"] | None
    back: Int[NumericArray, "n r"] | None

    def take(self, values: Float[Array, " n"]) -> Float[Array, " m"]:
        """The values at the places, 0 where there is none."""
        if self.matrix is not None:
            matrix = jnp.asarray(self.matrix, values.dtype)
            return jnp.dot(matrix, values, precision=jax.lax.Precision.HIGHEST)
        return _take.bind(values, jnp.asarray(self.index), jnp.asarray(self.back))

    def dense(self) -> Float[np.ndarray, "m n"]:
        """The matrix, whichever way the places are kept."""
        if self.matrix is not None:
            return np.asarray(self.matrix)
        assert self.index is not None
        assert self.back is not None
        return (np.asarray(self.index)[:, None] == np.arange(self.back.shape[0])).astype(float)

    def put(self, values: Float[Array, " m"]) -> Float[Array, " n"]:
        """The sum at each of the n of what lies at its places."""
        if self.matrix is not None:
            matrix = jnp.asarray(self.matrix, values.dtype)
            return jnp.dot(values, matrix, precision=jax.lax.Precision.HIGHEST)
        return _sum.bind(values, jnp.asarray(self.index), jnp.asarray(self.back))


def places_of(index: Int[np.ndarray, " m"], n: int) -> Places:
    """Places with these indices."""
    if len(index) * n <= LARGEST_MATRIX:
        return Places((index[:, None] == np.arange(n)).astype(float), None, None)
    most = int(np.bincount(index[index < n], minlength=1).max())
    return Places(None, index.astype(np.int32), _inverse(index, n, max(most, 1)))


def _inverse(index: Int[np.ndarray, " m"], n: int, most: int) -> Int[np.ndarray, "n r"]:
    """For each of n values the places that hold it, filled up with m."""
    counts = np.bincount(index[index < n], minlength=n)
    out = np.full((n, most), len(index), dtype=np.int32)
    order = np.argsort(index, kind="stable")[: counts.sum()]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    out[index[order], np.arange(len(order)) - np.repeat(starts, counts)] = order
    return out


_take = Primitive("take_without_scatter")
_sum = Primitive("sum_without_scatter")


def _one(values: Array, index: Array) -> Array:
    """With 0 behind the end."""
    inside = index < values.shape[0]
    return jnp.where(inside, jnp.take(values, jnp.where(inside, index, 0), mode="clip"), 0.0)


def _each(values: Array, index: Array, inner: int) -> Array:
    """Leading axes are batches; `index` has the first of them, or none, and `inner` of its own."""
    function = _one
    own = index.ndim - inner
    for _ in range(values.ndim - 1 - own):
        function = jax.vmap(function, (0, None))
    for _ in range(own):
        function = jax.vmap(function)
    return function(values, index)


def _taken(values: Array, index: Array, back: Array) -> Array:
    return _each(values, index, 1)


def _summed(values: Array, index: Array, back: Array) -> Array:
    return jnp.sum(_each(values, back, 2), axis=-1)


def _transposed(other: Primitive) -> Any:
    def transpose(cotangent: Any, values: Any, index: Array, back: Array) -> tuple:
        if isinstance(cotangent, ad.Zero):
            return ad.Zero(values.aval), None, None
        return other.bind(cotangent, index, back), None, None

    return transpose


def _slope(primitive: Primitive) -> Any:
    def jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[Array, Any]:
        value, tangent = primitive.bind(*primals), tangents[0]
        if isinstance(tangent, ad.Zero):
            return value, ad.Zero(jax.typeof(value).to_tangent_aval())
        return value, primitive.bind(tangent, *primals[1:])

    return jvp


def _batched(primitive: Primitive) -> Any:
    def batch(operands: Sequence[Array], axes: Sequence[int | None]) -> tuple[Array, int]:
        size = next(a.shape[d] for a, d in zip(operands, axes, strict=True) if d is not None)
        (values, index, back), (first, *others) = operands, axes
        values = _fronted(values, first, size)
        # Indices are batched together, and before all axes that only the values have
        if any(d is not None for d in others) or index.ndim > 1:
            index, back = (_fronted(a, d, size) for a, d in zip((index, back), others, strict=True))
        return primitive.bind(values, index, back), 0

    return batch


def _fronted(array: Array, axis: int | None, size: int) -> Array:
    if axis is None:
        return jnp.broadcast_to(array, (size, *array.shape))
    return jnp.moveaxis(array, axis, 0)


for primitive, function, transposed in ((_take, _taken, _sum), (_sum, _summed, _take)):
    primitive.def_impl(jax.jit(function))
    primitive.def_abstract_eval(
        lambda values, index, back, function=function: ShapedArray(
            jax.eval_shape(function, values, index, back).shape, values.dtype
        )
    )
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    ad.primitive_jvps[primitive] = _slope(primitive)
    ad.primitive_transposes[primitive] = _transposed(transposed)
    batching.primitive_batchers[primitive] = _batched(primitive)
