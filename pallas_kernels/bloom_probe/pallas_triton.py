"""`bloom_probe` as a Triton kernel: one program per query and tile of its answer.

The boolean program runs on a stack in registers, so each bit row is read once and nothing but the
answer is written. A tile is a run of words of the flattened answer [N * W], so that no thread is
idle where W is no power of two. Its size is a compromise: the more words a thread holds, the more
loads are under way at once, and the fewer threads have room for their stacks.

Roofline: a query with l leaves of K rows reads 4 (l K + 1) N W bytes, writes 4 N W, and computes
next to nothing: memory bound, but for a latency at each leaf. Checked in the interpreter and
compiled for Hopper; not yet measured on a GPU.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

from pallas_kernels import pallas_triton
from pallas_kernels.bloom_probe.plan import (
    AND,
    COMPLEMENT,
    NO_OP,
    ONES,
    ROWS,
    STACK_DEPTH,
    Plan,
)

why_not = pallas_triton.why_not

_TILE = 512  # words of one program: 4 to a thread of 4 warps
_ALL = 0xFFFFFFFF


@functools.partial(jax.jit, static_argnames="interpret")
def bloom_probe(
    words: jax.Array, plan: Plan, clusters: jax.Array | None, *, interpret: bool = False
) -> jax.Array:
    """See `api.bloom_probe`; `interpret` runs it on any device, slowly."""
    pallas_triton.reject_large("words", words.shape, words.size)
    (r, c, w), (batch, steps) = words.shape, plan.program.shape
    whole = clusters is None
    if clusters is None:
        clusters = jnp.zeros((batch, c), jnp.int32)  # for its shape; the kernel does not read it
    probes = clusters.shape[1]
    pallas_triton.reject_large("the answer", (batch, probes, w), batch * probes * w)
    if 0 in (batch, probes):
        return jnp.zeros((batch, probes, w), jnp.uint32)
    if steps == 0:  # a ref may not be empty; one no-op says the same
        plan = Plan(plan.rows, plan.modes, jnp.full((batch, 1), NO_OP, jnp.int32))
    tile = pallas_triton.tile(probes * w, least=1, most=_TILE)
    answer: jax.Array = pallas_triton.call(
        functools.partial(_kernel, width=w, whole=whole, tile=tile),
        grid=(batch, pl.cdiv(probes * w, tile)),
        out_shape=jax.ShapeDtypeStruct((batch, probes * w), jnp.uint32),
        num_warps=4,
        interpret=interpret,
    )(
        words.reshape(r, c * w),
        plan.rows,
        plan.modes,
        plan.program,
        jnp.sum(plan.program != NO_OP, axis=1, dtype=jnp.int32),
        clusters,
    )
    return answer.reshape(batch, probes, w)


def _kernel(
    words_ref: Any,  # uint32 [R, C * W]
    rows_ref: Any,  # int32 [B, L, K]
    modes_ref: Any,  # int32 [B, L]
    program_ref: Any,  # int32 [B, P]
    steps_ref: Any,  # int32 [B], tokens before the padding
    clusters_ref: Any,  # int32 [B, N]
    out_ref: Any,  # uint32 [B, N * W]
    *,
    width: int,
    whole: bool,
    tile: int,
) -> None:
    query = pl.program_id(0)
    place = pl.program_id(1) * tile + jnp.arange(tile, dtype=jnp.int32)
    inside = place < out_ref.shape[1]
    n, w = place // width, place % width
    if whole:
        cluster = n
    else:
        cluster = pltriton.load(clusters_ref.at[query, n], mask=inside, other=-1)
    known = (cluster >= 0) & (cluster < words_ref.shape[1] // width) & inside
    column = jnp.where(known, cluster * width + w, 0)

    def row(r: jax.Array | int) -> jax.Array:  # uint32 [tile]; one row of every cluster
        r = jnp.clip(r, 0, words_ref.shape[0] - 1)
        return pltriton.load(words_ref.at[r, column], mask=known, other=jnp.uint32(0))

    def leaf(i: jax.Array) -> jax.Array:  # uint32 [tile]
        i = jnp.clip(i, 0, modes_ref.shape[1] - 1)
        rows = [row(rows_ref[query, i, k]) for k in range(rows_ref.shape[2])]  # all under way
        bits = functools.reduce(jnp.bitwise_and, rows)
        mode = modes_ref[query, i]
        keep = jnp.where((mode == ROWS) | (mode == COMPLEMENT), jnp.uint32(_ALL), jnp.uint32(0))
        flip = jnp.where((mode == COMPLEMENT) | (mode == ONES), jnp.uint32(_ALL), jnp.uint32(0))
        return (bits & keep) ^ flip

    # The stack is a shift register, its top in front: registers have no addresses.
    def push(token: jax.Array, stack: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return (leaf(token), *stack[:-1])

    def combine(token: jax.Array, stack: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        upper, under, *rest = stack
        both = jnp.where(token == AND, under & upper, under | upper)
        return (both, *rest, rest[-1])

    def step(t: jax.Array, stack: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        token = program_ref[query, t]
        return jax.lax.cond(token >= 0, push, combine, token, stack)

    ones = jnp.full(tile, _ALL, jnp.uint32)
    answer = jax.lax.fori_loop(0, steps_ref[query], step, (ones,) * STACK_DEPTH)[0]
    answer = jnp.where(known, answer & row(0), jnp.uint32(0))
    pltriton.store(out_ref.at[query, place], answer, mask=inside)
