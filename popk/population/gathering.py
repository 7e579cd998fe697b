"""A subject's value at each of its rows, and sums over them, as products of small matrices.

The slope of ``values[index]`` is a scatter-add, which XLA compiles to a slow loop, on CPU and
(jax 0.10.2 to 0.11.0, float32) on GPU; and a gather keeps XLA:CPU from computing what it takes
with vector instructions. Subjects therefore stand in tiles, each with a matrix of zeros and ones
from its subjects to its rows: work and memory grow with the rows alone.
"""

from dataclasses import dataclass
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from popk.pk.dosing import NumericArray

TILE = 32
"""Subjects of a tile."""


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Places:
    """Rows, tile by tile, each of one subject.

    Attributes
    ----------
    matrix
        [tile, row of the tile, subject of the tile] 1 where the row is the subject's.
    """

    matrix: Float[NumericArray, "tile r t"]

    def take(self, values: Float[Array, " subject"]) -> Float[Array, " row"]:
        """The subject's value at each row."""
        matrix = jnp.asarray(self.matrix, values.dtype)
        tiles, _, width = matrix.shape
        tiled = jnp.pad(values, (0, tiles * width - values.shape[0])).reshape(tiles, width)
        # Full precision: a GPU would round the factors
        highest = jax.lax.Precision.HIGHEST
        return jnp.einsum("qrt,qt->qr", matrix, tiled, precision=highest).ravel()

    def put(self, values: Float[Array, " row"], subjects: int) -> Float[Array, " subject"]:
        """The sum over each subject's rows."""
        matrix = jnp.asarray(self.matrix, values.dtype)
        tiled = values.reshape(matrix.shape[:2])
        highest = jax.lax.Precision.HIGHEST
        return jnp.einsum("qrt,qr->qt", matrix, tiled, precision=highest).ravel()[:subjects]

    @property
    def subject(self) -> Int[np.ndarray, " row"]:
        """Whose each row is."""
        tiles, rows, width = self.matrix.shape
        within = np.argmax(np.asarray(self.matrix), axis=2)
        return (within + width * np.arange(tiles)[:, None]).reshape(tiles * rows)


def laid_out(
    subject: Int[np.ndarray, " row"], subjects: int
) -> tuple[Places, Int[np.ndarray, " place"]]:
    """Places for rows of these subjects, and the row at each place, -1 where it only fills up."""
    width = min(subjects, TILE)
    tiles = -(-subjects // width)
    tile = subject // width
    most = rounded(int(np.bincount(tile, minlength=tiles).max()))
    row = np.full((tiles, most), -1)
    matrix = np.zeros((tiles, most, width))
    # A place that only fills up is its tile's first subject's: nothing of it is observed
    matrix[:, :, 0] = 1.0
    for q in range(tiles):
        own = np.flatnonzero(tile == q)
        row[q, : len(own)] = own
        matrix[q, : len(own)] = subject[own][:, None] % width == np.arange(width)
    return Places(matrix), row.ravel()


def rounded(count: int) -> int:
    """The next size that programs are compiled for: at most an eighth above, 1 to 8 as they are."""
    if count <= 8:
        return count
    unit = 1 << (int(count - 1).bit_length() - 4)
    return -(-count // unit) * unit
