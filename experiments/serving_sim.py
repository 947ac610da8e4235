"""A queue, one or several executors and a batching policy, simulated event by event.

An executor runs one batch at a time, for as long as a latency curve says. Requests wait in order
of arrival as a stream of rows; the policy decides how many rows the next batch takes, or until
when to wait for more. Two lanes stand for a processor and an accelerator, with a threshold of
rows above which a request goes to the second one. Only batches are events, so a run costs a few
microseconds a batch and a thousand curves take minutes.

What it leaves out: the front end, the exchange of data with an accelerator, and the round robin
by which the service lets small requests pass between the batches of a large one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.serving_lane import Lane, LatencyCurve, Policy, Ran, Waiting
from serving.hill_climb_config import Window
from serving.load.workload import Schedule

__all__ = ["LatencyCurve", "Policy", "Ran", "Run", "Waiting", "simulate"]


@dataclasses.dataclass(frozen=True)
class Run:
    """What happened.

    Attributes:
        arrivals: Seconds, by request.
        latencies: Seconds from arrival to answer, by request; nan where it was shed.
        duration: Seconds that arrivals lasted.
        batch_starts: Seconds, by batch of the first lane.
        batch_rows: Rows, by batch of the first lane.
    """

    arrivals: Float[np.ndarray, " requests"]
    latencies: Float[np.ndarray, " requests"]
    duration: float
    batch_starts: Float[np.ndarray, " batches"]
    batch_rows: Int[np.ndarray, " batches"]

    def within(self, target: float) -> Bool[np.ndarray, " requests"]:
        """Which requests were answered within `target` seconds."""
        return self.latencies <= target  # nan is not

    def goodput(self, target: float) -> float:
        """Requests per second that were answered within `target`."""
        return float(self.within(target).sum()) / self.duration


def simulate(
    schedule: Schedule,
    curve: LatencyCurve,
    policy: Policy,
    *,
    deadline: float = math.inf,
    executors: int = 1,
    accelerator: LatencyCurve | None = None,
    beside: LatencyCurve | None = None,
    seed: int = 0,
) -> Run:
    """Runs a schedule to its end.

    Args:
        schedule: Arrivals and rows.
        curve: Of each executor of the first lane.
        policy: Used up by the run; give each run a fresh one.
        deadline: A request that has waited so long (seconds) is shed when its turn comes.
        executors: Of the first lane.
        accelerator: Curve of a single second executor, which takes requests whole, one by one.
        beside: Curve of one more executor that takes its batches from the first lane's queue.
        seed: Of the noise.
    """
    rngs = np.random.default_rng(seed).spawn(2)
    lanes = [Lane(curve, policy, executors, deadline, rngs[0], beside)]
    if accelerator is not None:
        lanes.append(Lane(accelerator, OneByOne(), 1, deadline, rngs[1]))
    latencies = np.full(len(schedule), np.nan)
    at, start = 0, 0.0
    while start < math.inf:
        end = start + policy.window_s
        if end > schedule.duration and at == len(schedule):
            end = math.inf
        stop = int(np.searchsorted(schedule.times, end))
        _route(schedule, at, stop, lanes, policy)
        finished = [lane.run_until(end) for lane in lanes]
        for ids, seconds in finished:
            latencies[ids] = seconds
        if end < math.inf:
            policy.observe(_window(lanes, finished, schedule, policy, stop - at))
        at, start = stop, end
    return Run(
        schedule.times,
        latencies,
        schedule.duration,
        np.array(lanes[0].starts),
        np.array([b.rows for b in lanes[0].batches], int),
    )


def _route(schedule: Schedule, at: int, stop: int, lanes: list[Lane], policy: Policy) -> None:
    ids = np.arange(at, stop)
    if len(lanes) == 2:
        large = schedule.sizes[at:stop] > (policy.threshold or 0)
        if policy.threshold is None:
            large[:] = False
        lanes[1].push(schedule, ids[large], None)
        ids = ids[~large]
    lanes[0].push(schedule, ids, policy.pieces)


def _window(
    lanes: Sequence[Lane],
    finished: Sequence[tuple[np.ndarray, np.ndarray]],
    schedule: Schedule,
    policy: Policy,
    arrivals: int,
) -> Window:
    ids = np.concatenate([ids for ids, _ in finished])
    seconds = np.concatenate([seconds for _, seconds in finished])
    answered = ~np.isnan(seconds)
    ended = [lane.take_ended() for lane in lanes]
    batches = [batch for part in ended for batch in part]
    return Window(
        duration=policy.window_s,
        arrivals=arrivals,
        shed=int((~answered).sum()),
        latencies=seconds[answered],
        rows=schedule.sizes[ids[answered]],
        batch_rows=np.array([batch.rows for batch in batches], int),
        batch_seconds=np.array([batch.seconds for batch in batches], float),
        batch_executor=np.repeat(np.arange(len(ended)), [len(part) for part in ended]),
        batch_limit=policy.limit,
        offload_threshold=policy.threshold,
    )


class OneByOne:
    """Requests whole, in order, one at a time: how the accelerator is fed."""

    limit = 1
    pieces: int | None = 1 << 30
    threshold: int | None = None
    window_s = math.inf

    def take(self, waiting: Waiting) -> tuple[int, float]:
        return self.limit, 0.0

    def done(self, batch: Ran) -> None: ...

    def observe(self, window: Window) -> None: ...
