"""A warm start for the item ids: the leading directions of who chose what.

Id tables that begin as noise spend most of a short training finding out which items are chosen
by the same people. The truncated SVD of the normalised interactions has it in a second (as in
PureSVD: Cremonesi, Koren and Turrin, RecSys 2010), and training goes on from there.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from training.datasets.dataset import Interactions
from training.engagement import chosen, item_vectors


def warm_started(
    params: Any, interactions: Interactions, *, users: int, items: int, scale: float
) -> Any:
    """Parameters of `Model` with the id vectors of chosen items set; the others stay random."""
    if scale == 0:
        return params
    table = params["items"]["id"]
    vectors = item_vectors(
        interactions, users=users, items=items, width=table.shape[1], scale=scale
    )
    known = chosen(interactions, items)[:, None]
    ids = jnp.where(known, vectors, table[:items])
    return {**params, "items": {**params["items"], "id": table.at[:items].set(ids)}}
