"""Mode `tune`: the limit that carries the highest rate within the target, measured offline.

As DeepRecSched does (ISCA 2020): at each batch limit, from the smallest up, the highest rate of
arrivals that still meets the target is looked for, until larger limits carry less. Where its
published code walks at random for 8,192 requests per limit and scores the middle of the walk,
this first asks of each limit whether it carries more than the best so far (one measurement
settles most of them, a second one what nearly did), then doubles and halves the step; and the
best is measured again in the end: one lucky run does not make a limit the best.

A plain state machine: it proposes a limit and a rate, and is told how many requests were late.
"""

from __future__ import annotations

import dataclasses
import math

_NEARLY = 2.0  # times as many late requests as allowed may be bad luck: they come in batches


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What to measure next: open-loop load of `rate` requests per second at `batch_limit`."""

    batch_limit: int
    rate: float


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        batch_limit: The best.
        rate: Requests per second that it carries within the target; 0 if no limit met it.
        rates: By limit, as far as they were looked at. Of a limit that carries less than the
            best before it, only the rate at which it failed is known, and left out.
    """

    batch_limit: int
    rate: float
    rates: dict[int, float]


class RateSearch:
    """Proposes until `proposal` is None; then `result` holds what was found.

    Args:
        ladder: Batch limits, ascending.
        first_rate: Requests per second to begin with; any will do, a good guess saves time.
        percentile: Of the latency target, as a share.
        resolution: Rates are told apart down to this ratio.
        patience: Limits in a row that may carry less before the search ends.
        confirmations: Times that the best must meet the target again in the end; each time that
            it does not, its rate is lowered by the resolution.
        give_up: Share of the first rate at which a limit that has not met the target is left.
    """

    def __init__(
        self,
        ladder: tuple[int, ...],
        first_rate: float,
        *,
        percentile: float = 0.99,
        resolution: float = 1.03,
        patience: int = 5,
        confirmations: int = 3,
        give_up: float = 2**-20,
    ) -> None:
        if not ladder or list(ladder) != sorted(set(ladder)):
            raise ValueError(f"{ladder=} must be ascending and not empty")
        if not 0 < first_rate < math.inf:
            raise ValueError(f"{first_rate=} must be a positive number")
        if resolution <= 1:
            raise ValueError(f"{resolution=} must be a ratio above 1")
        self._ladder, self._resolution, self._patience = ladder, resolution, patience
        self._allowed = 1 - percentile
        self._first, self._lowest = first_rate, first_rate * give_up
        self._rung, self._worse = 0, 0
        self._met, self._missed = 0.0, math.inf  # rates of this limit
        self._again = False  # it has had its second measurement of a rate nearly met
        self._rates: dict[int, float] = {}
        self._rate = first_rate
        self._confirmed, self._confirmations = 0, confirmations
        self._climbing = True

    @property
    def proposal(self) -> Proposal | None:
        """What to measure; None when there is nothing left to find out."""
        if self._climbing:
            return Proposal(self._ladder[self._rung], self._rate)
        best = self.result
        if not best.rate or self._confirmed == self._confirmations:
            return None
        return Proposal(best.batch_limit, best.rate)

    @property
    def result(self) -> Tuned:
        """The best so far."""
        best = max(self._rates, key=lambda limit: self._rates[limit], default=self._ladder[0])
        return Tuned(best, self._rates.get(best, 0.0), dict(self._rates))

    def tell(self, *, requests: int, late: int) -> None:
        """How the proposal did.

        Args:
            requests: Sent.
            late: Of those, over the target, shed or failed.
        """
        met = late <= self._allowed * requests
        if not self._climbing:
            self._confirm(met)
        elif self._deserves_another(late / requests):
            self._again = True
        else:
            self._climb(met)

    def _confirm(self, met: bool) -> None:
        self._confirmed = self._confirmed + 1 if met else 0
        if not met:
            self._rates[self.result.batch_limit] /= self._resolution

    def _deserves_another(self, late_share: float) -> bool:
        """Whether a limit is about to be left for what may have been bad luck."""
        nearly = self._allowed < late_share <= _NEARLY * self._allowed
        return nearly and not self._again and not self._met and bool(self._rates)

    def _climb(self, met: bool) -> None:
        if met:
            self._met = max(self._met, self._rate)
            self._rates[self._ladder[self._rung]] = self._met
        else:
            self._missed = min(self._missed, self._rate)
        best = self.result.rate
        if not self._met and best:  # carries less than the best: no need to know how much
            self._next(worse=True)
        elif not self._met and self._rate < self._lowest:
            self._next(worse=False)  # misses the target however few come
        elif self._missed == math.inf:
            self._rate *= 1.5
        elif not self._met:
            self._rate /= 1.5
        elif self._missed / self._met > self._resolution:
            self._rate = math.sqrt(self._met * self._missed)
        else:
            self._next(worse=False)

    def _next(self, *, worse: bool) -> None:
        self._worse = self._worse + 1 if worse else 0
        self._rung += 1
        self._climbing = self._rung < len(self._ladder) and self._worse < self._patience
        self._met, self._missed, self._again = 0.0, math.inf, False
        self._rate = self.result.rate * self._resolution or self._first
