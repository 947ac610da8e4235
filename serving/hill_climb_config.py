"""What the hill climber is told, sees and decides."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class HillClimbConfig:
    """What to climb, and how carefully.

    Attributes:
        ladder: Batch limits to choose from: the buckets that are compiled, ascending.
        target_s: Latency that `percentile` of the requests must not exceed, in seconds.
        percentile: As a share.
        mode: "online" climbs; "fixed" stays at `start`.
        start: First limit; None takes the smallest that is within `gain` of the best by the times
            of a warm-up, or without one the smallest of all, as DeepRecSched does.
        executors: That run batches of the ladder side by side.
        thresholds: Offload thresholds to choose from, ascending; none without a second executor.
        accelerator_buckets: Batch sizes that are compiled for the second executor.
        gain: A known setting must carry this much more to be moved to.
        batches: Batches after which the time of a bucket is believed.
        risk: Chance of calling a target missed that is met, per judgement.
        patience: Windows after which what failed may be tried again, and between explorations.
        seed: Of the choice of explorations, so that replicas do not explore in step.
    """

    ladder: tuple[int, ...]
    target_s: float
    percentile: float = 0.99
    mode: Literal["online", "fixed"] = "online"
    start: int | None = None
    executors: int = 1
    thresholds: tuple[int, ...] = ()
    accelerator_buckets: tuple[int, ...] = ()
    gain: float = 0.10
    batches: int = 8
    risk: float = 0.01
    patience: int = 240
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("ladder", "thresholds", "accelerator_buckets"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or min(values, default=1) < 1:
                raise ValueError(f"{name}={values} must be ascending and at least 1")
        if not self.ladder:
            raise ValueError("ladder is empty; give the batch sizes that are compiled")
        if bool(self.thresholds) != bool(self.accelerator_buckets):
            raise ValueError("thresholds and accelerator_buckets come together or not at all")
        if self.start is not None and self.start not in self.ladder:
            raise ValueError(f"start={self.start} is not on the ladder {self.ladder}")
        if self.mode not in ("online", "fixed"):
            raise ValueError(f"mode={self.mode!r} must be online or fixed")
        if not 0 < self.target_s < math.inf:
            raise ValueError(f"target_s={self.target_s} must be a positive number of seconds")
        if not 0.5 <= self.percentile < 1:
            raise ValueError(f"percentile={self.percentile} must be a share from 0.5 to below 1")


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """What was measured since the last step, about half a second of traffic.

    Attributes:
        duration: Seconds.
        arrivals: Requests that arrived.
        shed: Requests that were refused or dropped.
        latencies: Seconds from arrival (or scheduled arrival) to answer, of those answered.
        rows: Rows of those answered.
        batch_rows: Rows of each batch that ended, without padding.
        batch_seconds: How long each kept its executor busy.
        batch_limit: In force throughout.
        batch_executor: 0, or 1 where the second executor ran it; None: all 0.
        offload_threshold: In force throughout; None without a second executor.
    """

    duration: float
    arrivals: int
    shed: int
    latencies: Float[np.ndarray, " answered"]
    rows: Int[np.ndarray, " answered"]
    batch_rows: Int[np.ndarray, " batches"]
    batch_seconds: Float[np.ndarray, " batches"]
    batch_limit: int
    batch_executor: Int[np.ndarray, " batches"] | None = None
    offload_threshold: int | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
    """What holds from now on.

    Attributes:
        batch_limit: Most rows of a batch.
        offload_threshold: Requests of more rows go to the second executor.
        reason: Why, for people.
        settled: Nothing is being tried.
    """

    batch_limit: int
    offload_threshold: int | None
    reason: str
    settled: bool
