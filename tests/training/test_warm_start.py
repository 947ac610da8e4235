"""The warm start of the item ids."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from training.datasets.dataset import Interactions
from training.warm_start import item_vectors, warm_started


def two_tastes() -> Interactions:
    """Users 0-9 choose items 0-4, users 10-19 items 5-9; item 10 is never chosen."""
    user, item = np.meshgrid(np.arange(20), np.arange(5), indexing="ij")
    item = item + 5 * (user >= 10)
    n = user.size
    return Interactions(
        user=user.ravel().astype(np.int32),
        item=item.ravel().astype(np.int32),
        time=np.arange(n),
        labels=np.ones((n, 1), np.float32),
        value=np.ones(n, np.float32),
    )


def test_items_of_one_taste_point_one_way() -> None:
    vectors = item_vectors(two_tastes(), users=20, items=11, width=4, scale=0.3)
    unit = vectors[:10] / np.linalg.norm(vectors[:10], axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert cosine[:5, :5].min() > 0.99
    assert cosine[:5, 5:].max() < 0.5
    assert (vectors[10] == 0).all()
    np.testing.assert_allclose(np.sqrt(np.mean(vectors[:10] ** 2)), 0.3, rtol=1e-5)


def test_same_data_gives_the_same_bits() -> None:
    one, two = (item_vectors(two_tastes(), users=20, items=11, width=4, scale=1.0) for _ in "ab")
    np.testing.assert_array_equal(one, two)


def test_more_entries_than_the_data_has_rank_are_zero() -> None:
    vectors = item_vectors(two_tastes(), users=20, items=11, width=64, scale=0.3)
    assert vectors.shape == (11, 64)
    assert (vectors[:, 10:] == 0).all()


def test_only_chosen_items_are_set() -> None:
    table = jnp.full((12, 4), 7.0)
    params = warm_started(
        {"items": {"id": table, "rest": 1}, "other": 2},
        two_tastes(),
        users=20,
        items=11,
        scale=0.3,
    )
    ids = np.asarray(params["items"]["id"])
    assert (ids[10:] == 7).all()
    assert (np.abs(ids[:10]) < 6).all()
    assert params["other"] == 2
