"""`gather_dot` in C++ for the CPU: rows are asked for ahead, and 32 meet all vectors at a time."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library

why_not = cpu_library.why_not

_CODES = 2**32  # of a table, since their places have 32 bits


@functools.partial(jax.jit, static_argnames="instructions")
def gather_dot(
    codes: jax.Array,
    scales: jax.Array,
    rows: jax.Array,
    vectors: jax.Array,
    vector_scales: jax.Array,
    *,
    instructions: str | None = None,
) -> jax.Array:
    """See `api.gather_dot`; `instructions` as in `cpu_library.call`."""
    if scales.size > _CODES:
        raise NotImplementedError(f"a table of {scales.size} codes, more than {_CODES}")
    out = jax.ShapeDtypeStruct((*vectors.shape[:3], rows.shape[1]), jnp.float32)
    products: jax.Array = cpu_library.call(
        "silver_gather_dot",
        out,
        *(codes, scales, rows, vectors, vector_scales),
        instructions=instructions,
    )
    return products
