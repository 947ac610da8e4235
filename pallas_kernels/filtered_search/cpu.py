"""`filtered_search` in C++ for the CPU: one scan that writes nothing but the answer."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels import cpu_library
from pallas_kernels.bloom_probe.plan import Plan
from pallas_kernels.filtered_search import reach
from pallas_kernels.filtered_search.exact import Exact

why_not = cpu_library.why_not


@functools.partial(jax.jit, static_argnames=("k", "probes", "max_probes", "recall", "instructions"))
def filtered_search(
    codes: jax.Array,
    scales: jax.Array,
    words: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    affinity: jax.Array,
    plan: Plan | None,
    exact: Exact | None,
    excluded: jax.Array | None,
    spread: jax.Array | None,
    names: jax.Array | None = None,
    *,
    k: int,
    probes: int,
    max_probes: int,
    recall: float,
    instructions: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """See `api.filtered_search`; `instructions` as in `cpu_library.call`."""
    batch = queries.shape[0]
    # What is absent is an empty array: a custom call has a fixed number of arguments.
    none = jnp.zeros((0, 0), jnp.int32)
    row, no = jnp.zeros(0, jnp.int32), jnp.zeros((0, 0), bool)
    filters = (none[None], none, none) if plan is None else (plan.rows, plan.modes, plan.program)
    checks: tuple[jax.Array, ...] = (none[None], row, none, no, jnp.zeros(0, bool))
    if plan is not None and exact is not None:
        checks = (
            exact.spans,
            exact.terms,
            exact.leaf_terms,
            exact.negated,
            exact.decided,
        )
    outputs = (
        jax.ShapeDtypeStruct((batch, k), jnp.float32),
        jax.ShapeDtypeStruct((batch, k), jnp.int32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    scores, slots, live, eligible = cpu_library.call(
        "silver_filtered_search",
        outputs,
        *(codes, scales, words, queries, query_scales, affinity),
        *filters,
        *checks,
        none if excluded is None else excluded,
        jnp.zeros((0, 0), jnp.float32) if spread is None else spread,
        jnp.asarray(reach.TAIL),
        none if names is None else names,
        probes=probes,
        most=max_probes,
        allowed=reach.allowed(k, recall),
        filters=plan is not None,
        reaches=plan is not None and spread is not None,
        checks=plan is not None and exact is not None,
        instructions=instructions,
    )
    return scores, slots, live, eligible
