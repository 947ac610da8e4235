"""Stages 3 to 5: probe the nearest clusters, filter them, search them in int8.

The answer is what brute force over the same probed items would give: the words admit a
superset, and what enters the result is checked exactly. A query with a filter goes on until the
recall that is asked for is to be expected. All of it is one op of `pallas_kernels`.
"""

from __future__ import annotations

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, Int, Int8

from pallas_kernels.affinity.api import affinity
from pallas_kernels.filtered_search.api import Exact, filtered_search
from pallas_kernels.top_k.api import top_k
from silverjax.filter_plan import FilterPlan
from silverjax.item_index import ItemIndex
from silverjax.quantize import quantize


@flax.struct.dataclass
class Candidates:
    """The best items of each query.

    Attributes:
        rows: Catalogue rows, best first, -1 past the last eligible item.
        scores: Inner products with the query, -inf past the end; equal scores go by slot.
        coverage: Share of the live items that were searched.
        probed: Live items that were searched: those of the probed clusters and, under a filter,
            of clusters that were counted and hold nothing eligible.
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
    filtered_recall: float = 0.98,
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
        probes: Clusters visited per row; cost is linear in it. A row whose filter is not empty
            visits as many that hold eligible items, and then more, for `filtered_recall`.
        max_probes: Clusters visited at most, where the first `probes` are not enough; `None`
            allows all.
        filtered_recall: Share of the best `k` that a row with a filter is expected to find,
            whatever share of the items the filter admits; where those are few, all are scored.
            An expectation, from the spread of each cluster, not a bound.
        exclude: Catalogue rows not to return (say, items already seen), -1 as padding.
        rescore: Fetch `rescore * k` items and rank them by their float32 embeddings; needs
            `IndexConfig(keep_embeddings=True)`.
        backend: Kernel backend; `None` takes the device's default.

    Returns:
        Rows int32 [batch, k], -1 past the last eligible item; scores float32 [batch, k] in the
        units of the float inner product; and how much was searched.

    Raises:
        ValueError: A shape does not fit, or `k`, `probes`, `max_probes` or `filtered_recall` is
            out of range.
    """
    vectors = _as(queries, jnp.float32)
    seen = None if exclude is None else _as(exclude, jnp.int32)
    max_probes = index.clusters if max_probes is None else max_probes
    _check(index, vectors, plan, k, probes, max_probes, filtered_recall, seen, rescore)
    return _search(
        index,
        vectors,
        plan,
        seen,
        k=k,
        probes=probes,
        max_probes=max_probes,
        filtered_recall=filtered_recall,
        rescore=rescore,
        backend=backend,
    )


def _as(values: ArrayLike, dtype: DTypeLike) -> Array | np.ndarray:
    """An array of a type, on the host if it is there: a compiled call takes it over from NumPy
    in a fraction of the time that `jnp.asarray` needs, which is a third of a lone search."""
    if isinstance(values, jax.Array):
        return values if values.dtype == dtype else values.astype(dtype)
    return np.asarray(values, dtype)


