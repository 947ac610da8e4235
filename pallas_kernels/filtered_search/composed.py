"""`filtered_search` made of the other two ops: what every device runs that has no kernel for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import BLOCK, Plan
from pallas_kernels.filtered_search.exact import Exact, admits
from pallas_kernels.filtered_search.slot_bits import distinct, slot_bits

# Room for candidates that the exact check will strike out; a second pass is then rare.
_SPARE = 32
_Checked = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # mask, scores, slots, whether done
_Probe = Callable[[jax.Array, Plan, jax.Array], jax.Array]
_Search = Callable[..., tuple[jax.Array, jax.Array]]


class _State(NamedTuple):
    """Of the loop over rounds of clusters."""

    round: jax.Array  # int32 []
    visited: jax.Array  # bool [B, C]
    scores: jax.Array  # float32 [B, k]
    slots: jax.Array  # int32 [B, k]
    live: jax.Array  # int32 [B]
    eligible: jax.Array  # int32 [B]


@functools.partial(
    jax.jit, static_argnames=("k", "probes", "max_probes", "bloom_probe", "int8_search")
)
def composed(
    codes: jax.Array,
    scales: jax.Array,
    words: jax.Array,
    queries: jax.Array,
    query_scales: jax.Array,
    affinity: jax.Array,
    plan: Plan | None,
    exact: Exact | None,
    excluded: jax.Array | None,
    *,
    k: int,
    probes: int,
    max_probes: int,
    bloom_probe: _Probe,
    int8_search: _Search,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """See `api.filtered_search`."""
    (count, capacity, _), batch = codes.shape, queries.shape[0]
    width = words.shape[2]
    inside = jnp.full(width, 0xFFFFFFFF, jnp.uint32)
    if capacity % BLOCK:
        inside = inside.at[-1].set(2 ** (capacity % BLOCK) - 1)
    find = functools.partial(int8_search, codes, scales, queries, query_scales)
    struck = None if excluded is None else distinct(excluded)
    each = jnp.arange(batch)[:, None]

    def hungry(state: _State) -> jax.Array:
        found = jnp.sum(state.slots >= 0, axis=1)
        left = jnp.any(~state.visited & (affinity > -jnp.inf), axis=1)
        return (found < k) & left

    def probe_more(state: _State) -> _State:
        # A query that has enough, or no clusters left, probes nothing.
        open_ = jnp.where(hungry(state)[:, None] & ~state.visited, affinity, -jnp.inf)
        near, chosen = jax.lax.top_k(open_, probes)
        within = state.round * probes + jnp.arange(probes) < max_probes
        # In ascending order, so that equal scores are ranked by slot.
        chosen = jnp.sort(jnp.where((near > -jnp.inf) & within[None], chosen, -1), axis=1)
        known = chosen >= 0
        live = jnp.where(known[:, :, None], words[jnp.maximum(chosen, 0), 0], 0) & inside
        mask = live if plan is None else bloom_probe(words, plan, chosen) & inside
        if struck is not None:
            mask &= ~slot_bits(chosen, width, capacity, struck)
        found = _verified(functools.partial(find, chosen), plan, exact, chosen, mask, capacity, k)
        scores, slots = _merge((state.scores, state.slots), found, k)
        return _State(
            round=state.round + 1,
            visited=state.visited.at[each, jnp.where(known, chosen, count)].set(True, mode="drop"),
            scores=scores,
            slots=slots,
            live=state.live + _bits(live),
            eligible=state.eligible + _bits(mask),
        )

    start = _State(
        round=jnp.int32(0),
        visited=jnp.zeros((batch, count), bool),
        scores=jnp.full((batch, k), -jnp.inf, jnp.float32),
        slots=jnp.full((batch, k), -1, jnp.int32),
        live=jnp.zeros(batch, jnp.int32),
        eligible=jnp.zeros(batch, jnp.int32),
    )
    rounds = -(-max_probes // probes)
    done = jax.lax.while_loop(
        lambda state: (state.round < rounds) & jnp.any(hungry(state)), probe_more, start
    )
    return done.scores, done.slots, done.live, done.eligible


def _bits(words: jax.Array) -> jax.Array:
    """int32 [B]: bits that are set in words [B, N, W]."""
    return jnp.sum(jax.lax.population_count(words), axis=(1, 2)).astype(jnp.int32)


def _verified(
    find: _Search,
    plan: Plan | None,
    exact: Exact | None,
    clusters: jax.Array,
    mask: jax.Array,
    capacity: int,
    k: int,
) -> tuple[jax.Array, jax.Array]:
    """The best slots of `mask` that pass the exact filter."""
    if plan is None or exact is None:
        return find(mask, k=k)
    fetched = min(k + _SPARE, clusters.shape[1] * capacity)
    batch = clusters.shape[0]

    def again(state: _Checked) -> _Checked:
        mask = state[0]
        scores, slots = find(mask, k=fetched)
        right = admits(exact, plan.program, slots)
        struck = slot_bits(clusters, mask.shape[2], capacity, jnp.where(right, -1, slots))
        # Enough, or nothing left to fetch: otherwise what was struck out made way for others.
        enough = (jnp.sum(right, axis=1) >= k) | (slots[:, -1] < 0)
        scores = jnp.where(right, scores, -jnp.inf)
        return mask & ~struck, scores, jnp.where(right, slots, -1), jnp.all(enough)

    start = (
        mask,
        jnp.zeros((batch, fetched), jnp.float32),
        jnp.zeros((batch, fetched), jnp.int32),
        jnp.bool_(False),
    )
    _, scores, slots, _ = jax.lax.while_loop(lambda state: ~state[-1], again, start)
    scores, place = jax.lax.top_k(scores, k)
    return scores, jnp.take_along_axis(slots, place, axis=1)


def _merge(
    one: tuple[jax.Array, jax.Array], other: tuple[jax.Array, jax.Array], k: int
) -> tuple[jax.Array, jax.Array]:
    """The best `k` of both, equal scores by slot."""
    scores, slots = (jnp.concatenate(pair, axis=1) for pair in zip(one, other, strict=True))
    negative, slots = jax.lax.sort((-scores, slots), num_keys=2)
    return -negative[:, :k], slots[:, :k]
