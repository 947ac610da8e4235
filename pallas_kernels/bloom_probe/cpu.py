"""`bloom_probe` in C++ for the CPU: a program runs over up to 64 words at a time, in registers."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library
from pallas_kernels.bloom_probe.plan import Plan

why_not = cpu_library.why_not


@functools.partial(jax.jit, static_argnames="instructions")
def bloom_probe(
    words: jax.Array, plan: Plan, clusters: jax.Array | None, *, instructions: str | None = None
) -> jax.Array:
    """See `api.bloom_probe`; `instructions` as in `cpu_library.call`."""
    batch, (_, count, width) = plan.program.shape[0], words.shape
    probes = count if clusters is None else clusters.shape[1]
    out = jax.ShapeDtypeStruct((batch, probes, width), jnp.uint32)
    # No clusters are the clusters of no query; an empty batch has nothing to tell apart.
    probed = jnp.zeros((0, 0), jnp.int32) if clusters is None else clusters
    result: jax.Array = cpu_library.call(
        "silver_bloom_probe",
        out,
        *(words, plan.rows, plan.modes, plan.program, probed),
        instructions=instructions,
    )
    return result
