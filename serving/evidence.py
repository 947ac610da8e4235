"""What is known of one setting at one load, and what may be said of it with confidence."""

from __future__ import annotations

import dataclasses
import math

from scipy.special import bdtr, bdtrc

from serving.hill_climb_config import Window

_MET = 0.05  # chance of calling a target met that is missed


@dataclasses.dataclass
class Evidence:
    """Windows of one setting at one load.

    Attributes:
        seconds: Watched.
        arrivals: Requests in that time.
        requests: Answered or shed, since lateness is counted.
        late: Of those, over the target or shed.
        batches: In the same time.
        full_rows: Rows of batches that were full.
        all_rows: Rows of all batches.
    """

    seconds: float = 0.0
    arrivals: int = 0
    requests: int = 0
    late: int = 0
    batches: int = 0
    full_rows: int = 0
    all_rows: int = 0

    @property
    def load(self) -> float:
        """Requests per second."""
        return self.arrivals / self.seconds if self.seconds else 0.0

    @property
    def late_share(self) -> float:
        """Of the requests counted."""
        return self.late / max(1, self.requests)

    @property
    def binds(self) -> bool:
        """The limit does: more than a fifth of the rows were in full batches."""
        return self.full_rows > 0.2 * self.all_rows

    def differs(self, window: Window) -> bool:
        """Whether a window's load is another: by 30 %, and beyond the scatter of a Poisson
        process."""
        expected = self.load * window.duration
        change = abs(window.arrivals - expected)
        return self.seconds > 0 and change > max(0.3 * expected, 5 * math.sqrt(expected + 1))

    def add(self, window: Window, target_s: float, *, after: float = 0.0) -> None:
        """Takes in a window.

        What was queued before the setting came into force says nothing of it, so lateness is
        counted once `after` seconds have passed and the queue has stopped shrinking.
        """
        left = window.shed + len(window.latencies)
        shrinks = left - window.arrivals > 3 * math.sqrt(window.arrivals + 1)
        if self.seconds >= after and (self.requests or not shrinks):
            self.late += window.shed + int((window.latencies > target_s).sum())
            self.requests += left
            self.batches += len(window.batch_rows)
        self.seconds += window.duration
        self.arrivals += window.arrivals
        joined = window.batch_rows
        if window.batch_executor is not None:
            joined = joined[window.batch_executor == 0]
        self.all_rows += int(joined.sum())
        self.full_rows += int(joined[joined >= window.batch_limit].sum())

    def judge(self, percentile: float, risk: float) -> tuple[bool, bool]:
        """Whether the percentile misses the target, and whether it meets it; often neither yet.

        Requests of one batch are late together, so they count as one draw of the binomial.

        Args:
            percentile: As a share.
            risk: Chance of calling a target missed that is met.
        """
        together = max(1.0, self.requests / max(1, self.batches))
        draws, late = math.ceil(self.requests / together), math.floor(self.late / together)
        if not draws:
            return False, False
        allowed = 1 - percentile
        at_least = float(bdtrc(late - 1, draws, allowed)) if late else 1.0
        at_most = float(bdtr(late, draws, allowed))
        return at_least < risk, at_most < _MET


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a setting did when it was judged, at about one load."""

    load: float
    requests: int
    late: int
    missed: bool
    window: int

    @property
    def late_share(self) -> float:
        """Of the requests."""
        return self.late / self.requests
