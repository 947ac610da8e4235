"""Sets of single slots as eligibility words: what to strike out of a search."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import BLOCK


def distinct(slots: jax.Array) -> jax.Array:
    """Replaces repeats within a row of int32 [B, n] by -1 (and sorts)."""
    slots = jnp.sort(slots, axis=1)
    repeat = jnp.pad(slots[:, 1:] == slots[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(repeat, -1, slots)


def slot_bits(
    clusters: jax.Array, words: int, slots_per_cluster: int, slots: jax.Array
) -> jax.Array:
    """Words [B, N, words] with the bits of `slots` set; -1 and clusters not probed are left out.

    `clusters` int32 [B, N] ascend within a row and `slots` int32 [B, n] are distinct: adding their
    bits is OR-ing them.
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
