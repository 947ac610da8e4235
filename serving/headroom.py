"""How many requests per second each setting could carry, from what was measured so far."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from serving.capacity import BatchTimes, joined_rate, whole_rate
from serving.hill_climb_config import HillClimbConfig, Window

Setting = tuple[int, int]  # places on the ladder of limits and on that of thresholds

_SAMPLE = 512  # requests whose rows are remembered


class Headroom:
    """Times of batches and rows of requests, and the rates that follow from them."""

    def __init__(self, config: HillClimbConfig) -> None:
        self._config = config
        self._times = BatchTimes(config.ladder)
        self._fast = BatchTimes(config.accelerator_buckets or (1,))
        self._rows = np.ones(1)

    @property
    def settings(self) -> list[Setting]:
        """All there are."""
        limits, thresholds = len(self._config.ladder), max(1, len(self._config.thresholds))
        return [(i, j) for i in range(limits) for j in range(thresholds)]

    def learn(self, window: Window) -> str | None:
        """Takes in rows and times; says what has drifted, if anything has."""
        if len(window.rows):
            self._rows = np.append(self._rows, window.rows.astype(float))[-_SAMPLE:]
        return self.learn_times(window.batch_rows, window.batch_seconds, window.batch_executor)

    def learn_times(
        self,
        rows: Int[np.ndarray, " batches"],
        seconds: Float[np.ndarray, " batches"],
        executor: Int[np.ndarray, " batches"] | None = None,
    ) -> str | None:
        """Takes in times of batches; says what has drifted."""
        second = np.zeros(len(rows), bool) if executor is None else executor == 1
        for name, buckets, used in (
            ("ladder", self._times.buckets, ~second),
            ("accelerator_buckets", self._fast.buckets, second),
        ):
            if used.any() and rows[used].max() > buckets[-1]:
                most = rows[used].max()
                raise ValueError(f"a batch of {most} rows exceeds {name}, up to {buckets[-1]}")
        notes = [
            self._times.learn(rows[~second], seconds[~second]),
            self._fast.learn(rows[second], seconds[second]),
        ]
        return "; ".join(note for note in notes if note) or None

    def believe(
        self,
        rows: Int[np.ndarray, " batches"],
        seconds: Float[np.ndarray, " batches"],
        executor: Int[np.ndarray, " batches"] | None = None,
    ) -> None:
        """Takes in times of batches that nothing disturbed: a few of them are enough."""
        self.learn_times(rows, seconds, executor)
        for times in (self._times, self._fast):
            ran = times.weight > 0
            times.weight[ran] = np.maximum(times.weight[ran], self._config.batches)

    def known(self, setting: Setting) -> bool:
        """Batches of this limit have run often enough for their time to be believed."""
        here, there = self._split(setting)
        enough = self._config.batches
        return bool(
            (not len(here) or self._times.weight[setting[0]] >= enough)
            and (not len(there) or self._fast.weight.sum() >= enough)
        )

    def rate(self, setting: Setting, *, slope: float, residual: float) -> float:
        """Requests per second within the target; nan where nothing at all is known.

        Args:
            setting: Whose.
            slope: How the time of a bucket that never ran is guessed; see `BatchTimes.guess`.
            residual: Part of a running batch that a request waits for; 1 is cautious.
        """
        here, there = self._split(setting)
        total, config = len(here) + len(there), self._config
        joined = joined_rate(
            here,
            len(here) / total,
            limit=config.ladder[setting[0]],
            seconds=self._times.guess(setting[0], slope),
            executors=config.executors,
            residual=residual,
            target=config.target_s,
            p=config.percentile,
        )
        if not len(there):
            return joined
        buckets = np.searchsorted(self._fast.buckets, there)
        busy = np.array([self._fast.guess(int(b), slope) for b in range(len(self._fast.buckets))])
        whole = whole_rate(
            busy[buckets], len(there) / total, target=config.target_s, p=config.percentile
        )
        return float(np.minimum(joined, whole))  # nan if either is

    def _split(self, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
        if not self._config.thresholds:
            return self._rows, self._rows[:0]
        large = self._rows > self._config.thresholds[setting[1]]
        return self._rows[~large], self._rows[large]
