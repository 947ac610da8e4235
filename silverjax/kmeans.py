"""Balanced k-means: Lloyd's iterations in JAX, then clusters of bounded size.

An inverted file whose clusters have one size needs no indirection: a probe is one slice. The
price is that an item may land in its second nearest cluster, so Lloyd's iterations already
lean against uneven clusters (a price per cluster, raised where it is too full: the dual of the
assignment problem), and the final assignment is the stable matching of items to clusters.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_CHUNK = 8_192  # points per distance block; bounds memory to chunk x clusters floats
_CHOICES = 16  # nearest clusters an item may ask for in one matching
_MATCHINGS = 8
_PRICE_STEP = 0.1


def balanced_kmeans(
    points: Float[np.ndarray, "n dim"],
    *,
    clusters: int,
    largest: int,
    iterations: int = 10,
    sample_per_cluster: int = 128,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "clusters dim"], Int[np.ndarray, "n"]]:
    """Clusters `points` so that no cluster is empty or holds more than `largest`.

    Args:
        points: Finite vectors.
        clusters: Number of clusters, at most n.
        largest: Most points of one cluster; `clusters * largest` must hold all points.
        iterations: Lloyd iterations, on a sample.
        sample_per_cluster: Size of that sample.
        seed: The result is a function of the arguments alone.

    Returns:
        Centroids (the means of the points assigned), and the cluster of each point.
    """
    n = len(points)
    if clusters > n:
        raise ValueError(f"{clusters=} must be at most the number of items, {n}")
    if clusters * largest < n:
        raise ValueError(f"{clusters=} of at most {largest} items cannot hold {n} items")
    rng = np.random.default_rng(seed)
    sampled = min(n, clusters * sample_per_cluster)
    sample = points[np.sort(rng.choice(n, sampled, replace=False))] if sampled < n else points
    start = sample[np.sort(rng.choice(sampled, clusters, replace=False))]
    centroids = _lloyd(_chunked(sample), start, jnp.int32(sampled), iterations=iterations)
    cluster = _assign(points, np.asarray(centroids), largest)
    return _means(points, cluster, clusters), cluster


def _chunked(points: np.ndarray) -> np.ndarray:
    """[n, dim] -> [chunks, chunk, dim], zero-padded; few distinct shapes, so few compilations."""
    chunk = min(_CHUNK, 1 << max(len(points) - 1, 1).bit_length())
    chunks = -(-len(points) // chunk)
    padded = np.zeros((chunks * chunk, points.shape[1]), np.float32)
    padded[: len(points)] = points
    return padded.reshape(chunks, chunk, -1)


def _distances(points: Array, centroids: Array) -> Float[Array, "chunk clusters"]:
    """Squared distances less the squared norm of the point, which changes no comparison."""
    return jnp.sum(centroids**2, axis=1)[None] - 2.0 * (points @ centroids.T)


@functools.partial(jax.jit, static_argnames="iterations")
def _lloyd(
    chunks: Float[Array, "chunks chunk dim"],
    start: Float[Array, "clusters dim"],
    points: Int[Array, ""],
    *,
    iterations: int,
) -> Float[Array, "clusters dim"]:
    clusters = start.shape[0]
    flat = chunks.reshape(-1, chunks.shape[-1])
    real = jnp.arange(flat.shape[0]) < points
    norms = jnp.sum(flat**2, axis=1)
    count = points.astype(jnp.float32)

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        centroids, price = carry

        def nearest(block: Array) -> tuple[Array, Array]:
            priced = _distances(block, centroids) + price[None]
            return jnp.argmin(priced, axis=1), jnp.min(priced, axis=1)

        cluster, priced = jax.tree.map(jnp.ravel, jax.lax.map(nearest, chunks))
        distance = jnp.where(real, priced - price[cluster] + norms, 0.0)
        member = jnp.where(real, cluster, clusters)  # padding falls off the end
        sums = jax.ops.segment_sum(flat, member, clusters + 1)[:-1]
        sizes = jax.ops.segment_sum(real.astype(jnp.float32), member, clusters + 1)[:-1]
        empty = sizes == 0
        # Empty clusters restart at the points farthest from their own centroid.
        farthest = jax.lax.top_k(distance, clusters)[1]
        restart = flat[farthest[jnp.cumsum(empty) - 1]]
        means = sums / jnp.maximum(sizes, 1.0)[:, None]
        centroids = jnp.where(empty[:, None], restart, means)
        typical = jnp.sum(distance) / count
        fullness = jnp.log(jnp.maximum(sizes, 0.5) * clusters / count)
        price = jnp.where(empty, 0.0, price + _PRICE_STEP * typical * fullness)
        return (centroids, price), None

    (centroids, _), _ = jax.lax.scan(
        step, (start, jnp.zeros(clusters, jnp.float32)), None, length=iterations
    )
    return centroids


@functools.partial(jax.jit, static_argnames="choices")
def _nearest_open(
    chunks: Array, centroids: Array, is_open: Array, *, choices: int
) -> tuple[Array, Array]:
    """The `choices` nearest open clusters of every point, with distances (inf if fewer)."""

    def block(points: Array) -> tuple[Array, Array]:
        distances = jnp.where(is_open[None], _distances(points, centroids), jnp.inf)
        negative, cluster = jax.lax.top_k(-distances, choices)
        return -negative, cluster

    distances, cluster = jax.lax.map(block, chunks)
    return distances.reshape(-1, choices), cluster.reshape(-1, choices)


def _assign(points: np.ndarray, centroids: np.ndarray, largest: int) -> np.ndarray:
    """Stable matching of points to clusters of at most `largest`, none of them empty."""
    clusters = len(centroids)
    cluster = np.full(len(points), -1, np.int32)
    room = np.full(clusters, largest)
    for _ in range(_MATCHINGS):
        left = np.flatnonzero(cluster < 0)
        if not len(left):
            break
        distances, choice = _nearest_open(
            _chunked(points[left]), centroids, room > 0, choices=min(_CHOICES, clusters)
        )
        wanted = np.asarray(choice)[: len(left)], np.asarray(distances)[: len(left)]
        cluster[left] = _match(*wanted, room)
        room = largest - np.bincount(cluster[cluster >= 0], minlength=clusters)
    left = np.flatnonzero(cluster < 0)  # only crowds of near-identical points come here
    cluster[left] = np.repeat(np.arange(clusters), room)[: len(left)]
    return _fill_empty(points, centroids, cluster)


def _match(choice: np.ndarray, distance: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Deferred acceptance (Gale and Shapley, 1962): a full cluster keeps its nearest points."""
    points, choices = choice.shape
    rank = np.zeros(points, np.int64)  # the choice that each point is asking for
    everyone = np.arange(points)
    while True:
        asking = rank < choices
        asking[asking] &= np.isfinite(distance[everyone[asking], rank[asking]])
        asks = everyone[asking]
        target = choice[asks, rank[asks]]
        crowded = np.bincount(target, minlength=len(room)) > room
        contested = crowded[target]
        if not contested.any():
            result = np.full(points, -1, np.int32)
            result[asks] = target
            return result
        asks, target = asks[contested], target[contested]
        order = np.lexsort((asks, distance[asks, rank[asks]], target))
        asks, target = asks[order], target[order]
        first = np.searchsorted(target, target)
        refused = asks[np.arange(len(asks)) - first >= room[target]]
        rank[refused] += 1


def _fill_empty(points: np.ndarray, centroids: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Gives every empty cluster the nearest point of a cluster that can spare one."""
    sizes = np.bincount(cluster, minlength=len(centroids))
    for empty in np.flatnonzero(sizes == 0):
        donors = np.flatnonzero(cluster == np.argmax(sizes))
        gaps = np.sum((points[donors] - centroids[empty]) ** 2, axis=1)
        moved = donors[np.argmin(gaps)]
        sizes[cluster[moved]] -= 1
        sizes[empty] += 1
        cluster[moved] = empty
    return cluster


def _means(points: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    order = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[order], np.arange(clusters))
    sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float32)
    return (sums / np.bincount(cluster, minlength=clusters)[:, None]).astype(np.float32)
