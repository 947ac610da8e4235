"""The specification of `affinity`: XLA, every device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.filtered_search.reach import REACH


def why_not(platform: str) -> str | None:
    """None: runs everywhere."""
    del platform
    return None


@jax.jit
def affinity(
    centroids: jax.Array,
    scales: jax.Array,
    radii: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    along: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """See `api.affinity`."""
    dots = jax.lax.dot_general(
        queries, centroids, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32
    )
    mean = (dots.astype(jnp.float32) * scales) * query_scales[:, None]
    limits = jnp.finfo(jnp.float32)
    spread = jnp.maximum(along[:, None] * radii, limits.tiny)
    # Bounded before they are added, so that no compiler joins a product to the sum and rounds once
    # where others round twice; REACH is a power of two, whose product is exact.
    reached = jnp.maximum(mean, limits.min) + REACH * spread
    return jnp.where(jnp.isnan(reached), -jnp.inf, reached), spread
