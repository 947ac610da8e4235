"""`filtered_search` made of the other two ops: what every device runs that has no kernel for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import BLOCK, Plan
from pallas_kernels.filtered_search.exact import Exact, admits
from pallas_kernels.filtered_search.reach import Course, allowed, next_goal
from pallas_kernels.filtered_search.slot_bits import distinct, slot_bits

# Room for candidates that the exact check will strike out; a second pass is then rare.
_SPARE = 32
_Checked = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # mask, scores, slots, whether done
_Probe = Callable[[jax.Array, Plan, jax.Array], jax.Array]
_Search = Callable[..., tuple[jax.Array, jax.Array]]


class _State(NamedTuple):
    """Of the loop over clusters."""

    at: jax.Array  # int32 [B]; clusters visited
    goal: jax.Array  # int32 [B]; clusters to visit before the rule is asked again
    scores: jax.Array  # float32 [B, k]
    slots: jax.Array  # int32 [B, k]
    live: jax.Array  # int32 [B]
    eligible: jax.Array  # int32 [B]


@functools.partial(
    jax.jit, static_argnames=("k", "probes", "max_probes", "recall", "bloom_probe", "int8_search")
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
    spread: jax.Array | None,
    names: jax.Array | None = None,
    *,
    k: int,
    probes: int,
    max_probes: int,
    recall: float,
    bloom_probe: _Probe,
    int8_search: _Search,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """See `api.filtered_search`."""
    capacity, batch = codes.shape[1], queries.shape[0]
    width = words.shape[2]
    inside = jnp.full(width, 0xFFFFFFFF, jnp.uint32)
    if capacity % BLOCK:
        inside = inside.at[-1].set(2 ** (capacity % BLOCK) - 1)
    probe = functools.partial(_probe, words, plan, inside, bloom_probe)
    find = functools.partial(int8_search, codes, scales, queries, query_scales)
    struck = None if excluded is None else distinct(excluded)
    course, empty = _course(probe, affinity, plan, spread, max_probes)
    further = functools.partial(next_goal, course, allowance=allowed(k, recall), k=k, probes=probes)

    def visit(state: _State) -> _State:
        place = state.at[:, None] + jnp.arange(probes)
        wanted = place < state.goal[:, None]
        place = jnp.minimum(place, course.order.shape[1] - 1)
        chosen = jnp.where(wanted, jnp.take_along_axis(course.order, place, axis=1), -1)
        # In ascending order, so that equal scores are ranked by slot.
        chosen = jnp.sort(chosen, axis=1)
        live, mask = probe(chosen)
        if struck is not None:
            mask &= ~slot_bits(chosen, width, capacity, struck)
        found = _verified(functools.partial(find, chosen), plan, exact, chosen, mask, capacity, k)
        scores, slots = _merge((state.scores, state.slots), found, k)
        at = jnp.minimum(state.at + probes, state.goal)
        goal = further(at, jnp.sum(slots >= 0, axis=1, dtype=jnp.int32), scores[:, -1])
        return _State(
            at=at,
            goal=jnp.where(at < state.goal, state.goal, goal),
            scores=scores,
            slots=slots,
            live=state.live + _bits(live),
            eligible=state.eligible + _bits(mask),
        )

    start = _State(
        at=jnp.zeros(batch, jnp.int32),
        goal=jnp.minimum(course.length, probes),
        scores=jnp.full((batch, k), -jnp.inf, jnp.float32),
        slots=jnp.full((batch, k), -1, jnp.int32),
        live=empty,
        eligible=jnp.zeros(batch, jnp.int32),
    )
    done = jax.lax.while_loop(lambda state: jnp.any(state.at < state.goal), visit, start)
    found = done.slots
    if names is not None:
        found = jnp.where(found < 0, -1, names.reshape(-1)[jnp.maximum(found, 0)])
    return done.scores, found, done.live, done.eligible


def _probe(
    words: jax.Array, plan: Plan | None, inside: jax.Array, bloom_probe: _Probe,
    clusters: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Words [B, N, W] of the live slots of clusters [B, N], and of those that the plan admits."""
    live = words[0][jnp.maximum(clusters, 0)] & inside
    live = jnp.where(clusters[:, :, None] >= 0, live, 0)
    return live, live if plan is None else bloom_probe(words, plan, clusters) & inside


def _course(
    probe: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    affinity: jax.Array,
    plan: Plan | None,
    spread: jax.Array | None,
    max_probes: int,
) -> tuple[Course, jax.Array]:
    """The clusters in order, and the live slots [B] of those that are known to hold nothing."""
    batch, count = affinity.shape
    open_ = affinity > -jnp.inf
    adaptive = jnp.zeros(batch, bool)
    counts, known = None, jnp.zeros(batch, jnp.int32)
    if plan is not None and spread is not None:
        adaptive = jnp.any(plan.program >= 0, axis=1)
        every = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), affinity.shape)
        live, mask = (jnp.sum(jax.lax.population_count(bits), axis=2) for bits in probe(every))
        empty = open_ & adaptive[:, None] & (mask == 0)
        known = jnp.sum(jnp.where(empty, live, 0), axis=1).astype(jnp.int32)
        open_ &= ~empty
        counts = jnp.where(open_, mask, 0).astype(jnp.int32)
    nearness, order = jax.lax.top_k(jnp.where(open_, affinity, -jnp.inf), count)
    if counts is not None and spread is not None:
        counts = jnp.take_along_axis(counts, order, axis=1)
        spread = jnp.take_along_axis(spread, order, axis=1)
    length = jnp.minimum(jnp.sum(open_, axis=1, dtype=jnp.int32), max_probes)
    return Course(order, length, counts, nearness, spread, adaptive), known


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
