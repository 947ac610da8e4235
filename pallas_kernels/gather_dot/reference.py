"""The specification of `gather_dot`: XLA, every device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.int8_table import look_up


def why_not(platform: str) -> str | None:
    """None: runs everywhere."""
    del platform
    return None


@jax.jit
def gather_dot(
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    vectors: jax.Array,
    vector_scales: jax.Array,
) -> jax.Array:
    """See `api.gather_dot`."""
    gathered, scale = look_up(codes, scales, rows)
    products = jnp.einsum(
        "bkgm,bgvm->bgvk", gathered, vectors, preferred_element_type=jnp.int32
    ).astype(jnp.float32)
    return products * scale.swapaxes(1, 2)[:, :, None] * vector_scales[..., None]
