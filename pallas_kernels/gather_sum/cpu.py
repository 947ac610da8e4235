"""`gather_sum` in C++ for the CPU: a request's rows are read once, for all of its sums."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library

why_not = cpu_library.why_not


@functools.partial(jax.jit, static_argnames="instructions")
def gather_sum(
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    weights: jax.Array,
    *,
    instructions: str | None = None,
) -> jax.Array:
    """See `api.gather_sum`; `instructions` as in `cpu_library.call`."""
    (b, v), (_, g, m) = weights.shape[:2], codes.shape
    out = jax.ShapeDtypeStruct((b, g, v, m), jnp.float32)
    sums: jax.Array = cpu_library.call(
        "silver_gather_sum", out, codes, scales, rows, weights, instructions=instructions
    )
    return sums
