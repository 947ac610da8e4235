"""Batches of training windows on grain: ordered by the seed alone, resumable anywhere.

A record is a window of one user's interactions. A batch is one gather by NumPy over the columns
of the data set: no Python per record, no worker processes. That takes well under a millisecond,
and the host prepares it while the device still computes the step before.
"""

from __future__ import annotations

from typing import Any

import grain
import numpy as np

from silverjax.batch import Users
from silverjax.engagement import SECONDS_PER_DAY
from training.datasets.dataset import Dataset
from training.held_out import held_out as is_held_out
from training.train_step import TrainBatch
from training.windows import Windows


def training_batches(
    dataset: Dataset,
    *,
    length: int,
    batch: int,
    seed: int,
    stride: int | None = None,
    held_out: float = 0.0,
) -> grain.IterDataset:
    """An endless stream of `TrainBatch`es (of NumPy arrays) over the interactions.

    Epochs follow one another without a gap: a batch may hold the end of one and the start of
    the next, so that every window of every epoch is used once and every batch has one shape.
    Iterators have `get_state` and `set_state`, and grain's Orbax handler saves them.

    Args:
        dataset: Interactions and user features.
        length: Positions in a window.
        batch: Windows in a batch.
        seed: Fixes the order, and where each epoch cuts the windows.
        stride: Positions of a window that are targets; `None` makes it all of them.
        held_out: Share of the choices that is kept from the towers.
    Raises:
        ValueError: A size is below 1, or the seed is negative.
    """
    for name, given, least in (("length", length, 1), ("batch", batch, 1), ("seed", seed, 0)):
        if given < least:
            raise ValueError(f"{name}={given} must be at least {least}")
    seen = dataset.interactions
    windows = Windows(
        seen.user,
        seen.item,
        seen.labels,
        seen.time // SECONDS_PER_DAY,
        is_held_out(seen.user, held_out),
        length=length,
        stride=stride or length,
    )

    def gather(chosen: np.ndarray) -> TrainBatch:
        user, history, history_labels, targets, labels, days, kept = windows.take(chosen)
        features: Any = {name: column[user] for name, column in dataset.user_features.items()}
        users = Users(user, features, history, history_labels)  # type: ignore[arg-type]
        return TrainBatch(users, targets, labels, days, kept)  # type: ignore[arg-type]

    return WindowOrder(windows, batch=batch, seed=seed).map(gather)


class WindowOrder(grain.IterDataset):
    """Which windows each batch holds: int64 [batch, 3], rows of `Windows.epoch`."""

    def __init__(self, windows: Windows, *, batch: int, seed: int) -> None:
        super().__init__()
        self.windows, self.batch, self.base = windows, batch, seed

    def __iter__(self) -> WindowOrderIterator:
        return WindowOrderIterator(self)

    def epoch(self, number: int) -> np.ndarray:
        """All windows of one epoch in its order; a function of the seed and the number."""
        return self.windows.epoch(np.random.default_rng([self.base, number]))


class WindowOrderIterator(grain.DatasetIterator):
    """Its state is two numbers: the epoch, and the windows of it that were handed out."""

    def __init__(self, source: WindowOrder) -> None:
        super().__init__()
        self._source = source
        self.set_state({"epoch": 0, "taken": 0})

    def __next__(self) -> np.ndarray:
        parts, missing = [], self._source.batch
        while missing:
            if self._taken == len(self._order):
                self.set_state({"epoch": self._epoch + 1, "taken": 0})
            part = self._order[self._taken : self._taken + missing]
            parts.append(part)
            self._taken += len(part)
            missing -= len(part)
        return np.concatenate(parts)

    def get_state(self) -> dict[str, int]:
        return {"epoch": self._epoch, "taken": self._taken}

    def set_state(self, state: dict[str, int]) -> None:
        self._epoch, self._taken = state["epoch"], state["taken"]
        self._order = self._source.epoch(self._epoch)
