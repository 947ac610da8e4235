"""Chooses the settings of a baseline, so that it is worth beating.

Rendle et al. ("On the Difficulty of Evaluating Baselines", 2019; "Revisiting the Performance of
iALS on Item Recommendation Benchmarks", RecSys 2022) show that most reported gains over matrix
factorisation vanish once it is tuned. So each method has a grid of its own, wide enough that the
best setting need not lie on its edge, and the number of iterations is tuned with the rest.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from training.baselines import Factors, Method, Settings, fit
from training.datasets.dataset import Interactions
from training.evaluate import evaluate
from training.splits import Cases, Split

METRIC = "ndcg@20"
Point = tuple[int | float, ...]  # one value per axis of the grid
_SEEDS = 3  # fits per finalist: one seed's luck must not choose the settings
_FINALISTS = 5
_PATIENCE = 2  # judgements without a new best, in the second half of them, that end a fit


@dataclasses.dataclass(frozen=True)
class Trial:
    """Settings (with `iterations`) and what they reached on the validation cases."""

    settings: dict[str, int | float]
    score: float
    fits: int = 1


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The outcome of a search.

    Attributes:
        best: The settings to use.
        trials: Everything tried, best first.
        on_edge: Settings whose best value is the first or last of its grid: the grid may be
            too narrow there.
    """

    best: Trial
    trials: tuple[Trial, ...]
    on_edge: tuple[str, ...]


def tune(
    method: Method,
    split: Split,
    *,
    users: int,
    items: int,
    seed: int = 0,
    progress: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Chooses settings by ndcg@20 on the validation cases, learning from `split.train` alone.

    Tries the start of the grid in full, then climbs: all neighbours of the best point so far are
    tried until none is better. The finalists are fitted again with more seeds, and the best mean
    wins. Deterministic in its arguments.

    Args:
        method: What to tune.
        split: Its test cases are not looked at.
        users: Rows of the user table.
        items: Rows of the item table.
        seed: Of the first fit; the finalists' other fits take the next ones.
        progress: Called after every fit.
    """
    curves: dict[Point, list[dict[int, float]]] = {}

    def attempt(point: Point) -> None:
        curves.setdefault(point, []).append(
            _curve(
                method,
                split.train,
                split.validation,
                dict(zip(method.grid, point)),
                users=users,
                items=items,
                seed=seed + len(curves.get(point, ())),
            )
        )
        if progress is not None:
            progress(trial(point))

    def trial(point: Point) -> Trial:
        """The number of iterations with the best mean over the seeds so far."""
        shared = set.intersection(*map(set, curves[point]))
        means = {n: float(np.mean([c[n] for c in curves[point]])) for n in sorted(shared)}
        best = _best(means)
        settings = {**dict(zip(method.grid, point)), "iterations": best}
        return Trial(settings, means[best], len(curves[point]))

    for point in itertools.product(*(method.start[name] for name in method.grid)):
        attempt(point)
    centre = None
    while centre != (best := max(curves, key=lambda point: trial(point).score)):
        centre = best
        for point in _neighbours(method, centre):
            if point not in curves:
                attempt(point)
    ranked = sorted(curves, key=lambda point: -trial(point).score)
    for point in ranked[:_FINALISTS]:
        for _ in range(_SEEDS - 1):
            attempt(point)
    finalists = sorted(map(trial, ranked[:_FINALISTS]), key=lambda one: -one.score)
    trials = (*finalists, *map(trial, ranked[_FINALISTS:]))
    return Tuned(finalists[0], trials, _on_edge(method, finalists[0].settings))


def _curve(
    method: Method,
    train: Interactions,
    validation: Cases,
    settings: Settings,
    *,
    users: int,
    items: int,
    seed: int,
) -> dict[int, float]:
    """One fit, judged after each of `method.iterations`, as far as it is worth going."""
    scores: dict[int, float] = {}
    half = len(method.iterations) // 2

    def judge(iterations: int, factors: Factors) -> bool:
        if iterations not in method.iterations:
            return False
        result = evaluate(
            factors.ranker(),
            validation,
            items=items,
            history=1,
            batch=1024,
            recall_at=(),
            ndcg_at=(20,),
        )
        scores[iterations] = result.metrics[METRIC]
        # The first ones are noise where the learning rate is small, so they end nothing.
        since = len(scores) - 1 - max(list(scores).index(_best(scores)), half)
        return since >= _PATIENCE

    longest = {**settings, "iterations": method.iterations[-1]}
    fit(method, longest, train, users=users, items=items, seed=seed, on_iteration=judge)
    return scores


def _best(scores: Mapping[int, float]) -> int:
    return max(scores, key=lambda iterations: scores[iterations])


def _on_edge(method: Method, settings: Settings) -> tuple[str, ...]:
    values = {**method.grid, "iterations": method.iterations}
    return tuple(
        name
        for name, value in settings.items()
        if value in (values[name][0], values[name][-1]) and value != 0  # nothing lies below 0
    )


def _neighbours(method: Method, point: Point) -> Iterator[Point]:
    for axis, (values, value) in enumerate(zip(method.grid.values(), point)):
        at = values.index(value)
        for other in (at - 1, at + 1):
            if 0 <= other < len(values):
                yield (*point[:axis], values[other], *point[axis + 1 :])
