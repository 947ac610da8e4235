"""Engagement of a data set: vectors of what is alike, by truncated SVD, and choices per day."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from silverjax.engagement import SECONDS_PER_DAY, Engagement, EngagementConfig
from silverjax.quantize import quantize
from silverjax.schema import FeatureKind, Schema
from training.datasets.dataset import Dataset, Interactions

_ITERATIONS = 8


def item_vectors(
    interactions: Interactions, *, users: int, items: int, width: int, scale: float
) -> Float[np.ndarray, "items width"]:
    """Item vectors by truncated SVD; a function of the arguments alone.

    Each interaction counts `1 / sqrt(degree of user x degree of item)`; directions weigh by the
    square root of their singular value.

    Args:
        interactions: What to learn from; no others are seen.
        users: Rows of users.
        items: Rows of items.
        width: Entries per vector; past the rank of the data they are 0.
        scale: Root mean square of the entries of items that were chosen.
    Returns:
        Zeros for items that nobody chose.
    """
    ones = np.ones(len(interactions), np.float32)
    matrix = scipy.sparse.csr_matrix(
        (ones, (interactions.user, interactions.item)), (users, items), dtype=np.float32
    )

    def root_degrees(axis: int) -> np.ndarray:
        degrees = np.asarray(matrix.sum(axis=axis)).ravel()
        return 1 / np.sqrt(np.maximum(degrees, 1))

    normalised = scipy.sparse.diags(root_degrees(1)) @ matrix @ scipy.sparse.diags(root_degrees(0))
    vectors = np.zeros((items, width), np.float32)
    rank = min(width, users, items)
    values, directions = _leading(normalised.astype(np.float32), rank)
    vectors[:, :rank] = directions.T * np.sqrt(values)
    return _scaled(vectors, chosen(interactions, items), scale)


def sequence_vectors(
    interactions: Interactions, *, items: int, width: int, near: int, scale: float
) -> Float[np.ndarray, "items width"]:
    """Item vectors whose inner products tell how often two are chosen one after the other.

    Two choices of a user g <= `near` apart count `1 / sqrt(g)`, normalised by the root of both
    items' sums; vectors are the leading eigenvectors by the roots of their positive eigenvalues.
    """
    order = np.argsort(interactions.user, kind="stable")
    user, item = interactions.user[order], interactions.item[order]
    pairs = scipy.sparse.csr_matrix((items, items), dtype=np.float32)
    for gap in range(1, near + 1):
        same = user[gap:] == user[:-gap]
        weight = np.full(int(same.sum()), gap**-0.5, np.float32)
        ends = (item[:-gap][same], item[gap:][same])
        pairs += scipy.sparse.csr_matrix((weight, ends), (items, items), dtype=np.float32)
    pairs = pairs + pairs.T
    root = scipy.sparse.diags(1 / np.sqrt(np.maximum(np.asarray(pairs.sum(1)).ravel(), 1)))
    normalised = (root @ pairs @ root).astype(np.float32)
    basis = _basis(normalised, min(width, items))
    values, inside = np.linalg.eigh(basis.T @ (normalised @ basis))
    best = np.argsort(-values)[: min(width, items)]
    vectors = np.zeros((items, width), np.float32)
    vectors[:, : len(best)] = basis @ inside[:, best] * np.sqrt(np.maximum(values[best], 0))
    return _scaled(vectors, chosen(interactions, items), scale)


def _scaled(vectors: np.ndarray, known: np.ndarray, scale: float) -> np.ndarray:
    """Zeros where unknown, and a root mean square of `scale` elsewhere."""
    vectors[~known] = 0  # else the rounding of zero
    size = np.sqrt(np.mean(vectors[known] ** 2)) if known.any() else 0.0
    return vectors * np.float32(scale / size) if size > 0 else vectors


def _leading(
    matrix: scipy.sparse.csr_matrix, rank: int
) -> tuple[Float[np.ndarray, "rank"], Float[np.ndarray, "rank columns"]]:
    """Leading singular values and right singular vectors."""
    basis = _basis(matrix, rank)
    _, values, directions = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    kept = values[:rank] > 1e-5 * values[0]
    return np.where(kept, values[:rank], 0), directions[:rank]


def _basis(matrix: scipy.sparse.csr_matrix, rank: int) -> Float[np.ndarray, "rows wide"]:
    """Orthonormal columns that span the leading left singular vectors and a few more.

    Randomised subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011). ARPACK would
    do, but begins anew from random vectors where singular values coincide, and a run must give
    the same bits twice.
    """
    rng = np.random.default_rng(0)
    wide = min(rank + 16, *matrix.shape)
    basis = np.linalg.qr(matrix @ rng.normal(size=(matrix.shape[1], wide)).astype(np.float32))[0]
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    return basis


def chosen(interactions: Interactions, items: int) -> np.ndarray:
    return np.bincount(interactions.item, minlength=items) > 0


def content_vectors(
    dataset: Dataset, *, width: int, scale: float
) -> Float[np.ndarray, "items width"]:
    """Item vectors whose inner products tell how alike two items are in their features.

    Each value of a categorical or multi-valued feature counts the log of how rare it is, each
    item in all the same; vectors are the leading part of that (latent semantic analysis:
    Deerwester et al., JASIS 1990).
    """
    items = dataset.schema.items
    parts = [
        _rarities(np.reshape(dataset.item_features[feature.name], (items, -1)), feature.size)
        for feature in dataset.schema.item_features
        if feature.kind is not FeatureKind.NUMERIC
    ]
    vectors = np.zeros((items, width), np.float32)
    if parts:
        words = scipy.sparse.hstack(parts, format="csr", dtype=np.float32)
        length = np.sqrt(np.asarray(words.multiply(words).sum(1)).ravel())
        words = (scipy.sparse.diags(1 / np.maximum(length, 1e-6)) @ words).astype(np.float32)
        values, directions = _leading(words.T.tocsr(), min(width, *words.shape))
        vectors[:, : len(values)] = directions.T * values
    return _scaled(vectors, np.ones(items, bool), scale)


def _rarities(codes: Int[np.ndarray, "items n"], size: int) -> scipy.sparse.csr_matrix:
    """[items, size]: the log rarity of each value that an item has; code 0 is none."""
    items, at = len(codes), np.nonzero(codes)
    there = scipy.sparse.csr_matrix((np.ones(len(at[0])), (at[0], codes[at])), (items, size)) > 0
    counts = np.asarray(there.sum(0)).ravel()
    return there @ scipy.sparse.diags(np.log(items / np.maximum(counts, 1)))


def engagement_of(dataset: Dataset, config: EngagementConfig) -> Engagement:
    """Engagement as of the end of the data set's interactions.

    Args:
        dataset: Its interactions are counted by day; its item features make the content vectors.
        config: Sizes.
    """
    content = content_vectors(dataset, **_sizes(config))
    vectors = np.concatenate(
        [_co_choices(dataset.interactions, dataset.schema, config), content[:, None]], axis=1
    )
    totals, first = daily_totals(dataset.interactions, items=dataset.schema.items, days=config.days)
    return Engagement.of(vectors, totals, first_day=first)


def with_co_choices(
    known: Engagement, interactions: Interactions, schema: Schema, config: EngagementConfig
) -> Engagement:
    """The same engagement with the co-choice vectors of other interactions."""
    codes, scales = quantize(jnp.asarray(_co_choices(interactions, schema, config)))
    ways = slice(0, codes.shape[1])
    return dataclasses.replace(
        known,
        vectors=known.vectors.at[:, ways].set(codes),
        scales=known.scales.at[:, ways].set(scales),
    )


def _co_choices(
    interactions: Interactions, schema: Schema, config: EngagementConfig
) -> Float[np.ndarray, "items 2 width"]:
    """The vectors that are made of who chose what: the first two of an item."""
    sizes = _sizes(config)
    choosers = item_vectors(interactions, users=schema.users, items=schema.items, **sizes)
    sequence = sequence_vectors(interactions, items=schema.items, near=config.near, **sizes)
    return np.stack([choosers, sequence], axis=1)


def _sizes(config: EngagementConfig) -> dict[str, Any]:
    # A root mean square of 1 / sqrt(width) makes vectors of length 1 on average.
    return {"width": config.width, "scale": config.width**-0.5}


def daily_totals(
    interactions: Interactions, *, items: int, days: int
) -> tuple[Int[np.ndarray, "d items"], int]:
    """Choices of each item before each of the last `days` days and after; and the first day."""
    day = interactions.time // SECONDS_PER_DAY
    first = int(day.max(initial=0)) - days + 1
    counts = np.zeros((days + 1, items), np.int32)
    np.add.at(counts, (np.maximum(day - first, 0) + 1, interactions.item), 1)
    return np.cumsum(counts, axis=0, dtype=np.int32), first
