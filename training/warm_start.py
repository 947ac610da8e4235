"""A warm start for the item ids: the leading directions of who chose what.

Id tables that begin as noise spend most of a short training finding out which items are chosen
by the same people. The truncated SVD of the normalised interactions has it in a second (as in
PureSVD: Cremonesi, Koren and Turrin, RecSys 2010), and training goes on from there.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float

from training.datasets.dataset import Interactions

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
    chosen = scipy.sparse.csr_matrix(
        (ones, (interactions.user, interactions.item)), (users, items), dtype=np.float32
    )

    def root_degrees(axis: int) -> np.ndarray:
        degrees = np.asarray(chosen.sum(axis=axis)).ravel()
        return 1 / np.sqrt(np.maximum(degrees, 1))

    normalised = scipy.sparse.diags(root_degrees(1)) @ chosen @ scipy.sparse.diags(root_degrees(0))
    vectors = np.zeros((items, width), np.float32)
    rank = min(width, users, items)
    values, directions = _leading(normalised.astype(np.float32), rank)
    vectors[:, :rank] = directions.T * np.sqrt(values)
    known = _chosen(interactions, items)
    vectors[~known] = 0  # else the rounding of zero
    size = np.sqrt(np.mean(vectors[known] ** 2)) if known.any() else 0.0
    return vectors * np.float32(scale / size) if size > 0 else vectors


def _leading(
    matrix: scipy.sparse.csr_matrix, rank: int
) -> tuple[Float[np.ndarray, "rank"], Float[np.ndarray, "rank columns"]]:
    """Leading singular values and right singular vectors, by randomised subspace iteration.

    Halko, Martinsson and Tropp (SIAM Review 2011). ARPACK would do, but begins anew from random
    vectors where singular values coincide, and a run must give the same bits twice.
    """
    rng = np.random.default_rng(0)
    wide = min(rank + 16, *matrix.shape)
    basis = np.linalg.qr(matrix @ rng.normal(size=(matrix.shape[1], wide)).astype(np.float32))[0]
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    _, values, directions = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    kept = values[:rank] > 1e-5 * values[0]
    return np.where(kept, values[:rank], 0), directions[:rank]


def _chosen(interactions: Interactions, items: int) -> np.ndarray:
    return np.bincount(interactions.item, minlength=items) > 0


def warm_started(
    params: Any, interactions: Interactions, *, users: int, items: int, scale: float
) -> Any:
    """Parameters of `Model` with the id vectors of chosen items set; the others stay random."""
    table = params["items"]["id"]
    vectors = item_vectors(
        interactions, users=users, items=items, width=table.shape[1], scale=scale
    )
    if scale == 0:
        return params
    known = _chosen(interactions, items)[:, None]
    ids = jnp.where(known, vectors, table[:items])
    return {**params, "items": {**params["items"], "id": table.at[:items].set(ids)}}
