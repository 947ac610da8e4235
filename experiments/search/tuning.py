"""The cheapest setting of each method that reaches a recall."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from experiments.search.data import Corpus, recall
from experiments.search.rounds import queries_per_second
from experiments.search.systems import Run, Variant

_FINE = 100  # a step of the knob is at most this part of it
_BATCH = 256  # queries per call while recall is measured, so that one shape is compiled


@dataclasses.dataclass(frozen=True)
class Setting:
    """A variant with its knob set.

    Attributes:
        variant: What is searched.
        value: Of the knob.
        recall: What it reached over the queries asked.
        run: The search.
    """

    variant: Variant
    value: int
    recall: float
    run: Run


class Tuner:
    """Measures recall, each value of each knob once."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._known: dict[tuple[Variant, int], Setting] = {}

    def at(self, variant: Variant, value: int) -> Setting:
        """The setting and the recall it reaches."""
        if (variant, value) not in self._known:
            run, asked = variant.run(value), self._corpus.asked
            parts = [run(asked[at : at + _BATCH]) for at in range(0, len(asked), _BATCH)]
            reached = recall(np.concatenate(parts), self._corpus.wanted)
            self._known[variant, value] = Setting(variant, value, reached, run)
        return self._known[variant, value]

    def cheapest(self, variant: Variant, target: float) -> Setting | None:
        """The lowest value of the knob that reaches `target`, within 1 %; None if none does.

        By bisection between what is known already to miss and to reach it.
        """
        known = {value: one.recall for (own, value), one in self._known.items() if own == variant}
        reaching = [value for value, reached in known.items() if reached >= target]
        high = min(reaching, default=max(known, default=variant.least))
        low = max((value for value in known if value < high), default=variant.least - 1)
        while self.at(variant, high).recall < target:
            if high == variant.most:
                return None
            low, high = high, min(2 * high, variant.most)
        while high - low > max(1, high // _FINE):
            middle = (low + high) // 2
            if self.at(variant, middle).recall < target:
                low = middle
            else:
                high = middle
        return self.at(variant, high)

    def best_recall(self, variants: Iterable[Variant]) -> float:
        """The highest recall that was measured of any of them."""
        wanted = set(variants)
        return max(one.recall for (variant, _), one in self._known.items() if variant in wanted)


def fastest(
    settings: Sequence[Setting], queries: np.ndarray, batch: int, *, rounds: int, turn: float
) -> dict[str, Setting]:
    """Of each method the setting of the most queries per second at this batch size."""
    speeds = queries_per_second(
        [one.run for one in settings], queries, batch, rounds=rounds, turn=turn
    )
    best: dict[str, tuple[float, Setting]] = {}
    for one, speed in zip(settings, speeds, strict=True):
        method, rate = one.variant.method, float(np.median(speed))
        if method not in best or rate > best[method][0]:
            best[method] = rate, one
    return {method: one for method, (_, one) in best.items()}
