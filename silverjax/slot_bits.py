"""Sets of single slots as eligibility words: what to strike out of a search."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from silverjax.index_config import BLOCK
from silverjax.item_index import ItemIndex


def slots_of(index: ItemIndex, rows: Int[Array, "batch n"]) -> Int[Array, "batch n"]:
    """Slots of catalogue rows; -1 for rows outside the catalogue or without an item."""
    inside = (rows >= 0) & (rows < index.capacity)
    return jnp.where(inside, index.slots[jnp.where(inside, rows, 0)], -1)


def distinct(slots: Int[Array, "batch n"]) -> Int[Array, "batch n"]:
    """Replaces repeats by -1 (and sorts)."""
    slots = jnp.sort(slots, axis=1)
    repeat = jnp.pad(slots[:, 1:] == slots[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(repeat, -1, slots)


def slot_bits(
    clusters: Int[Array, "batch probes"],
    words: int,
    slots_per_cluster: int,
    slots: Int[Array, "batch n"],
) -> UInt32[Array, "batch probes words"]:
    """Eligibility words with the bits of `slots` set; -1 and clusters not probed are left out.

    `clusters` ascend within a row and `slots` are distinct: adding their bits is OR-ing them.
    """
    cluster, position = slots // slots_per_cluster, slots % slots_per_cluster
    probe = jax.vmap(jnp.searchsorted)(clusters, cluster)
    probe = jnp.minimum(probe, clusters.shape[1] - 1)
    probed = (jnp.take_along_axis(clusters, probe, axis=1) == cluster) & (slots >= 0)
    word = jnp.where(probed, position // BLOCK, words)  # past the end: dropped
    bit = jnp.uint32(1) << (position % BLOCK).astype(jnp.uint32)
    each = jnp.arange(slots.shape[0])[:, None]
    empty = jnp.zeros((*clusters.shape, words), jnp.uint32)
    return empty.at[each, probe, word].add(bit, mode="drop")
