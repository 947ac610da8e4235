"""`int8_search` as a Triton kernel for the scores, and XLA's `top_k` over them.

One program per query, probe and tile of slots. It reads the cluster's number itself, skips a tile
in which nothing is eligible, and reads the codes of eligible slots only. Checked in the interpreter
and lowered for CUDA; not yet measured on a GPU.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

from pallas_kernels import pallas_triton

why_not = pallas_triton.why_not

_SLOTS = 64  # rows of a tile: four tensor-core rows of 16
_COLUMNS = 16  # narrowest right-hand side of a Triton dot; all hold the one query


@functools.partial(jax.jit, static_argnames=("k", "interpret"))
def int8_search(
    codes: jax.Array,
    scales: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    clusters: jax.Array,
    eligible: jax.Array,
    *,
    k: int,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """See `api.int8_search`; `interpret` runs it on any device, slowly."""
    pallas_triton.reject_large("codes", codes.shape, codes.size)
    (batch, probes), (capacity, dim) = clusters.shape, codes.shape[1:]
    if batch == 0:
        return jnp.zeros((0, k), jnp.float32), jnp.zeros((0, k), jnp.int32)
    tile_d = pallas_triton.tile(dim, least=32, most=128)  # an int8 dot is at least 32 deep
    scores = pallas_triton.call(
        functools.partial(_kernel, tile_d=tile_d),
        grid=(batch, probes, pl.cdiv(capacity, _SLOTS)),
        out_shape=jax.ShapeDtypeStruct((batch, probes, capacity), jnp.float32),
        num_warps=4,
        interpret=interpret,
    )(codes, scales, queries, query_scales, clusters, eligible)
    best, place = jax.lax.top_k(
        scores.reshape(batch, probes * capacity), k
    )  # ties: the lower place first
    cluster = jnp.take_along_axis(clusters, place // capacity, axis=1)
    return best, jnp.where(best == -jnp.inf, -1, cluster * capacity + place % capacity)


def _kernel(
    codes_ref: Any,  # int8 [C, S, D]
    scales_ref: Any,  # float32 [C, S]
    queries_ref: Any,  # int8 [B, D]
    query_scales_ref: Any,  # float32 [B]
    clusters_ref: Any,  # int32 [B, N]
    eligible_ref: Any,  # uint32 [B, N, W]
    out_ref: Any,  # float32 [B, N, S]
    *,
    tile_d: int,
) -> None:
    query, probe = pl.program_id(0), pl.program_id(1)
    slot = pl.program_id(2) * _SLOTS + jnp.arange(_SLOTS, dtype=jnp.int32)  # [64]
    count, capacity, dim = codes_ref.shape
    cluster = clusters_ref[query, probe]
    known = (cluster >= 0) & (cluster < count)
    cluster = jnp.where(known, cluster, 0)
    words = pltriton.load(
        eligible_ref.at[query, probe, slot // 32],
        mask=(slot < capacity) & known,
        other=jnp.uint32(0),
    )
    keep = ((words >> (slot % 32).astype(jnp.uint32)) & jnp.uint32(1)) == 1

    def score() -> jax.Array:  # float32 [64]
        dot = jnp.zeros((_SLOTS, _COLUMNS), jnp.int32)
        for start in range(0, dim, tile_d):
            d = start + jnp.arange(tile_d, dtype=jnp.int32)
            block = pltriton.load(
                codes_ref.at[cluster, slot[:, None], d[None, :]],
                mask=keep[:, None] & (d < dim)[None, :],
                other=jnp.int8(0),
            )
            vector = pltriton.load(queries_ref.at[query, d], mask=d < dim, other=jnp.int8(0))
            dot += pltriton.dot(block, jnp.broadcast_to(vector[:, None], (tile_d, _COLUMNS)))
        # Every column holds the same product, so the largest is any of them.
        total = jnp.max(dot, axis=1).astype(jnp.float32)
        scale = pltriton.load(scales_ref.at[cluster, slot], mask=keep, other=0.0)
        value = (total * scale) * query_scales_ref[query]
        return jnp.where(keep, jnp.where(value == 0, 0.0, value), -jnp.inf)

    # max, not any: Triton reduces numbers.
    some = jnp.max(keep.astype(jnp.int32)) > 0
    value = jax.lax.cond(some, score, lambda: jnp.full((_SLOTS,), -jnp.inf, jnp.float32))
    pltriton.store(out_ref.at[query, probe, slot], value, mask=slot < capacity)
