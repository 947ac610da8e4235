"""Chooses the settings of a baseline, so that it is worth beating.

Rendle et al. ("On the Difficulty of Evaluating Baselines", 2019; "Revisiting the Performance of
iALS on Item Recommendation Benchmarks", RecSys 2022) show that most reported gains over matrix
factorisation vanish once it is tuned. So each method has a grid of its own, wide enough that the
best setting need not lie on its edge, and the number of iterations is tuned with the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from training.baselines import Factors, Method, Settings, fit
from training.datasets.dataset import Interactions
from training.evaluate import evaluate
from training.splits import Cases, Split

METRIC = "ndcg@20"
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
        progress: Called after every fit.
    """
    judge = functools.partial(
        _trial, method, split.train, split.validation, users=users, items=items
    )
    tried: dict[tuple[int | float, ...], Trial] = {}

    def attempt(point: tuple[int | float, ...]) -> None:
        if point not in tried:
            tried[point] = judge(dict(zip(method.grid, point)), seed=seed)
            if progress is not None:
                progress(tried[point])

    for point in itertools.product(*(method.start[name] for name in method.grid)):
        attempt(point)
    centre = None
    while centre != (best := max(tried, key=lambda point: tried[point].score)):
        centre = best
        for point in _neighbours(method, centre):
            attempt(point)
    ranked = sorted(tried.values(), key=lambda trial: -trial.score)
    finalists = [_judged_again(judge, trial, seed, progress) for trial in ranked[:_FINALISTS]]
    finalists.sort(key=lambda trial: -trial.score)
    edges = {**method.grid, "iterations": method.iterations}
    on_edge = (
        name
        for name, value in finalists[0].settings.items()
        if value in (edges[name][0], edges[name][-1]) and value != 0  # nothing lies below 0
    )
    return Tuned(finalists[0], (*finalists, *ranked[_FINALISTS:]), tuple(on_edge))


def _trial(
    method: Method,
    train: Interactions,
    validation: Cases,
    settings: Settings,
    *,
    users: int,
    items: int,
    seed: int,
) -> Trial:
    """One fit, judged after each of `method.iterations`; the best of them counts."""
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
    return Trial({**settings, "iterations": _best(scores)}, max(scores.values()))


def _best(scores: Mapping[int, float]) -> int:
    return max(scores, key=lambda iterations: scores[iterations])


def _judged_again(
    judge: Callable[..., Trial],
    trial: Trial,
    seed: int,
    progress: Callable[[Trial], None] | None,
) -> Trial:
    """The mean over several seeds in place of the one that brought the settings to the final."""
    settings = {n: value for n, value in trial.settings.items() if n != "iterations"}
    again = [judge(settings, seed=seed + extra) for extra in range(1, _SEEDS)]
    for other in again:
        if progress is not None:
            progress(other)
    together = [trial, *again]
    iterations = sorted(int(one.settings["iterations"]) for one in together)[_SEEDS // 2]
    mean = float(np.mean([one.score for one in together]))
    return Trial({**settings, "iterations": iterations}, mean, _SEEDS)


def _neighbours(
    method: Method, point: tuple[int | float, ...]
) -> Iterator[tuple[int | float, ...]]:
    for axis, (values, value) in enumerate(zip(method.grid.values(), point)):
        at = values.index(value)
        for other in (at - 1, at + 1):
            if 0 <= other < len(values):
                yield (*point[:axis], values[other], *point[axis + 1 :])
