"""Engagement of a data set, against dense linear algebra and plain counting."""

from __future__ import annotations

import dataclasses

import numpy as np

from silverjax.engagement import EngagementConfig
from silverjax.schema import FeatureKind
from training.datasets import synthetic
from training.datasets.dataset import Interactions
from training.engagement import (
    content_vectors,
    daily_totals,
    engagement_of,
    sequence_vectors,
    with_co_choices,
)
from training.held_out import for_towers, held_out


def interactions(n: int = 400, users: int = 20, items: int = 30) -> Interactions:
    rng = np.random.default_rng(0)
    user = rng.integers(0, users, n).astype(np.int32)
    item = rng.integers(0, items, n).astype(np.int32)
    time = np.sort(rng.integers(0, 12 * 86_400, n))
    ones = np.ones((n, 1), np.float32)
    return Interactions(user, item, time, ones, ones[:, 0])


def test_sequence_vectors_are_the_positive_part_of_the_co_choices() -> None:
    chosen, items, near = interactions(), 30, 3
    pairs = np.zeros((items, items))
    for user in range(20):
        walk = chosen.item[chosen.user == user]
        for at in range(len(walk)):
            for gap in range(1, near + 1):
                if at + gap < len(walk):
                    pairs[walk[at], walk[at + gap]] += gap**-0.5
    pairs += pairs.T
    root = 1 / np.sqrt(pairs.sum(1))
    values, basis = np.linalg.eigh(root[:, None] * pairs * root)
    want = (basis * np.maximum(values, 0)) @ basis.T
    got = sequence_vectors(chosen, items=items, width=items, near=near, scale=1.0)
    product = got @ got.T
    np.testing.assert_allclose(product / np.trace(product), want / np.trace(want), atol=1e-5)


def test_daily_totals_count_what_came_before_each_day() -> None:
    chosen = interactions()
    totals, first = daily_totals(chosen, items=30, days=5)
    assert first == 7
    for day in range(6):
        before = chosen.item[chosen.time < (first + day) * 86_400]
        # What is older than all days counts to the first of them, so not before it.
        want = np.bincount(before, minlength=30) if day else np.zeros(30)
        np.testing.assert_array_equal(totals[day], want)


def test_content_vectors_are_the_cosines_of_rare_values() -> None:
    """With room for all directions nothing is lost: inner products are those of the features."""
    dataset = synthetic.generate(users=10, items=40, interactions=60, groups=4)[0]
    columns = []
    for feature in dataset.schema.item_features:
        if feature.kind is FeatureKind.NUMERIC:
            continue
        codes = np.reshape(dataset.item_features[feature.name], (40, -1))
        for code in range(1, feature.size):
            has = (codes == code).any(1)
            columns.append(has * np.log(40 / max(has.sum(), 1)))
    words = np.stack(columns, 1)
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-6)
    want = words @ words.T
    got = content_vectors(dataset, width=40, scale=1.0)
    product = got @ got.T
    np.testing.assert_allclose(product / np.trace(product), want / np.trace(want), atol=1e-5)


def test_vectors_know_nothing_of_what_is_kept_from_them() -> None:
    dataset = synthetic.generate(users=20, items=50, interactions=400, groups=4)[0]
    config = EngagementConfig(width=8, days=5, windows=(1,))
    chosen = dataset.interactions
    kept = for_towers(chosen, 0.3)
    one = with_co_choices(engagement_of(dataset, config), kept, dataset.schema, config)
    other = engagement_of(dataclasses.replace(dataset, interactions=kept), config)
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.scales, other.scales)
    assert int(one.totals[-1].sum()) == len(chosen) > len(kept)


def test_held_out_share_is_as_asked_and_the_same_for_jax_and_numpy() -> None:
    import jax.numpy as jnp

    user, item = (grid.ravel().astype(np.int32) for grid in np.mgrid[:300, :300])
    for share in (0.0, 0.05, 0.3):
        kept = held_out(user, item, share)
        assert abs(kept.mean() - share) < 0.01
        np.testing.assert_array_equal(kept, held_out(jnp.asarray(user), jnp.asarray(item), share))
    grid = held_out(user, item, 0.3).reshape(300, 300)
    # Neither users nor items are spared or taken whole: binomial, within five deviations.
    limit = 5 * np.sqrt(0.3 * 0.7 / 300)
    assert abs(grid.mean(0) - 0.3).max() < limit
    assert abs(grid.mean(1) - 0.3).max() < limit
