from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.datasets import DataError, synthetic
from training.datasets.dataset import Dataset, sorted_interactions


@pytest.fixture(scope="module")
def small() -> Dataset:
    return synthetic.generate(users=60, items=40, interactions=400, groups=4, seed=1)[0]


def test_interactions_are_sorted_by_time_then_user_then_file_order() -> None:
    time = np.array([5, 1, 5, 5])
    user = np.array([2, 9, 1, 2])
    item = np.array([0, 1, 2, 3])
    seen = sorted_interactions(user, item, time, np.ones((4, 1)), np.zeros(4))
    assert seen.item.tolist() == [1, 2, 0, 3]
    assert (seen.user.dtype, seen.time.dtype, seen.labels.dtype) == (
        np.dtype("int32"),
        np.dtype("int64"),
        np.dtype("float32"),
    )


def test_filter_core_matches_naive_removal(small: Dataset) -> None:
    k = 6
    pairs = {
        (small.user_ids[u], small.item_ids[i])
        for u, i in zip(small.interactions.user, small.interactions.item, strict=True)
    }
    while True:
        users, items = [u for u, _ in pairs], [i for _, i in pairs]
        left = {p for p in pairs if users.count(p[0]) >= k and items.count(p[1]) >= k}
        if left == pairs:
            break
        pairs = left
    core = small.filter_core(k)
    assert 0 < len(pairs) < len(small.interactions)
    got = core.interactions
    assert pairs == {
        (core.user_ids[u], core.item_ids[i]) for u, i in zip(got.user, got.item, strict=True)
    }
    assert core.schema.users == len({u for u, _ in pairs})
    assert core.schema.items == len({i for _, i in pairs})


def test_filter_core_moves_features_with_their_rows(small: Dataset) -> None:
    core = small.filter_core(6)
    old = {item: row for row, item in enumerate(small.item_ids)}
    for row, item in enumerate(core.item_ids):
        assert core.titles[row] == small.titles[old[item]]
        assert core.attributes["category"][row] == small.attributes["category"][old[item]]
        for name, array in core.item_features.items():
            np.testing.assert_array_equal(array[row], small.item_features[name][old[item]])
    assert core.schema.item_features == small.schema.item_features


def test_filter_core_zero_changes_nothing(small: Dataset) -> None:
    assert small.filter_core(0) is small


def test_filter_core_rejects_a_k_that_leaves_nothing(small: Dataset) -> None:
    with pytest.raises(DataError, match="no user and item have 1000 interactions"):
        small.filter_core(1000)
    with pytest.raises(ValueError, match="k=-1 must be 0 or more"):
        small.filter_core(-1)


def test_rejects_rows_out_of_range(small: Dataset) -> None:
    seen = dataclasses.replace(small.interactions, item=small.interactions.item + 39)
    with pytest.raises(DataError, match=r"interactions.item holds rows .* must lie in 0..39"):
        dataclasses.replace(small, interactions=seen)


def test_rejects_engagement_that_is_not_always_one(small: Dataset) -> None:
    seen = dataclasses.replace(small.interactions, labels=small.interactions.labels * 0)
    with pytest.raises(DataError, match="'watched', is engagement"):
        dataclasses.replace(small, interactions=seen)


def test_rejects_unsorted_interactions(small: Dataset) -> None:
    seen = small.interactions.take(np.arange(len(small.interactions))[::-1])
    with pytest.raises(DataError, match="not sorted by time"):
        dataclasses.replace(small, interactions=seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a + 1000, "its vocabulary allows"),
        (lambda a: a.astype(np.float32), r"expected int32\[40\]"),
        (lambda a: a[:-1], r"expected int32\[40\]"),
    ],
)
def test_rejects_feature_arrays_that_break_the_schema(
    small: Dataset, change: object, message: str
) -> None:
    assert callable(change)
    broken = {**small.item_features, "language": change(small.item_features["language"])}
    with pytest.raises(DataError, match=message):
        dataclasses.replace(small, item_features=broken)


def test_rejects_empty_data(small: Dataset) -> None:
    none = small.interactions.take(np.zeros(len(small.interactions), bool))
    with pytest.raises(DataError, match="no interactions"):
        dataclasses.replace(small, interactions=none)
