"""A table of int8 vectors, and rows of it that are asked for: the ground of the gather ops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.checks import check_array, check_shape


def check_table(codes: jax.Array, scales: jax.Array) -> None:
    """Raises ValueError unless these are int8 [N, G, M] and float32 [N, G]."""
    check_array("codes", codes, jnp.int8, ("N", "G", "M"))
    check_array("scales", scales, jnp.float32, ("N", "G"))
    check_shape("scales", scales, codes.shape[:2], ("N", "G"))


def look_up(codes: jax.Array, scales: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Codes [B, K, G, M] and scales [B, K, G] of rows [B, K]; scales 0 outside the table."""
    known = (rows >= 0) & (rows < codes.shape[0])
    at = jnp.where(known, rows, 0)
    return codes[at], jnp.where(known[..., None], scales[at], 0.0)


def random_table(
    rng: np.random.Generator, shape: tuple[int, int, int], asked: tuple[int, int]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Codes of this shape, scales, and rows [B, K], some of them outside the table."""
    n, groups, _ = shape
    return (
        jnp.asarray(rng.integers(-127, 128, shape, np.int8)),
        jnp.asarray(rng.random((n, groups), np.float32)),
        jnp.asarray(rng.integers(-1, n + 1, asked).astype(np.int32)),
    )
