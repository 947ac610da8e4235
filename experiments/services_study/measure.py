"""Equal recall, equal answers, then requests per second of both sides in turn."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.progress import Progress

from experiments.services_study.corpus import Catalogue
from experiments.services_study.exact import admitted, nearest, recall
from experiments.services_study.neighbours import KINDS
from experiments.services_study.one_function import OneFunction
from experiments.services_study.requests import Ask
from experiments.services_study.services import Services
from experiments.services_study.study import Study

Batches = Sequence[Sequence[Ask]]
_TOLERANCE = 1e-4  # float32 sums in another order


@dataclasses.dataclass(frozen=True)
class Truth:
    """By brute force, for some batches.

    Attributes:
        batches: The requests.
        queries: Their user embeddings, by batch.
        allowed: Which items each request may be shown, bool [n].
        wanted: Rows of the exact nearest neighbours.
    """

    batches: Batches
    queries: Sequence[np.ndarray]
    allowed: list[np.ndarray]
    wanted: list[np.ndarray]

    def recall(self, rows: Callable[[Sequence[Ask], np.ndarray], np.ndarray]) -> float:
        """Recall of what `rows` finds for a batch and its user embeddings."""
        found = [rows(asks, queries) for asks, queries in zip(self.batches, self.queries)]
        return recall(np.concatenate(found), self.wanted)


def exact_truth(
    catalogue: Catalogue,
    items: np.ndarray,
    queries: Sequence[np.ndarray],
    batches: Batches,
    k: int,
    progress: Progress,
) -> Truth:
    """Brute force for `queries`, one array [batch, dim] per batch."""
    asks = list(itertools.chain.from_iterable(batches))
    task = progress.add_task("brute force", total=len(asks))
    allowed, wanted = [], []
    for ask, query in zip(asks, np.concatenate(queries), strict=True):
        allowed.append(admitted(catalogue, ask))
        wanted.append(nearest(items, query, allowed[-1], k))
        progress.advance(task)
    return Truth(batches, queries, allowed, wanted)


def least_asked(reached: Callable[[float], float], target: float) -> tuple[float, float]:
    """The least `filtered_recall` that reaches the target, and the recall that it reaches.

    What is asked for is an expectation; like the probes of the others it is tuned to what is found.
    """
    for percent in range(80, 100):
        if (got := reached(percent / 100)) >= target:
            return percent / 100, got
    return 1.0, reached(1.0)


def fewest_probes(
    reached: Callable[[int], float], target: float, *, most: int
) -> tuple[int, float]:
    """The fewest probes, in steps of an eighth, that reach the target, and the recall of them.

    Raises:
        ValueError: Not even `most` reach it.
    """
    probes = min(4, most)
    while (got := reached(probes)) < target:
        if probes == most:
            raise ValueError(
                f"the search reaches recall {got:.3f} at most, under {target=}; ask for less"
            )
        probes = min(most, probes + max(1, probes // 8))
    return probes, got


def tune(
    services: Services, truth: Truth, study: Study, progress: Progress
) -> dict[str, dict[str, float]]:
    """Sets the kind of index that is fastest at the recall asked for; figures of all kinds."""
    figures: dict[str, dict[str, float]] = {}
    task = progress.add_task("tuning faiss", total=len(KINDS))
    for kind in KINDS:

        def reached(probes: int, kind: str = kind) -> float:
            services.kind, services.probes = kind, probes
            return truth.recall(services.candidates)

        probes, got = fewest_probes(reached, study.recall, most=study.inverted_lists)
        start = time.perf_counter()
        truth.recall(services.candidates)
        seconds = (time.perf_counter() - start) / len(truth.batches)
        figures[kind] = {
            "clusters": study.inverted_lists,
            "probes": probes,
            "recall": got,
            "milliseconds": 1e3 * seconds,
        }
        progress.advance(task)
    services.kind = min(figures, key=lambda kind: figures[kind]["milliseconds"])
    services.probes = int(figures[services.kind]["probes"])
    return figures


def check_answers(ours: OneFunction, services: Services, truth: Truth) -> dict[str, float]:
    """Whether both sides compute the same; figures of how alike their answers are.

    Raises:
        AssertionError: Scores of the same candidates differ, or an item is shown that the
            filter does not admit.
    """
    allowed = iter(truth.allowed)
    same, overlap, worst = [], [], 0.0
    for asks in truth.batches:
        answer = ours.answers([asks], in_flight=1)[0]
        state, found = ours.parts(asks)
        scored = services.scored(asks, state, found)
        there = answer.rows >= 0
        apart = np.abs(np.asarray(answer.scores)[there] - scored["scores"][there])
        worst = max(worst, float(apart.max(initial=0.0)))
        same.append((answer.rows == scored["rows"])[there])
        theirs = services.answers([asks], in_flight=1)[0]["rows"]
        for own, other, mask in zip(np.asarray(answer.rows), theirs, allowed):
            own, other = own[own >= 0], other[other >= 0]
            if not (mask[own].all() and mask[other].all()):
                raise AssertionError("an item was returned that the filter does not admit")
            overlap.append(len(np.intersect1d(own, other)) / max(len(own), 1))
    if worst > _TOLERANCE:
        raise AssertionError(
            f"the scorers differ by {worst:.2g} on the same candidates, over {_TOLERANCE}; "
            "the services do not compute what the one function does"
        )
    return {
        "same_item_for_same_candidates": float(np.concatenate(same).mean()),
        "largest_difference_of_scores": worst,
        "overlap_of_answers": float(np.mean(overlap)),
    }


@dataclasses.dataclass(frozen=True)
class Speed:
    """By way of running, one figure a round.

    Attributes:
        requests_per_second: Throughput.
        cpu_milliseconds: CPU time of one request, over all processes and cores. Other work on
            the machine changes it less than the throughput.
    """

    requests_per_second: dict[str, list[float]]
    cpu_milliseconds: dict[str, list[float]]


def rates(
    runs: Mapping[str, Callable[[Batches], Any]],
    batches: Batches,
    cpu_seconds: Callable[[], float],
    *,
    rounds: int,
    progress: Progress,
) -> Speed:
    """Answers all batches with each run in each round; the runs take turns."""
    requests = sum(map(len, batches))
    speed = Speed({name: [] for name in runs}, {name: [] for name in runs})
    task = progress.add_task("rounds", total=rounds * len(runs))
    for run in runs.values():
        run(batches[:2])  # warm
    for turn in range(rounds):
        order = list(runs.items())
        for name, run in order[turn % len(order) :] + order[: turn % len(order)]:
            used, start = cpu_seconds(), time.perf_counter()
            run(batches)
            took = time.perf_counter() - start
            speed.requests_per_second[name].append(requests / took)
            speed.cpu_milliseconds[name].append(1e3 * (cpu_seconds() - used) / requests)
            progress.advance(task)
    return speed
