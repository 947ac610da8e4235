"""Windows and their batches."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.training.tiny import dataset
from training.input_pipeline import training_batches
from training.train_step import TrainBatch

LENGTH, BATCH = 6, 16


def batches(seed: int = 0, **sizes: int) -> Any:
    settings = {"length": LENGTH, "batch": BATCH, **sizes}
    return iter(training_batches(dataset(), seed=seed, **settings))


def take(iterator: Any, count: int) -> list[TrainBatch]:
    return list(itertools.islice(iterator, count))


def assert_equal(one: list[TrainBatch], other: list[TrainBatch]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.users.id, b.users.id)
        np.testing.assert_array_equal(a.users.history, b.users.history)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_epoch_has_every_interaction_once_as_target() -> None:
    seen = dataset().interactions
    iterator = iter(training_batches(dataset(), length=LENGTH, batch=1, seed=3))
    pairs: list[tuple[int, int]] = []
    for _ in range(2):  # two epochs, one window at a time
        this: list[tuple[int, int]] = []
        while len(this) < len(seen):
            batch = next(iterator)
            user = int(batch.users.id[0])
            this += [(user, int(item)) for item in batch.targets[0] if item >= 0]
        assert sorted(this) == sorted(zip(seen.user.tolist(), seen.item.tolist()))
        pairs += this
    assert pairs[: len(seen)] != pairs[len(seen) :], "the second epoch has an order of its own"


def test_history_is_what_came_before_each_target() -> None:
    seen = dataset().interactions
    for batch in take(batches(), 20):
        for user, history, labels, targets in zip(
            batch.users.id, batch.users.history, batch.users.history_labels, batch.targets
        ):
            items = seen.item[seen.user == user].tolist()
            truth = seen.labels[seen.user == user]
            for j in np.flatnonzero(targets >= 0):
                past = history[: j + 1][history[: j + 1] >= 0].tolist()
                at = items.index(targets[j])  # a user chooses an item once
                assert past == items[:at][-len(past) :] if past else at == 0
                if past:
                    np.testing.assert_array_equal(labels[j], truth[at - 1])


def test_batches_have_one_shape_across_epochs() -> None:
    shapes = {batch.targets.shape for batch in take(batches(), 40)}
    assert shapes == {(BATCH, LENGTH)}


def test_features_are_those_of_the_user() -> None:
    batch = next(batches())
    for name, column in dataset().user_features.items():
        np.testing.assert_array_equal(batch.users.features[name], column[batch.users.id])


def test_seed_fixes_the_order() -> None:
    assert_equal(take(batches(1), 30), take(batches(1), 30))
    with pytest.raises(AssertionError):
        assert_equal(take(batches(1), 30), take(batches(2), 30))


@pytest.mark.parametrize("done", [0, 1, 7, 8, 31])
def test_resumed_iterator_goes_on_where_it_was(done: int) -> None:
    whole = batches()
    take(whole, done)
    state = whole.get_state()
    resumed = batches()
    resumed.set_state(state)
    assert_equal(take(whole, 20), take(resumed, 20))


def test_tiny_corpus_fills_a_batch_with_several_epochs() -> None:
    batch = next(batches(batch=1_000))
    assert batch.targets.shape == (1_000, LENGTH)


@pytest.mark.parametrize("name", ["length", "batch", "seed"])
def test_rejects_size_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-1 must be at least"):
        training_batches(dataset(), **{"length": 2, "batch": 2, "seed": 0, name: -1})
