"""How long a batch takes, from how long batches took: what the door's estimates are made of."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

_MEMORY = 0.1  # weight of the newest measurement: the last twenty or so count
_STEP = 0.2
_SMALLEST_S, _LARGEST_S = 0.001, 10.0


class ServiceTimes:
    """Seconds the device is busy with a batch of each compiled size.

    Args:
        measured: A first measurement of each size, from the warm-up.
    """

    def __init__(self, measured: Mapping[int, float]) -> None:
        self._seconds = dict(sorted(measured.items()))
        self._sizes = tuple(self._seconds)

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
        return self._seconds[self._sizes[bisect.bisect_left(self._sizes, rows)]]

    def best_rows(self, rows: int) -> int:
        """How many of so many waiting rows make the best batch: those that get done fastest.

        A batch is padded to the next compiled size. All 20 rows in a batch of 64 take longer than
        16 and then 4, and those who come meanwhile wait for the padding too. Of equals the larger,
        so that one which a hiccup made look n times as slow as a row (`observe`) runs again.

        Args:
            rows: At most the largest size.
        """
        at = bisect.bisect_left(self._sizes, rows)
        best, most = rows, rows / self._seconds[self._sizes[at]]
        for size in reversed(self._sizes[:at]):
            if (rate := size / self._seconds[size]) > most:
                best, most = size, rate
        return best

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
        seconds = running + whole * self.of(limit)
        while rest:
            part = self.best_rows(rest)
            batches, rest = divmod(rest, part)  # a step a size: this is asked at every request
            seconds += batches * self.of(part)
        return seconds


class Margin:
    """What is added to an estimate, so that few of those let in come too late.

    Whoever is let in up to the very deadline is late half of the time, and work done for him is
    lost. The margin follows the quantile of answer minus estimate by stochastic approximation
    (Robbins and Monro, 1951): up a large step when an answer takes longer than said, down a small
    one when it does not, so that it rests where a share `late` of the answers do. It is a sum and
    not a factor: how fast batches go is measured, and what comes on top, such as a pause of the
    machine, is as long for a short queue as for a long one.

    Requests that end with one batch are late together, so a batch is one step, of the share of
    its requests that were late. A step for each would make of one slow batch a door that is shut
    until the queue is empty.

    Late is who waits longer than he was told when he came. By the margin of the moment in which he
    is answered, of all whom a pause makes late those alone would count who end before the margin
    has grown to it: a whole queue would be late, and the margin shrink as if ten had been.

    Args:
        late: Share of answers that may take longer than said.

    Attributes:
        seconds: As it is now.
    """

    def __init__(self, late: float = 0.02) -> None:
        self.seconds = _SMALLEST_S
        self._allowed = late
        self._seen = self._late = 0

    def stretched(self, estimate_s: float, timeout_s: float) -> float:
        """The estimate with the margin, which takes no more than half of a request's time: an
        estimate that kept all requests out would never be corrected."""
        return estimate_s + min(self.seconds, timeout_s / 2) if estimate_s else 0.0

    def observe(self, promised_s: float, answered_s: float) -> None:
        """Takes in how long an answer took, or was waited for, of what `stretched` gave."""
        if promised_s:
            self._seen += 1
            self._late += answered_s > promised_s

    def step(self) -> None:
        """Moves by what was observed since the last step: called once a batch."""
        if self._seen:
            self.seconds *= math.exp(_STEP * (self._late / self._seen - self._allowed))
            self.seconds = min(max(self.seconds, _SMALLEST_S), _LARGEST_S)
            self._seen = self._late = 0
