"""`bloom_probe` as a Triton kernel: one program per query and tile of (clusters, words).

The boolean program runs on a stack in registers, so each bit row is read once and nothing but the
answer is written. Checked in the interpreter and lowered for CUDA; not yet measured on a GPU.
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

_TILE = 256  # words of one program: 2 to a thread of 4 warps
_ALL = 0xFFFFFFFF


@functools.partial(jax.jit, static_argnames="interpret")
def bloom_probe(
    words: jax.Array, plan: Plan, clusters: jax.Array | None, *, interpret: bool = False
) -> jax.Array:
    """See `api.bloom_probe`; `interpret` runs it on any device, slowly."""
    pallas_triton.reject_large("words", words.shape, words.size)
    (c, r, w), (batch, steps) = words.shape, plan.program.shape
    whole = clusters is None
    if clusters is None:
        clusters = jnp.zeros((batch, c), jnp.int32)  # for its shape; the kernel does not read it
    probes = clusters.shape[1]
    if 0 in (batch, probes):
        return jnp.zeros((batch, probes, w), jnp.uint32)
    if steps == 0:  # a ref may not be empty; one no-op says the same
        plan = Plan(plan.rows, plan.modes, jnp.full((batch, 1), NO_OP, jnp.int32))
    tile_w = pallas_triton.tile(w, least=1, most=128)
    tile_n = pallas_triton.tile(probes, least=1, most=_TILE // tile_w)
    return pallas_triton.call(
        functools.partial(_kernel, rows_per_cluster=r, whole=whole, tiles=(tile_n, tile_w)),
        grid=(batch, pl.cdiv(probes, tile_n), pl.cdiv(w, tile_w)),
        out_shape=jax.ShapeDtypeStruct((batch, probes, w), jnp.uint32),
        num_warps=4,
        interpret=interpret,
    )(
        words.reshape(c * r, w),
        plan.rows,
        plan.modes,
        plan.program,
        jnp.sum(plan.program != NO_OP, axis=1, dtype=jnp.int32),
        clusters,
    )


def _kernel(
    words_ref: Any,  # uint32 [C * R, W]
    rows_ref: Any,  # int32 [B, L, K]
    modes_ref: Any,  # int32 [B, L]
    program_ref: Any,  # int32 [B, P]
    steps_ref: Any,  # int32 [B], tokens before the padding
    clusters_ref: Any,  # int32 [B, N]
    out_ref: Any,  # uint32 [B, N, W]
    *,
    rows_per_cluster: int,
    whole: bool,
    tiles: tuple[int, int],  # tn, tw: clusters and words of this program
) -> None:
    query = pl.program_id(0)
    n = pl.program_id(1) * tiles[0] + jnp.arange(tiles[0], dtype=jnp.int32)  # [tn]
    w = pl.program_id(2) * tiles[1] + jnp.arange(tiles[1], dtype=jnp.int32)  # [tw]
    probes, width = out_ref.shape[1:]
    count = words_ref.shape[0] // rows_per_cluster
    if whole:
        cluster = n
    else:
        cluster = pltriton.load(clusters_ref.at[query, n], mask=n < probes, other=-1)
    known = (cluster >= 0) & (cluster < count) & (n < probes)
    first_row = jnp.where(known, cluster, 0) * rows_per_cluster
    mask = known[:, None] & (w < width)[None, :]

    def row(r: jax.Array | int) -> jax.Array:  # uint32 [tn, tw]; one row of every cluster
        r = jnp.clip(r, 0, rows_per_cluster - 1)
        place = words_ref.at[(first_row + r)[:, None], w[None, :]]
        return pltriton.load(place, mask=mask, other=jnp.uint32(0))

    def leaf(i: jax.Array) -> jax.Array:  # uint32 [tn, tw]
        i = jnp.clip(i, 0, modes_ref.shape[1] - 1)
        bits = row(rows_ref[query, i, 0])
        for k in range(1, rows_ref.shape[2]):
            bits &= row(rows_ref[query, i, k])
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

    ones = jnp.full(tiles, _ALL, jnp.uint32)
    answer = jax.lax.fori_loop(0, steps_ref[query], step, (ones,) * STACK_DEPTH)[0]
    inside = (n < probes)[:, None] & (w < width)[None, :]
    answer = jnp.where(mask, answer & row(0), jnp.uint32(0))
    pltriton.store(out_ref.at[query, n[:, None], w[None, :]], answer, mask=inside)