def _check(
    index: ItemIndex,
    queries: Array | np.ndarray,
    plan: FilterPlan | None,
    k: int,
    probes: int,
    max_probes: int,
    filtered_recall: float,
    exclude: Array | np.ndarray | None,
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
    if not 0 <= filtered_recall <= 1:
        raise ValueError(f"{filtered_recall=} must be a share from 0 to 1")
    if plan is not None and plan.batch != queries.shape[0]:
        raise ValueError(f"the plan has {plan.batch} filters for {queries.shape[0]} queries")
    if exclude is not None and (exclude.ndim != 2 or exclude.shape[0] != queries.shape[0]):
        raise ValueError(f"exclude has shape {exclude.shape}; give [{queries.shape[0]}, rows]")
    if rescore is not None and rescore < 1:
        raise ValueError(f"{rescore=} must be at least 1 (items fetched per item returned)")
    if rescore is not None and index.cache is None:
        raise ValueError("rescore needs embeddings; build with IndexConfig(keep_embeddings=True)")


@functools.partial(
    jax.jit,
    static_argnames=("k", "probes", "max_probes", "filtered_recall", "rescore", "backend"),
)
def _search(
    index: ItemIndex,
    queries: Float[Array, "batch dim"],
    plan: FilterPlan | None,
    exclude: Int[Array, "batch excluded"] | None,
    *,
    k: int,
    probes: int,
    max_probes: int,
    filtered_recall: float,
    rescore: float | None,
    backend: str | None,
) -> Candidates:
    codes, query_scales, reached, spread = affinities(index, queries, backend)
    wanted = k if rescore is None else min(round(k * rescore), probes * index.slots_per_cluster)
    scores, rows, probed, eligible = filtered_search(
        *(index.codes, index.scales, index.words),
        codes,
        query_scales,
        reached,
        None if plan is None else jax.tree.map(jnp.asarray, plan.probe),
        None if plan is None else _exact(index, plan),
        None if exclude is None else slots_of(index, exclude),
        None if plan is None else spread,
        index.rows,
        k=wanted,
        probes=probes,
        max_probes=max_probes,
        recall=filtered_recall,
        backend=backend,
    )
    if rescore is not None:
        rows, scores = _rescored(index, _finite(queries), rows, k, backend)
    live = jnp.maximum(index.live_items, 1).astype(jnp.float32)
    coverage = probed.astype(jnp.float32) / live
    return Candidates(rows, scores, coverage, probed, eligible)


def affinities(
    index: ItemIndex, queries: Float[Array, "batch dim"], backend: str | None = None
) -> tuple[
    Int8[Array, "batch D"], Float[Array, "batch"], Float[Array, "batch C"], Float[Array, "batch C"]
]:
    """The queries in int8, how high the scores of every cluster reach for each, and their spread.

    That is `REACH` standard deviations above their mean: items beyond the k-th are found at
    the edge of a wide cluster sooner than in the middle of a narrow one. Clusters are visited from
    the largest affinity down, equal ones in their order. A query with a NaN or infinity is all
    zeros, and reaches none (-inf), as does one of numbers so huge that they overflow.
    """
    finite = jnp.all(jnp.isfinite(queries), axis=1)
    padded = jnp.pad(_finite(queries), ((0, 0), (0, index.codes.shape[2] - index.dim)))
    # Which items are found has no gradient; what scores them afterwards has.
    fixed = jax.lax.stop_gradient(padded)
    codes, scales = quantize(fixed)
    along = jnp.where(finite, index.along(fixed), jnp.nan)
    reached = affinity(
        *(index.centroids, index.centroid_scales, index.radii, codes, scales, along),
        backend=backend,
    )
    return codes, scales, *reached


def _finite(queries: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
    return jnp.where(jnp.all(jnp.isfinite(queries), axis=1)[:, None], queries, 0.0)


def _exact(index: ItemIndex, plan: FilterPlan) -> Exact:
    """The items' own term lists beside the terms of the plan."""
    return Exact(
        spans=index.spans,
        terms=index.terms,
        leaf_terms=jnp.asarray(plan.terms),
        negated=jnp.asarray(plan.negated),
        decided=jnp.asarray(plan.exact),
    )


def slots_of(index: ItemIndex, rows: Int[Array, "batch n"]) -> Int[Array, "batch n"]:
    """Slots of catalogue rows; -1 for rows outside the catalogue or without an item."""
    inside = (rows >= 0) & (rows < index.capacity)
    return jnp.where(inside, index.slots[jnp.where(inside, rows, 0)], -1)


def _rescored(
    index: ItemIndex,
    queries: Float[Array, "batch dim"],
    rows: Int[Array, "batch n"],
    k: int,
    backend: str | None,
) -> tuple[Int[Array, "batch k"], Float[Array, "batch k"]]:
    """Ranks `rows` by the float32 inner product and keeps `k`."""
    assert index.cache is not None  # checked by the caller
    embeddings = index.cache.embeddings[jnp.maximum(rows, 0)]
    exact = jnp.einsum("bnd,bd->bn", embeddings, queries, precision="highest")
    exact = jnp.where(rows < 0, -jnp.inf, exact)
    _, place = top_k(jax.lax.stop_gradient(exact), k=k, backend=backend)
    return jnp.take_along_axis(rows, place, axis=1), jnp.take_along_axis(exact, place, axis=1)
