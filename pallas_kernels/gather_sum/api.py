"""`gather_sum`: weighted sums of rows of an int8 table, without a copy of the rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.checks import check_array, check_shape
from pallas_kernels.dispatch import auxiliary
from pallas_kernels.int8_table import check_table

OP = auxiliary("gather_sum")


def gather_sum(
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    weights: jax.Array,
    *,
    backend: str | None = None,
) -> jax.Array:
    """`out[b, g, v] = sum_h weights[b, v, h] * codes[r, g] * scales[r, g]` with `r = rows[b, h]`.

    An embedding bag with weights of its own for each row, several sums of the same rows at once.

    Args:
        codes: int8 [N, G, M]: G codes of a row.
        scales: float32 [N, G].
        rows: int32 [B, H]; a row outside the table adds nothing.
        weights: float32 [B, V, H], finite.
        backend: One backend by name; None, or a name that only other ops know, = the default.

    Returns:
        float32 [B, G, V, M]. Backends sum in different orders: they differ by rounding, within
        `H * 2**-24` of the sum of the products' magnitudes.

    Raises:
        ValueError: A wrong dtype or shape.
        NotImplementedError: The chosen backend cannot serve here.
    """
    check_table(codes, scales)
    check_array("rows", rows, jnp.int32, ("B", "H"))
    check_array("weights", weights, jnp.float32, ("B", "V", "H"))
    wanted = (rows.shape[0], weights.shape[1], rows.shape[1])
    check_shape("weights", weights, wanted, ("B", "V", "H"))
    result: jax.Array = OP(codes, scales, rows, weights, backend=backend)
    return result
