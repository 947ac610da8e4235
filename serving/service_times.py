"""How long a batch takes, from how long batches took: what the door's estimates are made of."""

from __future__ import annotations

from collections.abc import Mapping

_MEMORY = 0.1  # weight of the newest measurement: the last twenty or so count


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
