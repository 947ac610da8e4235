"""`top_k` in C++ for the CPU: values below a rising threshold are passed over, 16 at a time."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library

why_not = cpu_library.why_not


@functools.partial(jax.jit, static_argnames=("k", "instructions"))
def top_k(
    values: jax.Array, *, k: int, instructions: str | None = None
) -> tuple[jax.Array, jax.Array]:
    """See `api.top_k`; `instructions` as in `cpu_library.call`."""
    shape = (values.shape[0], k)
    outputs = (jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape, jnp.int32))
    best, indices = cpu_library.call("silver_top_k", outputs, values, instructions=instructions)
    return best, indices
