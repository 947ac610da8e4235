"""Embeddings and attributes to an `ItemIndex`."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int, UInt32

from silverjax.attributes import Attributes, TermLists, term_lists
from silverjax.bloom_filter import bloom_rows, pack_rows
from silverjax.index_config import (
    LANES,
    IndexConfig,
    default_clusters,
    doubled_to_fit,
    slots_per_cluster,
)
from silverjax.item_index import LIVE_ROW, ItemCache, ItemIndex
from silverjax.kmeans import balanced_kmeans
from silverjax.quantize import quantize

_AT_ONCE = 1 << 18


def build_index(
    embeddings: ArrayLike,
    attributes: Attributes | None = None,
    config: IndexConfig | None = None,
) -> ItemIndex:
    """Clusters, quantises and indexes a catalogue; deterministic in its arguments.

    Args:
        embeddings: Float [n, dim], one row per item, finite; not normalised.
        attributes: Filter features: for each name one entry per item, a value or a list of
            values (strings or integers), `None` where the item has none. Without any feature
            the index has no bit rows but the live slots.
        config: Sizes; the default fits them to n.

    Returns:
        The index; `rows` of its answers are positions in `embeddings`.

    Raises:
        ValueError: Embeddings are no finite matrix, attributes do not fit them, or a size in
            `config` is too small for the data.
        TypeError: An attribute value is neither a string nor an integer.
    """
    config = config or IndexConfig()
    vectors = _checked(embeddings)
    n, dim = vectors.shape
    capacity = config.capacity or n
    if n > capacity:
        raise ValueError(f"{n} items exceed IndexConfig.capacity={capacity}; raise it")
    clusters = config.clusters or default_clusters(capacity)
    if clusters > n:
        raise ValueError(
            f"IndexConfig.clusters={clusters} exceeds the {n} items; at most one cluster per item"
        )
    lists = term_lists(attributes or {}, n)
    if not attributes:  # nothing to filter by, now or later: no room for it
        config = dataclasses.replace(
            config, columns=0, terms=config.terms or 1, vocabulary=config.vocabulary or 1
        )
    bloom_bits = config.bloom_bits if attributes else 0
    padded = np.zeros((n, -(-dim // LANES) * LANES), np.float32)
    padded[:, :dim] = vectors
    size = slots_per_cluster(capacity, clusters, config.slack)
    centroids, cluster = balanced_kmeans(
        padded,
        clusters=clusters,
        largest=size,
        iterations=config.iterations,
        sample_per_cluster=config.sample_per_cluster,
        seed=config.seed,
    )
    radii, profile = _spread(padded, centroids, cluster)
    slots = _slots(cluster, clusters, size)
    codes, scales = _codes(padded, slots, clusters, size)
    codes_of_centroids, scales_of_centroids = quantize(jnp.asarray(centroids))
    rows = np.full(clusters * size, -1, np.int32)
    rows[slots] = np.arange(n)
    vocabulary, column_of_term = _vocabulary(lists, config, capacity)
    terms, spans = _term_arrays(lists, config, capacity, slots, clusters, size)
    words = _words(lists, column_of_term, slots, config, bloom_bits, clusters, size)
    return ItemIndex(
        centroids=codes_of_centroids,
        centroid_scales=scales_of_centroids,
        live_items=jnp.int32(n),
        radii=jnp.asarray(radii),
        profile=jnp.asarray(profile),
        codes=jnp.asarray(codes),
        scales=jnp.asarray(scales),
        rows=jnp.asarray(rows.reshape(clusters, size)),
        slots=jnp.asarray(_padded_to(slots.astype(np.int32), capacity, -1)),
        words=jnp.asarray(words),
        terms=jnp.asarray(terms),
        spans=jnp.asarray(spans),
        vocabulary=jnp.asarray(vocabulary),
        column_of_term=jnp.asarray(column_of_term),
        vocabulary_size=jnp.int32(len(lists.digests)),
        cache=ItemCache(jnp.asarray(_padded_to(vectors, capacity, 0.0)))
        if config.keep_embeddings
        else None,
        features=tuple(attributes or {}),
        dim=dim,
        columns=config.columns,
        hashes=config.hashes,
    )


def _checked(embeddings: ArrayLike) -> Float[np.ndarray, "n dim"]:
    vectors = np.asarray(embeddings)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"embeddings have shape {vectors.shape}; they must be [items, dim]")
    if len(vectors) == 0:
        raise ValueError("the corpus is empty: embeddings have no rows; an index needs an item")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ValueError(f"embeddings are {vectors.dtype}; convert them to float32")
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32, copy=False)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise ValueError(
            f"embeddings of {len(bad)} items are NaN or infinite in float32, the first at row "
            f"{bad[0]}; drop or mend them"
        )
    return vectors


def _spread(
    vectors: Float[np.ndarray, "n D"],
    centroids: Float[np.ndarray, "C D"],
    cluster: Int[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "C"], Float[np.ndarray, "D"]]:
    """How far the items of each cluster lie from its centroid, and along which dimensions."""
    squares = np.zeros(len(centroids))
    along = np.zeros(vectors.shape[1])
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        apart = np.square(vectors[part] - centroids[cluster[part]])
        squares += np.bincount(cluster[part], apart.sum(axis=1), len(centroids))
        along += apart.sum(axis=0, dtype=np.float64)
    sizes = np.maximum(np.bincount(cluster, minlength=len(centroids)), 1)
    profile = along / max(along.sum(), np.finfo(np.float64).tiny)
    return np.sqrt(squares / sizes).astype(np.float32), profile.astype(np.float32)


def _slots(cluster: Int[np.ndarray, "n"], clusters: int, size: int) -> Int[np.ndarray, "n"]:
    """Slot of each item: clusters in order, items of a cluster by row."""
    order = np.argsort(cluster, kind="stable")
    ascending = cluster[order].astype(np.int64)
    position = np.arange(len(cluster)) - np.searchsorted(ascending, ascending)
    slots = np.empty(len(cluster), np.int64)
    slots[order] = ascending * size + position
    return slots


def _codes(
    vectors: Float[np.ndarray, "n D"], slots: Int[np.ndarray, "n"], clusters: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    codes = np.zeros((clusters * size, vectors.shape[1]), np.int8)
    scales = np.zeros(clusters * size, np.float32)
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        code, scale = quantize(jnp.asarray(vectors[part]))
        codes[slots[part]], scales[slots[part]] = code, scale
    return codes.reshape(clusters, size, -1), scales.reshape(clusters, size)


def _vocabulary(
    lists: TermLists, config: IndexConfig, capacity: int
) -> tuple[UInt32[np.ndarray, "V 4"], Int[np.ndarray, "V"]]:
    """Digests and bit rows of the terms; the most frequent ones get rows of their own."""
    used = len(lists.digests)
    room = _room(config.vocabulary, max(4_096, capacity // 4), used, "vocabulary", "terms")
    column = np.zeros(room, np.int32)
    frequent = np.argsort(-lists.frequencies(), kind="stable")[: config.columns]
    column[np.sort(frequent)] = 1 + np.arange(len(frequent))
    return _padded_to(lists.digests, room, 0), column


def _term_arrays(
    lists: TermLists,
    config: IndexConfig,
    capacity: int,
    slots: Int[np.ndarray, "n"],
    clusters: int,
    size: int,
) -> tuple[Int[np.ndarray, "T"], Int[np.ndarray, "C S 2"]]:
    room = _room(config.terms, 8 * capacity, len(lists.terms), "terms", "(item, term) pairs")
    by_slot = np.argsort(slots)
    lengths = np.bincount(lists.rows, minlength=len(slots))
    starts = (np.cumsum(lengths) - lengths)[by_slot]
    lengths = lengths[by_slot]
    ends = np.cumsum(lengths)
    # Where each pair, in the order of the slots, stands in that of the items.
    from_items = np.arange(len(lists.terms)) + np.repeat(starts - (ends - lengths), lengths)
    spans = np.zeros((clusters * size, 2), np.int32)
    spans[slots[by_slot]] = np.stack([ends - lengths, lengths], axis=1)
    terms = lists.terms[from_items].astype(np.int32)
    return _padded_to(terms, room, -1), spans.reshape(clusters, size, 2)


def _room(configured: int | None, floor: int, needed: int, name: str, what: str) -> int:
    if configured is None:
        return doubled_to_fit(floor, needed)
    if needed > configured:
        raise ValueError(f"{needed} {what} exceed IndexConfig.{name}={configured}; raise it")
    return configured


def _words(
    lists: TermLists,
    column_of_term: Int[np.ndarray, "V"],
    slots: Int[np.ndarray, "n"],
    config: IndexConfig,
    bloom_bits: int,
    clusters: int,
    size: int,
) -> UInt32[np.ndarray, "R C W"]:
    columns = column_of_term[lists.terms]
    own, tail = np.flatnonzero(columns), np.flatnonzero(columns == 0)
    signature = 1 + config.columns + bloom_rows(lists.digests, bloom_bits, config.hashes)
    items = np.arange(len(slots))
    return pack_rows(
        slots,
        [
            (items, np.full(len(items), LIVE_ROW)),
            (lists.rows[own], columns[own]),
            *((lists.rows[tail], bits[lists.terms[tail]]) for bits in signature.T),
        ],
        clusters=clusters,
        slots_per_cluster=size,
        rows=1 + config.columns + bloom_bits,
    )


def _padded_to(values: np.ndarray, length: int, fill: int | float) -> np.ndarray:
    padded = np.full((length, *values.shape[1:]), fill, values.dtype)
    padded[: len(values)] = values
    return padded
