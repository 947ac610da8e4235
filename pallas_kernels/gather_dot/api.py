"""`gather_dot`: a request's vectors against rows of an int8 table, without a copy of the rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.checks import check_array, check_shape
from pallas_kernels.dispatch import auxiliary
from pallas_kernels.int8_table import check_table

OP = auxiliary("gather_dot")


def gather_dot(
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    vectors: jax.Array,
    vector_scales: jax.Array,
    *,
    backend: str | None = None,
) -> jax.Array:
    """`out[b, g, v, k] = codes[r, g] . vectors[b, g, v]`, times both scales, with `r = rows[b, k]`.

    Gathering first writes and reads the rows once more, in four times the bytes: where rows are
    many and far apart, that is what takes the time.

    Args:
        codes: int8 [N, G, M]: G codes of a row.
        scales: float32 [N, G], finite.
        rows: int32 [B, K]; a row outside the table gives zeros.
        vectors: int8 [B, G, V, M].
        vector_scales: float32 [B, G, V], finite.
        backend: One backend by name; None, or a name that only other ops know, = the default.

    Returns:
        float32 [B, G, V, K]: the exact sum of the products, times the row's scale, times the
        vector's. Bit for bit the same on every backend.

    Raises:
        ValueError: A wrong dtype or shape.
        NotImplementedError: The chosen backend cannot serve here.
    """
    check_table(codes, scales)
    check_array("rows", rows, jnp.int32, ("B", "K"))
    check_array("vectors", vectors, jnp.int8, ("B", "G", "V", "M"))
    check_array("vector_scales", vector_scales, jnp.float32, ("B", "G", "V"))
    (_, g, m), (b, _, v, _) = codes.shape, vectors.shape
    check_shape("vectors", vectors, (rows.shape[0], g, v, m), ("B", "G", "V", "M"))
    check_shape("vector_scales", vector_scales, (b, g, v), ("B", "G", "V"))
    result: jax.Array = OP(codes, scales, rows, vectors, vector_scales, backend=backend)
    return result
