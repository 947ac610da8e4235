"""The specification of `int8_search`, in plain jnp: XLA, every device."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

# A sum of 1,024 products of int8 stays within 2**24 = 1,024 * 128 * 128: float32 holds every
# partial sum exactly, in any order. XLA's float dot is fast on the CPU, its int8 dot is scalar.
EXACT = 1024


def why_not(platform: str) -> str | None:
    """None: runs everywhere."""
    del platform
    return None


@functools.partial(jax.jit, static_argnames="k")
def int8_search(
    codes: jax.Array, scales: jax.Array, queries: jax.Array, query_scales: jax.Array,
    clusters: jax.Array, eligible: jax.Array, *, k: int,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """See `api.int8_search`."""
    (batch, probes), (capacity, dim) = clusters.shape, codes.shape[1:]
    known = (clusters >= 0) & (clusters < codes.shape[0])  # [B, N]
    cluster = jnp.where(known, clusters, 0)

    def score(c: jax.Array) -> jax.Array:  # int32 [B] -> float32 [B, S]; one probe of each query
        dot = jnp.zeros((batch, capacity), jnp.int32)
        for d in range(0, dim, EXACT):
            block, query = codes[c, :, d : d + EXACT], queries[:, d : d + EXACT]
            part = jnp.einsum("bsd,bd->bs", block.astype(jnp.float32), query.astype(jnp.float32),
                              precision="highest")  # fmt: skip
            dot += part.astype(jnp.int32)
        return (dot.astype(jnp.float32) * scales[c]) * query_scales[:, None]

    scores = jnp.swapaxes(jax.lax.map(score, cluster.T), 0, 1)  # [B, N, S]
    bits = eligible[..., None] >> jnp.arange(32, dtype=jnp.uint32)[None, None, None] & 1
    bits = bits.reshape(batch, probes, 32 * eligible.shape[2])[:, :, :capacity]
    keep = (bits == 1) & known[:, :, None]
    # top_k puts -0.0 below 0.0; here they tie.
    scores = jnp.where(keep, jnp.where(scores == 0, 0.0, scores), -jnp.inf)
    best, place = jax.lax.top_k(scores.reshape(batch, probes * capacity), k)  # ties: lower place
    slots = jnp.take_along_axis(cluster, place // capacity, axis=1) * capacity + place % capacity
    return best, jnp.where(best == -jnp.inf, -1, slots)
