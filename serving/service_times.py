"""How long a batch takes, from how long batches took: what the door's estimates are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

_MEMORY = 0.1  # weight of the newest measurement: the last twenty or so count
_STEP = 0.1
_LARGEST = 8.0


class ServiceTimes:
    """Seconds the device is busy with a batch of each compiled size.

    Args:
        measured: A first measurement of each size, from the warm-up.
    """

    def __init__(self, measured: Mapping[int, float]) -> None:
        self._seconds = dict(sorted(measured.items()))

    def observe(self, bucket: int, seconds: float) -> None:
        """Takes one finished batch into account.

        What is known of one size bounds the others: a smaller batch takes no longer, and one of
        n times the rows no longer than n batches. So an estimate that a hiccup spoilt recovers
        even if requests of its size are refused because of it.
        """
        known = self._seconds
        known[bucket] += _MEMORY * (seconds - known[bucket])
        for other in known:
            known[other] = min(known[other], known[bucket] * max(1.0, other / bucket))

    def of(self, rows: int) -> float:
        """Seconds of a batch of so many rows, at most the largest size."""
        return next(s for bucket, s in self._seconds.items() if bucket >= rows)

    def rows_per_s(self, limit: int) -> float:
        """How fast a long queue empties in batches of `limit` rows."""
        return limit / self.of(limit)

    def until_answered(self, rows: int, *, ahead: int, running: float, limit: int) -> float:
        """Seconds until a request of `rows` rows is answered.

        Args:
            ahead: Rows that go first.
            running: Seconds until what runs now is done.
            limit: Rows of a batch.
        """
        whole, rest = divmod(ahead + rows, limit)
        return running + whole * self.of(limit) + (self.of(rest) if rest else 0.0)


class Margin:
    """What an estimate is multiplied with, so that few of those let in come too late.

    Whoever is let in up to the very deadline is late half of the time, and work done for him is
    lost. The factor follows the quantile of answer over estimate by stochastic approximation
    (Robbins and Monro, 1951): up a large step when an answer takes longer than said, down a small
    one when it does not, so that it rests where a share `late` of the answers do.

    Args:
        late: Share of answers that may take longer than said.

    Attributes:
        factor: At least 1.
    """

    def __init__(self, late: float = 0.02) -> None:
        self.factor = 1.0
        self._late = late

    def observe(self, estimate_s: float, answered_s: float, timeout_s: float) -> None:
        """Takes in how long an answer took, or was waited for.

        Estimates that are small against the deadline decide nothing, and what is added to a
        millisecond by the machine's noise says nothing about a queue of a hundred: no account
        is taken of them.
        """
        if estimate_s * self.factor < timeout_s / 4:
            return
        late = answered_s > estimate_s * self.factor
        self.factor *= math.exp(_STEP * (late - self._late))
        self.factor = min(max(self.factor, 1.0), _LARGEST)
