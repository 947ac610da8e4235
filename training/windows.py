"""Each user's interactions cut into windows of fixed length, vectorised."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


class Windows:
    """Windows of at most `stride` consecutive targets, with what preceded each of them.

    Args:
        user: int32 [n], user rows; interactions of one user in the order of time.
        item: int32 [n], item rows.
        labels: float32 [n, tasks].
        day: int64 [n], days since the epoch.
        held_out: bool [n], what is kept from the towers.
        length: Positions in a window.
        stride: Positions of it that are targets, at most `length`.
    """

    def __init__(
        self,
        user: Int[np.ndarray, "n"],
        item: Int[np.ndarray, "n"],
        labels: Float[np.ndarray, "n tasks"],
        day: Int[np.ndarray, "n"],
        held_out: Bool[np.ndarray, "n"],
        *,
        length: int,
        stride: int,
    ) -> None:
        order = np.argsort(user, kind="stable")
        self.user, self.item, self.labels = user[order], item[order], labels[order]
        self.day = day[order].astype(np.int32)
        self.held_out = held_out[order]
        self.length, self.stride = length, stride
        self.starts = np.flatnonzero(np.append(True, self.user[1:] != self.user[:-1]))
        self.ends = np.append(self.starts[1:], len(self.user))

    def epoch(self, rng: np.random.Generator) -> Int[np.ndarray, "windows 3"]:
        """The windows of one pass over the data, in random order.

        Every interaction is a target once. Each user is cut from the end backwards; the last
        window is shortened by a random phase, so that cuts fall elsewhere in every epoch.

        Returns:
            For each window the start of its user, its end (exclusive) and its first target.
        """
        counts = self.ends - self.starts
        phase = rng.integers(0, self.stride, len(counts))
        short = np.where(phase < counts, phase, 0)  # targets of the shortened window, 0 if none
        pieces = (short > 0) + -(-(counts - short) // self.stride)
        at = np.repeat(np.arange(len(counts)), pieces)
        number = np.arange(len(at)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        short, starts, ends = short[at], self.starts[at], self.ends[at]
        is_short = (short > 0) & (number == 0)
        skipped = np.where((short > 0) & (number > 0), self.stride - short, 0)
        ends = ends - number * self.stride + skipped
        firsts = np.where(is_short, ends - short, np.maximum(ends - self.stride, starts))
        return np.stack([starts, ends, firsts], axis=1)[rng.permutation(len(at))]

    def take(self, windows: Int[np.ndarray, "batch 3"]) -> tuple[np.ndarray, ...]:
        """Gathers windows.

        Returns:
            User rows [batch]; histories [batch, length], -1 where there is nothing yet, and
            their labels [batch, length, tasks]; the item chosen after each position, -1 where
            it is no target, its labels, its day, and whether it is held out.
        """
        start, end, first = (windows[:, column, None] for column in range(3))
        target = end - self.length + np.arange(self.length)[None]
        chosen = self._at(target, (target >= start) & (target >= first))
        before = self._at(target - 1, target - 1 >= start)
        place = np.maximum(target, 0)
        when = (self.day[place], self.held_out[place] & (chosen[0] >= 0))
        return self.user[windows[:, 0]].astype(np.int32), *before, *chosen, *when

    def _at(self, place: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.maximum(place, 0)
        items = np.where(there, self.item[place], -1).astype(np.int32)
        labels = np.where(there[..., None], self.labels[place], 0).astype(np.float32)
        return items, labels
