"""Stages 3 to 5: probe the nearest clusters, filter them, search them in int8.

The answer is what brute force over the same probed items would give: the words admit a
superset, what enters the result is checked exactly, and what fails the check is struck out
and replaced. Where a filter leaves fewer than k items, the next clusters are probed.
"""

from __future__ import annotations

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, UInt32

from pallas_kernels.int8_search.api import int8_search
from silverjax.bloom_filter import admits, eligibility
from silverjax.filter_plan import FilterPlan
from silverjax.item_index import ItemIndex
from silverjax.quantize import quantize
from silverjax.slot_bits import distinct, slot_bits, slots_of

# Room for candidates that the exact check will strike out; a second pass is then rare.
_SPARE = 32


@flax.struct.dataclass
class Candidates:
    """The best items of each query.

    Attributes:
        rows: Catalogue rows, best first, -1 past the last eligible item.
        scores: Inner products with the query, -inf past the end; equal scores go by slot.
        coverage: Share of the live items that were searched.
        probed: Live items in the probed clusters.
        eligible: Those of them that the words admit: the filter's answer and, rarely, more.
    """

    rows: Int[Array, "batch k"]
    scores: Float[Array, "batch k"]
    coverage: Float[Array, "batch"]
    probed: Int[Array, "batch"]
    eligible: Int[Array, "batch"]


