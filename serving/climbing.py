"""Feeds the hill climber with what the service measures, and puts its decisions in force."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections import deque
from typing import Any

import numpy as np

from serving.batcher import Batcher
from serving.hill_climb import HillClimber
from serving.hill_climb_config import Decision, Window
from serving.warm_up import WarmUp

log = logging.getLogger(__name__)

_EVERY_S = 0.5
_REMEMBERED = 256  # moves, for whoever wants to see the climb


@dataclasses.dataclass(frozen=True)
class Move:
    """One change of the batch limit: when (`time.time`), to what, and why."""

    at: float
    batch_limit: int
    reason: str


class Climbing:
    """What happened since the last step, and the steps.

    Args:
        climber: Decides. Its ladder must be of sizes that are compiled, and it must not offload:
            a service has one device.
        buckets: The compiled sizes.

    Attributes:
        moves: The last changes of the limit, oldest first.
    """

    def __init__(self, climber: HillClimber, buckets: tuple[int, ...]) -> None:
        config = climber.config
        if unknown := sorted(set(config.ladder) - set(buckets)):
            raise ValueError(
                f"the ladder has {unknown}, for which nothing is compiled; choose from {buckets}"
            )
        if config.thresholds:
            raise ValueError(
                f"thresholds={config.thresholds}: a service has no second executor to offload to"
            )
        self.moves: deque[Move] = deque(maxlen=_REMEMBERED)
        self._climber = climber
        self._clear()

    @property
    def target_s(self) -> float:
        """Time within which `percentile` of the requests are to be answered, in seconds."""
        return self._climber.config.target_s

    @property
    def percentile(self) -> float:
        """As a share."""
        return self._climber.config.percentile

    @property
    def decision(self) -> Decision:
        """What holds now."""
        return self._climber.decision

    def begin(self, queue: Batcher[Any], measured: WarmUp) -> None:
        """Takes in the times of the warm-up, and puts the first limit in force."""
        self._climber.learn(measured.rows, measured.seconds)
        self._put(queue)

    def arrived(self) -> None:
        """Counts a request that came."""
        self._arrivals += 1

    def shed(self) -> None:
        """Counts a request that was refused, or whose time ran out."""
        self._shed += 1

    def answered(self, seconds: float, rows: int) -> None:
        """Counts a request that was answered."""
        self._latencies.append(seconds)
        self._rows.append(rows)

    def batch_done(self, rows: int, busy_s: float) -> None:
        """Counts a batch that ended."""
        self._batch_rows.append(rows)
        self._batch_seconds.append(busy_s)

    async def run(self, queue: Batcher[Any]) -> None:
        """A step every half second, for ever."""
        while True:
            await asyncio.sleep(_EVERY_S)
            self.step(queue)

    def step(self, queue: Batcher[Any]) -> None:
        """One window to the climber, and its decision to the queue."""
        now = time.perf_counter()
        window = Window(
            duration=now - self._since,
            arrivals=self._arrivals,
            shed=self._shed,
            latencies=np.array(self._latencies, np.float64),
            rows=np.array(self._rows, np.int64),
            batch_rows=np.array(self._batch_rows, np.int64),
            batch_seconds=np.array(self._batch_seconds, np.float64),
            batch_limit=queue.limit,
        )
        self._clear()
        self._climber.step(window)
        if self.decision.batch_limit != queue.limit:
            self._put(queue)

    def _put(self, queue: Batcher[Any]) -> None:
        decision = self.decision
        log.info("batch limit %d: %s", decision.batch_limit, decision.reason)
        self.moves.append(Move(time.time(), decision.batch_limit, decision.reason))
        queue.limit = decision.batch_limit

    def _clear(self) -> None:
        self._since = time.perf_counter()
        self._arrivals = self._shed = 0
        self._latencies: list[float] = []
        self._rows: list[int] = []
        self._batch_rows: list[int] = []
        self._batch_seconds: list[float] = []
