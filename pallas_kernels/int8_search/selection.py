"""The best of many scores on a GPU: bisection over their bits, in Triton.

XLA sorts rows to find their top k. One program per row holds it in registers instead and counts,
for each bit from the highest, how many scores reach the threshold so far: 32 counts find the k-th
best, whatever the row. Longer rows are first reduced to those groups that can hold any of the best.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

from pallas_kernels import pallas_triton

_ROW = 32_768  # scores that 512 threads hold, 64 to each
_GROUP = 64  # scores of a longer row that stand or fall with their maximum
_MOST = 512  # scores that `_order` compares each with each


def top_k(values: jax.Array, *, k: int, interpret: bool) -> tuple[jax.Array, jax.Array]:
    """As `jax.lax.top_k`, for float32 [B, n] without NaN and without -0.0."""
    if k > _MOST or values.shape[1] > _ROW:
        best, places = jax.lax.top_k(values, k)
        return best, places
    places = best_places(values, k=k, interpret=interpret)
    chosen = jnp.take_along_axis(values, places, axis=1)
    block = pallas_triton.tile(k, least=16, most=_MOST)
    shape = chosen.shape
    best, order = pallas_triton.call(
        functools.partial(_order, block=block),
        grid=(shape[0], pl.cdiv(k, _GROUP)),
        out_shape=(
            jax.ShapeDtypeStruct(shape, jnp.float32),
            jax.ShapeDtypeStruct(shape, jnp.int32),
        ),
        num_warps=4,
        interpret=interpret,
    )(chosen, places)
    return best, order


def best_places(values: jax.Array, *, k: int, interpret: bool) -> jax.Array:
    """int32 [B, k], ascending: where the k best of float32 [B, n] are; equal ones by place."""
    batch, n = values.shape
    if n <= k:
        return jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (batch, n))
    if n <= _ROW:
        places: jax.Array = pallas_triton.call(
            functools.partial(_select, k=k, block=pallas_triton.tile(n, least=16, most=_ROW)),
            grid=(batch,),
            out_shape=jax.ShapeDtypeStruct((batch, k), jnp.int32),
            num_warps=16 if n > _ROW // 8 else 4,
            interpret=interpret,
        )(values)
        return places
    groups = -(-n // _GROUP)
    if k * _GROUP > _ROW or groups <= k:
        return jnp.sort(jax.lax.top_k(values, k)[1], axis=1)
    # k groups of larger maximum (or of an equal one, before it) would hold k better scores than
    # any in a group that is left out.
    room = ((0, 0), (0, groups * _GROUP - n))
    grouped = jnp.pad(values, room, constant_values=-jnp.inf).reshape(batch, groups, _GROUP)
    top = best_places(jnp.max(grouped, axis=2), k=k, interpret=interpret)
    within = jnp.take_along_axis(grouped, top[:, :, None], axis=1).reshape(batch, k * _GROUP)
    place = best_places(within, k=k, interpret=interpret)
    return jnp.take_along_axis(top, place // _GROUP, axis=1) * _GROUP + place % _GROUP


def _select(
    values_ref: Any,  # float32 [B, n]
    places_ref: Any,  # int32 [B, k]
    *,
    k: int,
    block: int,
) -> None:
    row, n = pl.program_id(0), values_ref.shape[1]
    place = jnp.arange(block, dtype=jnp.int32)
    value = pltriton.load(values_ref.at[row, place], mask=place < n, other=0.0)
    bits = jax.lax.bitcast_convert_type(value, jnp.int32)
    # Unsigned integers in the order of the floats; what lies past the row is below -inf.
    flip = jnp.where(bits < 0, jnp.int32(-1), jnp.int32(-(2**31)))
    key = jnp.where(place < n, (bits ^ flip).astype(jnp.uint32), jnp.uint32(0))

    def step(t: jax.Array, threshold: jax.Array) -> jax.Array:
        candidate = threshold | (jnp.uint32(1) << (31 - t).astype(jnp.uint32))
        reach = jnp.sum((key >= candidate).astype(jnp.int32))
        return jnp.where(reach >= k, candidate, threshold)

    threshold = jax.lax.fori_loop(0, 32, step, jnp.uint32(0))  # the k-th best
    above, equal = key > threshold, (key == threshold).astype(jnp.int32)
    room = k - jnp.sum(above.astype(jnp.int32))
    take = above | ((equal == 1) & (jnp.cumsum(equal) <= room))
    to = jnp.cumsum(take.astype(jnp.int32)) - 1
    # The interpreter writes what is masked back where it was: not over another's place.
    pltriton.store(places_ref.at[row, jnp.where(take, to, k)], place, mask=take)


def _order(
    values_ref: Any,  # float32 [B, k]
    places_ref: Any,  # int32 [B, k], ascending
    best_ref: Any,  # float32 [B, k]
    order_ref: Any,  # int32 [B, k]
    *,
    block: int,
) -> None:
    row, k = pl.program_id(0), values_ref.shape[1]
    mine = pl.program_id(1) * _GROUP + jnp.arange(_GROUP, dtype=jnp.int32)
    other = jnp.arange(block, dtype=jnp.int32)
    value = pltriton.load(values_ref.at[row, mine], mask=mine < k, other=-jnp.inf)
    rival = pltriton.load(values_ref.at[row, other], mask=other < k, other=-jnp.inf)
    earlier = (rival[:, None] == value[None]) & (other[:, None] < mine[None])
    beaten = ((rival[:, None] > value[None]) | earlier) & (other < k)[:, None]
    rank = jnp.sum(beaten.astype(jnp.int32), axis=0)
    to = jnp.where(mine < k, rank, k)
    place = pltriton.load(places_ref.at[row, mine], mask=mine < k, other=0)
    pltriton.store(best_ref.at[row, to], value, mask=mine < k)
    pltriton.store(order_ref.at[row, to], place, mask=mine < k)
