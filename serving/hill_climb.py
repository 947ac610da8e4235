"""The batch limit that carries most requests within a tail-latency target, found while serving.

A state machine without clock, threads or I/O: windows of measurements in, a decision and its
reason out. So a test, a simulator and the live service drive the very same code.

What to climb on. With open-loop traffic below capacity every limit answers all that arrives, so
"more queries per second" cannot be seen in the throughput; near capacity a step in the wrong
direction costs seconds of queue. Three signals are left, and they are used in this order.

1. *The share of requests over the target* at the limit in force, shed ones included. It is the
   objective itself, and overrules the others. Requests of one batch end together, so they count
   as one draw; a target is missed or met only where the binomial distribution says so.
2. *The time of a batch*, by bucket. Together with the rows of the requests it says how many
   requests per second a limit could carry within the target (`serving/capacity.py`): the
   headroom that throughput does not show. This is the hill that is climbed.
3. *Whether the limit binds*: where batches do not fill, a larger limit changes nothing, and
   nothing can be learned about it.

The rules. Up or down one rung where the next one is unknown, the limit binds and a batch of it
would fit the target even if time grew with rows; straight to a rung that is known to carry 10 %
more. When the target is missed: at once to what was or should be better at this load, each
setting tried once; when nothing is left, the best of them stays, and it is tried again when the
load or the times change, or after a while. A setting that was measured to fail is not gone
back to at that load. Now and then a neighbour is run for a few batches, if it is sure to carry
the load, so that its estimate does not go stale.

With a second executor the state has a second coordinate, the offload threshold (rows above
which a request goes to it whole, as in DeepRecSched, ISCA 2020); both are climbed together
rather than one after the other.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from serving.evidence import Evidence, Outcome
from serving.headroom import Headroom, Setting
from serving.hill_climb_config import Decision, HillClimbConfig, Window

__all__ = ["Decision", "HillClimbConfig", "HillClimber", "Window"]


_SETTLED = 4  # windows
_LOST = 0.9  # share over target beyond which nothing is learned from it
_QUEUE = 8  # targets' time that a queue may need to empty
_BETTER = 0.02  # share of the requests in time, by which a setting must be better to be tried


class HillClimber:
    """Climbs; see the module. `step` takes well under a millisecond."""

    def __init__(self, config: HillClimbConfig) -> None:
        self.config = config
        start = 0 if config.start is None else config.ladder.index(config.start)
        # Every request to the first executor, until the second one's times are known.
        self._at: Setting = (start, max(0, len(config.thresholds) - 1))
        self._headroom = Headroom(config)
        self._seen = Evidence()
        self._outcomes: dict[Setting, Outcome] = {}
        self._trial = False  # the setting in force is being tried
        self._window = self._moved = 0
        self._flush = config.target_s
        self._rng = np.random.default_rng(config.seed)
        self._explore_at = self._next_exploration()
        self._reason = "start"

    @property
    def decision(self) -> Decision:
        """What holds now."""
        limit, threshold = self._at
        return Decision(
            batch_limit=self.config.ladder[limit],
            offload_threshold=self.config.thresholds[threshold] if self.config.thresholds else None,
            reason=self._reason,
            settled=not self._trial and self._window - self._moved > _SETTLED,
        )

    def learn(
        self,
        batch_rows: Int[np.ndarray, " batches"],
        batch_seconds: Float[np.ndarray, " batches"],
        batch_executor: Int[np.ndarray, " batches"] | None = None,
    ) -> None:
        """Takes in the times of a warm-up, which are believed however few there are.

        Before the first window, where no start was named, it begins with the smallest limit that
        should carry about as many requests of one row as any: their sizes are not known yet.
        """
        self._headroom.believe(batch_rows, batch_seconds, batch_executor)
        if not self._window and self.config.start is None and self.config.mode == "online":
            self._begin()

    def step(self, window: Window) -> Decision:
        """One window of measurements, one decision."""
        self._window += 1
        drift = self._headroom.learn(window)
        if self.config.mode == "fixed":
            self._reason = "fixed"
            return self.decision
        if drift:
            self._again(drift)
        if window.batch_limit == self.decision.batch_limit and (
            window.offload_threshold == self.decision.offload_threshold
        ):
            self._observe(window)
            self._decide()
        return self.decision

    def _begin(self) -> None:
        """At the best limit of those whose times are believed, if any."""
        here = [s for s in self._headroom.settings if s[1] == self._at[1]]
        rates = {
            s: self._headroom.rate(s, slope=1.0, residual=1.0)
            for s in here
            if self._headroom.known(s)
        }
        most = max(rates.values(), default=0.0)
        if most > 0:
            # An idle machine flatters large batches: with requests coming in at the same time they
            # take longer than small ones do. What is no better by a step's gain is not worth that.
            close = [s for s in rates if rates[s] * (1 + self.config.gain) >= most]
            self._at = min(close)
            self._reason = f"start: should carry {rates[self._at]:.0f} requests/s"

    def _observe(self, window: Window) -> None:
        """Adds a window to the evidence, which starts anew where the load has changed."""
        if self._seen.differs(window):
            load = window.arrivals / window.duration
            self._again(f"the load went from {self._seen.load:.0f} to {load:.0f} requests/s")
        self._seen.add(window, self.config.target_s, after=self._flush)

    def _decide(self) -> None:
        missed, met = self._seen.judge(self.config.percentile, self.config.risk)
        if missed or met:
            self._note(missed)
        if missed:
            self._step_back()
        elif self._trial and not self._tried():
            return
        elif self._seen.binds:
            self._climb()
        elif not self._trial:
            self._reason = "batches do not fill: a larger limit would change nothing"
        if met:
            self._seen = Evidence()

    def _note(self, missed: bool) -> None:
        """Keeps the verdict, with what was seen of the setting at this load before."""
        seen, before = self._seen, self._tried_at(self._at, self._seen.load)
        requests, late = (before.requests, before.late) if before else (0, 0)
        self._outcomes[self._at] = Outcome(
            seen.load, requests + seen.requests, late + seen.late, missed, self._window
        )

    def _step_back(self) -> None:
        """To what was, or should be, better at this load; each setting is tried once."""
        load, late = self._seen.load, self._seen.late_share
        tried = {s for s in self._headroom.settings if self._tried_at(s, load)}
        near = {n for s in tried for n in self._neighbours(s)}
        worth = {s: self._worth(s, load) for s in self._headroom.settings}
        others = [s for s in worth if s in near | tried or self._headroom.known(s)]
        best = max(others, key=lambda s: worth[s])
        said = f"{100 * late:.1f} % over target at {load:.0f} requests/s"
        if best != self._at and worth[best][0] > (1 + _BETTER) * worth[self._at][0]:
            self._go(best, f"{said}: trying what should be better", missed=True)
        else:
            self._reason = f"{said}: the best of what was tried"
            self._seen = Evidence()

    def _worth(self, setting: Setting, load: float) -> tuple[float, float]:
        """Requests per second in time at this load: as measured, or as hoped for.

        Beyond its capacity a setting answers everything late, and only the hope tells it from
        others like it. Between equals the cautious rate decides.
        """
        cautious = self._headroom.rate(setting, slope=1.0, residual=1.0)
        hope = self._headroom.rate(setting, slope=0.0, residual=0.0)
        if math.isnan(hope):  # an executor that never ran: nothing speaks against it
            return load, 0.0
        outcome = self._tried_at(setting, load)
        if outcome is None:
            return min(hope, load), cautious
        if outcome.late_share > _LOST and hope < load:
            return (1 - _LOST) * hope, cautious
        return load * (1 - outcome.late_share), cautious

    def _tried_at(self, setting: Setting, load: float) -> Outcome | None:
        outcome = self._recent(setting)
        return outcome if outcome and 0.8 * load < outcome.load < 1.25 * load else None

    def _climb(self) -> None:
        """To a setting known to carry more, or one rung on to find out."""
        carries = {s: self._carries(s) for s in self._headroom.settings if self._headroom.known(s)}
        if self._at not in carries:
            self._reason = "measuring"
            return
        here, load = carries[self._at], self._seen.load
        best = max(carries, key=lambda s: carries[s])
        gain = 0.0 if self._trial else self.config.gain
        self._trial = False
        if best != self._at and carries[best] > (1 + gain) * here and not self._failed(best, load):
            self._go(best, f"carries {carries[best]:.0f} requests/s rather than {here:.0f}")
        elif (rung := self._promising(carries[best])) is not None:
            self._go(rung, "trying the next rung")
            self._trial = True
        elif self._window >= self._explore_at and (rung := self._harmless(carries)) is not None:
            self._go(rung, "exploring")
            self._trial = True
        else:
            self._reason = (
                f"the best known: carries {here:.0f} requests/s"
                if here > load
                else "the best known; the target leaves no room to spare"
            )

    def _tried(self) -> bool:
        """Whether a trial has run long enough; one whose batches do not fill ends by itself."""
        enough = self._window - self._moved >= 2 and self._headroom.known(self._at)
        if not enough and self._window - self._moved >= _SETTLED * 2:
            self._trial = False
            return True
        return enough

    def _promising(self, best: float) -> Setting | None:
        """A neighbour that never ran, would fit the target at worst and be better at best."""
        for setting in self._neighbours(self._at):
            if self._headroom.known(setting) or self._recent(setting):
                continue
            fits = self._headroom.rate(setting, slope=1.0, residual=0.0) > 0
            hope = self._headroom.rate(setting, slope=0.5, residual=0.5)
            if math.isnan(hope) or (fits and hope > (1 + self.config.gain) * best):
                return setting
        return None

    def _harmless(self, carries: dict[Setting, float]) -> Setting | None:
        """Some neighbour that is sure to carry the load."""
        self._explore_at = self._next_exploration()
        sure = [
            s for s in self._neighbours(self._at) if carries.get(s, 0.0) > 1.1 * self._seen.load
        ]
        return sure[self._rng.integers(len(sure))] if sure else None

    def _carries(self, setting: Setting) -> float:
        """Requests per second within the target: the model's, corrected by what was measured."""
        rate = self._headroom.rate(setting, slope=1.0, residual=1.0)
        if outcome := self._recent(setting):
            if not outcome.missed:
                return max(rate, outcome.load)
            if rate > outcome.load:  # a miss beyond the rate is no news
                return outcome.load * (1 - outcome.late_share)
        return rate

    def _failed(self, setting: Setting, load: float) -> bool:
        outcome = self._recent(setting)
        return outcome is not None and outcome.missed and outcome.load < 1.25 * load

    def _recent(self, setting: Setting) -> Outcome | None:
        outcome = self._outcomes.get(setting)
        return outcome if outcome and self._window - outcome.window < self.config.patience else None

    def _neighbours(self, setting: Setting) -> list[Setting]:
        limit, threshold = setting
        near = [
            (limit + 1, threshold),
            (limit - 1, threshold),
            (limit, threshold - 1),
            (limit, threshold + 1),
        ]
        return [one for one in near if one in set(self._headroom.settings)]

    def _go(self, setting: Setting, reason: str, *, missed: bool = False) -> None:
        self._at, self._reason, self._moved = setting, reason, self._window
        self._seen, self._trial = Evidence(), False
        # Where the target was missed a queue of about the target's length is left behind, and
        # what the new setting can spare empties it.
        self._flush = (_QUEUE if missed else 1) * self.config.target_s

    def _again(self, why: str) -> None:
        """The ground has moved: what was found out has to be found out anew."""
        self._reason, self._moved = f"{why}: climbing again", self._window
        self._seen = Evidence()
        self._outcomes.clear()

    def _next_exploration(self) -> int:
        return self._window + int(self.config.patience * self._rng.uniform(0.75, 1.25))
