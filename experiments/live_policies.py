"""The rules of other servers in a running service: the policies of the simulator, asked live.

Everything else is the service's own: its door, which refuses what would be late, its encoding, its
threads and programs. So what differs between two runs is the rule alone.
"""

from __future__ import annotations

import time
from typing import Any

from experiments.serving_lane import Policy, Ran, Waiting
from serving.batcher import IDLE, Batch, Ticket
from serving.encoder import Rows
from serving.engine import Engine
from serving.pipeline import Job
from serving.scheduler import AHEAD_S, Pending, Scheduler


class PolicyScheduler(Scheduler):
    """Asks a policy for the next batch whenever the device is, or is about to be, free.

    Args:
        policy: Decides.
        **settings: As `Scheduler` takes them.
    """

    def __init__(self, *, policy: Policy, **settings: Any) -> None:
        super().__init__(**settings)
        self._policy = policy
        self._newest = 0.0
        self.queue.limit = policy.limit

    def add(
        self, engine: Engine, rows: Rows, *, arrival: float, **settings: Any
    ) -> tuple[Pending, Ticket[Pending]]:
        self._newest = arrival
        return super().add(engine, rows, arrival=arrival, **settings)

    def _next(self, now: float) -> tuple[Batch[Pending] | None, float]:
        """As the service's, which makes full batches ready early; otherwise as the policy says."""
        first, rows = self.queue.first, self.queue.rows  # one a request
        if first is None:
            return None, 0.0
        ready = self._busy_until - AHEAD_S
        if self._running and now <= ready and rows < self._policy.limit:
            return None, ready
        waiting = Waiting(now, rows, rows, first.item.arrival, self._newest)
        want, until = self._policy.take(waiting)
        if want < 1:
            return None, until
        self.queue.limit = want
        batch = self.queue.next(now, free=IDLE)
        self.queue.limit = self._policy.limit  # what the door reckons with
        return batch, 0.0

    def _done(self, job: Job) -> None:
        batch, now = self._running[0], time.perf_counter()
        started = now - job.busy_s
        oldest, newest = (batch.pieces[at].item.arrival for at in (0, -1))
        self._policy.done(Ran(batch.rows, job.busy_s, started - oldest, started - newest))
        super()._done(job)
