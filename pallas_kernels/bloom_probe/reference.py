"""The specification of `bloom_probe`, in plain jnp: XLA, every device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import COMPLEMENT, ONES, ROWS, Plan, evaluate


def why_not(platform: str) -> str | None:
    """None: runs everywhere."""
    del platform
    return None


@jax.jit
def bloom_probe(words: jax.Array, plan: Plan, clusters: jax.Array | None) -> jax.Array:
    """See `api.bloom_probe`."""
    batch = plan.program.shape[0]
    count = words.shape[1]
    if clusters is None:
        clusters = jnp.broadcast_to(jnp.arange(count), (batch, count))
    query = jnp.arange(batch)
    known = (clusters >= 0) & (clusters < count)  # [B, N]
    cluster = jnp.where(known, clusters, 0)

    def row(r: jax.Array) -> jax.Array:  # int32 [B] -> uint32 [B, N, W]
        return words.at[r[:, None], cluster].get(mode="clip")

    def leaf(i: jax.Array) -> jax.Array:  # int32 [B] -> uint32 [B, N, W]
        rows, mode = plan.rows[query, i], plan.modes[query, i][:, None, None]  # [B, K]
        bits = row(rows[:, 0])
        for k in range(1, rows.shape[1]):
            bits &= row(rows[:, k])
        keep = (mode == ROWS) | (mode == COMPLEMENT)
        flip = (mode == COMPLEMENT) | (mode == ONES)
        return jnp.where(keep, bits, 0) ^ jnp.where(flip, jnp.uint32(0xFFFFFFFF), 0)

    live = row(jnp.zeros(batch, jnp.int32))
    return jnp.where(known[:, :, None], evaluate(plan.program, leaf) & live, 0)
