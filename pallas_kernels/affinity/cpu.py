"""`affinity` in C++ for the CPU: by the dot products of the search, 32 centroids at a time."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library
from pallas_kernels.filtered_search.reach import REACH

why_not = cpu_library.why_not


@functools.partial(jax.jit, static_argnames="instructions")
def affinity(
    centroids: jax.Array,
    scales: jax.Array,
    radii: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    along: jax.Array,
    *,
    instructions: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """See `api.affinity`; `instructions` as in `cpu_library.call`."""
    out = jax.ShapeDtypeStruct((queries.shape[0], centroids.shape[0]), jnp.float32)
    reached, spread = cpu_library.call(
        "silver_affinity",
        (out, out),
        *(centroids, scales, radii, queries, query_scales, along),
        reach=REACH,
        instructions=instructions,
    )
    return reached, spread
