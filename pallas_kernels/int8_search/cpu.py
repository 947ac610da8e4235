"""`int8_search` in C++ for the CPU: the scan of `filtered_search` with masks that are given."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library

why_not = cpu_library.why_not


@functools.partial(jax.jit, static_argnames=("k", "instructions"))
def int8_search(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    clusters: jax.Array,
    eligible: jax.Array,
    *,
    k: int,
    instructions: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """See `api.int8_search`; `instructions` as in `cpu_library.call`."""
    places = clusters.shape[1] * codes.shape[1]
    if places >= 2**32:
        raise NotImplementedError(
            f"{clusters.shape[1]} probes of {codes.shape[1]} slots are {places} places, limit: "
            "below 2**32 (ties are told apart by a 32-bit place)"
        )
    shape = (clusters.shape[0], k)
    outputs = (jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape, jnp.int32))
    scores, slots = cpu_library.call(
        "silver_int8_search",
        outputs,
        *(codes, scales, queries, query_scales, clusters, eligible),
        instructions=instructions,
    )
    return scores, slots
