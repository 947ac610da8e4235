from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.datasets import load, synthetic


def test_equal_seeds_give_equal_data_and_others_do_not() -> None:
    first, again, other = (
        load("synthetic", users=50, items=40, interactions=300, groups=4, seed=seed)
        for seed in (3, 3, 4)
    )
    for name in ("user", "item", "time", "labels"):
        np.testing.assert_array_equal(
            getattr(first.interactions, name), getattr(again.interactions, name)
        )
    for name, array in first.item_features.items():
        np.testing.assert_array_equal(array, again.item_features[name])
    assert first.attributes == again.attributes
    assert (first.interactions.item != other.interactions.item).any()


def test_sizes_are_as_asked_and_pairs_distinct() -> None:
    data, _ = synthetic.generate(users=70, items=50, interactions=700, groups=5)
    pairs = data.interactions.user.astype(np.int64) * 50 + data.interactions.item
    assert len(np.unique(pairs)) == len(pairs) == 700
    assert (data.schema.users, data.schema.items) == (70, 50)
    assert np.bincount(data.interactions.user, minlength=70).min() >= 1


def test_choice_probabilities_sum_to_one() -> None:
    _, truth = synthetic.generate(users=30, items=40, interactions=100, groups=6)
    np.testing.assert_allclose(truth.choice(np.arange(30)).sum(axis=1), 1.0, rtol=1e-12)


def test_draws_follow_the_stated_probabilities() -> None:
    # One draw per user, so that no repeat was refused: then each is exactly from `choice`.
    data, truth = synthetic.generate(users=20_000, items=30, interactions=20_000, groups=4)
    expected = truth.choice(np.arange(20_000)).sum(axis=0)
    counts = np.bincount(data.interactions.item, minlength=30)
    # Five standard deviations of a sum of independent draws, for 30 items: p < 2e-5.
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_labels_follow_the_stated_probabilities() -> None:
    data, truth = synthetic.generate(users=2000, items=300, interactions=20_000)
    seen = data.interactions
    chance = truth.task(seen.user, seen.item)
    for task in range(2):
        labels = seen.labels[:, 1 + task]
        for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
            within = (chance[task] >= low) & (chance[task] < high)
            deviation = np.sqrt((chance[task] * (1 - chance[task]))[within].sum())
            assert abs(labels[within].sum() - chance[task][within].sum()) < 5 * deviation


def test_each_users_times_do_not_decrease_below_the_start() -> None:
    data, _ = synthetic.generate(users=40, items=60, interactions=500, groups=4)
    assert data.interactions.time.min() >= 1_600_000_000
    assert len(np.unique(data.interactions.time)) > 400


def test_tasks_may_be_chosen() -> None:
    data = load("synthetic", users=20, items=30, interactions=60, groups=3, tasks="s=shared>=1")
    assert data.schema.tasks == ("watched", "s")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"users": 0}, "users=0 must be at least 1"),
        ({"groups": 1}, "groups=1 must lie between 2 and items=500"),
        ({"users": 10, "interactions": 5}, "interactions=5 must lie between users=10"),
        ({"users": 10, "items": 20, "interactions": 150}, "half of all pairs, 100"),
    ],
)
def test_rejects_sizes_out_of_range(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthetic.generate(**sizes)


def test_path_goes_only_with_data_that_is_fetched() -> None:
    with pytest.raises(ValueError, match="path= goes with a data set that is fetched by name"):
        load("synthetic", path="somewhere")