def search(
    index: ItemIndex,
    queries: ArrayLike,
    plan: FilterPlan | None = None,
    *,
    k: int,
    probes: int,
    max_probes: int | None = None,
    exclude: ArrayLike | None = None,
    rescore: float | None = None,
    backend: str | None = None,
) -> Candidates:
    """Keeps the best `k` eligible items of the `probes` nearest clusters.

    Equivalent to `top_k(where(eligible, queries @ items.T, -inf), k)` when all clusters are
    probed, up to int8 rounding. May be called under `jax.jit` with the index as an argument.

    Args:
        index: Made by `build_index`.
        queries: Float [batch, dim], not normalised. A row with a NaN or infinity finds nothing.
        plan: One filter per row, from `compile_filters`; `None` admits every live item.
        k: Items to return per row.
        probes: Clusters visited per row; cost is linear in it.
        max_probes: Clusters visited at most, where the first `probes` hold fewer than `k`
            eligible items; `None` allows all.
        exclude: Catalogue rows not to return (say, items already seen), -1 as padding.
        rescore: Fetch `rescore * k` items and rank them by their float32 embeddings; needs
            `IndexConfig(keep_embeddings=True)`.
        backend: Kernel backend; `None` takes the device's default.

    Returns:
        Rows int32 [batch, k], -1 past the last eligible item; scores float32 [batch, k] in the
        units of the float inner product; and how much was searched.

    Raises:
        ValueError: A shape does not fit, or `k` or `probes` is out of range.
    """
    vectors = jnp.asarray(queries, jnp.float32)
    seen = None if exclude is None else jnp.asarray(exclude, jnp.int32)
    max_probes = index.clusters if max_probes is None else max_probes
    _check(index, vectors, plan, k, probes, max_probes, seen, rescore)
    return _search(
        index,
        vectors,
        plan,
        seen,
        k=k,
        probes=probes,
        rounds=-(-max_probes // probes),
        rescore=rescore,
        backend=backend,
    )


def _check(
    index: ItemIndex,
    queries: Array,
    plan: FilterPlan | None,
    k: int,
    probes: int,
    max_probes: int,
    exclude: Array | None,
    rescore: float | None,
) -> None:
    if queries.ndim != 2 or queries.shape[1] != index.dim:
        raise ValueError(
            f"queries have shape {queries.shape}; the index needs [batch, {index.dim}]"
        )
    if not 1 <= probes <= index.clusters:
        raise ValueError(f"{probes=} must be from 1 to the index's {index.clusters} clusters")
    if not probes <= max_probes <= index.clusters:
        raise ValueError(f"{max_probes=} must be from {probes=} to {index.clusters} clusters")
    if not 1 <= k <= probes * index.slots_per_cluster:
        raise ValueError(
            f"{k=} must be from 1 to the capacity of the probed clusters, "
            f"{probes * index.slots_per_cluster} ({probes=} of {index.slots_per_cluster} slots); "
            "lower k or raise probes"
        )
    if plan is not None and plan.batch != queries.shape[0]:
        raise ValueError(f"the plan has {plan.batch} filters for {queries.shape[0]} queries")
    if exclude is not None and (exclude.ndim != 2 or exclude.shape[0] != queries.shape[0]):
        raise ValueError(f"exclude has shape {exclude.shape}; give [{queries.shape[0]}, rows]")
    if rescore is not None and rescore < 1:
        raise ValueError(f"{rescore=} must be at least 1 (items fetched per item returned)")
    if rescore is not None and index.cache is None:
        raise ValueError("rescore needs embeddings; build with IndexConfig(keep_embeddings=True)")


@functools.partial(jax.jit, static_argnames=("k", "probes", "rounds", "rescore", "backend"))
def _search(
    index: ItemIndex,
    queries: Float[Array, "batch dim"],
    plan: FilterPlan | None,
    exclude: Int[Array, "batch excluded"] | None,
    *,
    k: int,
    probes: int,
    rounds: int,
    rescore: float | None,
    backend: str | None,
) -> Candidates:
    batch, clusters = queries.shape[0], index.clusters
    finite = jnp.all(jnp.isfinite(queries), axis=1)
    queries = jnp.where(finite[:, None], queries, 0.0)
    padded = jnp.pad(queries, ((0, 0), (0, index.codes.shape[2] - index.dim)))
    codes = quantize(padded)
    affinity = jnp.where(finite[:, None], padded @ index.centroids.T, -jnp.inf)
    excluded = None if exclude is None else distinct(slots_of(index, exclude))
    wanted = k if rescore is None else min(round(k * rescore), probes * index.slots_per_cluster)
    sizes = index.cluster_sizes()
    each = jnp.arange(batch)[:, None]

    def probe_more(state: _Probing) -> _Probing:
        # A query that has enough, or no clusters left, probes nothing.
        open_ = jnp.where(_hungry(state, wanted)[:, None] & ~state.visited, affinity, -jnp.inf)
        near, chosen = jax.lax.top_k(open_, probes)
        # In ascending order, so that equal scores are ranked by slot.
        chosen = jnp.sort(jnp.where(near > -jnp.inf, chosen, -1), axis=1)
        words = eligibility(index, plan, chosen, backend=backend)
        if excluded is not None:
            words &= ~slot_bits(chosen, words.shape[2], index.slots_per_cluster, excluded)
        scores, slots = _verified(index, plan, codes, chosen, words, wanted, backend)
        scores, slots = _merge((state.scores, state.slots), (scores, slots), wanted)
        known = jnp.where(chosen < 0, 0, sizes[jnp.maximum(chosen, 0)])
        admitted = jnp.sum(jax.lax.population_count(words), axis=(1, 2)).astype(jnp.int32)
        return _Probing(
            round=state.round + 1,
            visited=state.visited.at[each, jnp.where(chosen < 0, clusters, chosen)].set(
                True, mode="drop"
            ),
            scores=scores,
            slots=slots,
            probed=state.probed + jnp.sum(known, axis=1),
            eligible=state.eligible + admitted,
        )

    start = _Probing(
        round=jnp.int32(0),
        visited=jnp.broadcast_to(~finite[:, None], (batch, clusters)),
        scores=jnp.full((batch, wanted), -jnp.inf, jnp.float32),
        slots=jnp.full((batch, wanted), -1, jnp.int32),
        probed=jnp.zeros(batch, jnp.int32),
        eligible=jnp.zeros(batch, jnp.int32),
    )
    done = jax.lax.while_loop(
        lambda state: (state.round < rounds) & jnp.any(_hungry(state, wanted)), probe_more, start
    )
    rows = jnp.where(done.slots < 0, -1, index.rows.reshape(-1)[jnp.maximum(done.slots, 0)])
    scores = done.scores
    if rescore is not None:
        rows, scores = _rescored(index, queries, rows, k)
    live = jnp.maximum(index.live_items(), 1).astype(jnp.float32)
    coverage = done.probed.astype(jnp.float32) / live
    return Candidates(rows, scores, coverage, done.probed, done.eligible)


@flax.struct.dataclass
class _Probing:
    """State of the loop over rounds of clusters."""

    round: Int[Array, ""]
    visited: Bool[Array, "batch clusters"]
    scores: Float[Array, "batch wanted"]
    slots: Int[Array, "batch wanted"]
    probed: Int[Array, "batch"]
    eligible: Int[Array, "batch"]


def _hungry(state: _Probing, wanted: int) -> Bool[Array, "batch"]:
    found = jnp.sum(state.slots >= 0, axis=1)
    return (found < wanted) & ~jnp.all(state.visited, axis=1)


def _verified(
    index: ItemIndex,
    plan: FilterPlan | None,
    query: tuple[Array, Array],
    clusters: Int[Array, "batch probes"],
    eligible: UInt32[Array, "batch probes words"],
    wanted: int,
    backend: str | None,
) -> tuple[Float[Array, "batch wanted"], Int[Array, "batch wanted"]]:
    """The best items that pass the exact filter, as scores and slots."""
    find = functools.partial(int8_search, index.codes, index.scales, *query, clusters)
    if plan is None:
        return find(eligible, k=wanted, backend=backend)
    fetched = min(wanted + _SPARE, clusters.shape[1] * index.slots_per_cluster)
    batch = clusters.shape[0]

    def again(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        eligible = state[0]
        scores, slots = find(eligible, k=fetched, backend=backend)
        right = admits(index, plan, slots)
        wrong = jnp.where(right, -1, slots)
        struck = slot_bits(clusters, eligible.shape[2], index.slots_per_cluster, wrong)
        # Enough, or nothing left to fetch: otherwise what was struck out made way for others.
        enough = (jnp.sum(right, axis=1) >= wanted) | (slots[:, -1] < 0)
        scores = jnp.where(right, scores, -jnp.inf)
        return eligible & ~struck, scores, jnp.where(right, slots, -1), jnp.all(enough)

    _, scores, slots, _ = jax.lax.while_loop(
        lambda state: ~state[-1],
        again,
        (
            eligible,
            jnp.zeros((batch, fetched), jnp.float32),
            jnp.zeros((batch, fetched), jnp.int32),
            jnp.bool_(False),
        ),
    )
    scores, place = jax.lax.top_k(scores, wanted)
    return scores, jnp.take_along_axis(slots, place, axis=1)


def _merge(
    one: tuple[Array, Array], other: tuple[Array, Array], k: int
) -> tuple[Float[Array, "batch k"], Int[Array, "batch k"]]:
    """The best `k` of both, equal scores by slot."""
    scores, slots = (jnp.concatenate(pair, axis=1) for pair in zip(one, other, strict=True))
    negative, slots = jax.lax.sort((-scores, slots), num_keys=2)
    return -negative[:, :k], slots[:, :k]


def _rescored(
    index: ItemIndex, queries: Float[Array, "batch dim"], rows: Int[Array, "batch n"], k: int
) -> tuple[Int[Array, "batch k"], Float[Array, "batch k"]]:
    """Ranks `rows` by the float32 inner product and keeps `k`."""
    assert index.cache is not None  # checked by the caller
    embeddings = index.cache.embeddings[jnp.maximum(rows, 0)]
    exact = jnp.einsum("bnd,bd->bn", embeddings, queries, precision="highest")
    scores, place = jax.lax.top_k(jnp.where(rows < 0, -jnp.inf, exact), k)
    return jnp.take_along_axis(rows, place, axis=1), scores
