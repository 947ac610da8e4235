"""The stream of requests, and a batch of them as arrays: what both sides begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.services_study.corpus import Catalogue, popular
from experiments.services_study.study import COUNTRIES, LANGUAGES, Study
from silverjax.batch import pad_histories

_INTERESTS = 3  # clumps that a user chooses from
# Shares of the kinds of filter in `_filter`.
_KINDS = {"language": 0.4, "topics": 0.3, "market": 0.2, "following": 0.1}


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        user: Row of the user.
        country: Code of the user's country.
        age: Code of the user's age.
        history: Item rows, oldest first.
        labels: Task labels of the history, float32 [len(history), tasks].
        where: Filter.
        kind: What kind of filter it is.
        weights: Worth of each task, float32 [tasks].
    """

    user: int
    country: int
    age: int
    history: np.ndarray
    labels: np.ndarray
    where: str
    kind: str
    weights: np.ndarray


def make_asks(study: Study, catalogue: Catalogue, number: int) -> list[Ask]:
    """Requests of distinct users, histories, filters and weights."""
    rng = np.random.default_rng(study.seed + 2)
    tasks, longest = len(study.schema().tasks), study.config().tower.history
    by_clump = np.argsort(catalogue.clump, kind="stable")
    ends = np.cumsum(np.bincount(catalogue.clump))
    kinds = rng.choice(list(_KINDS), number, p=list(_KINDS.values())).tolist()
    asks = []
    for kind in kinds:
        picked = rng.choice(np.flatnonzero(np.diff(ends, prepend=0)), _INTERESTS)
        pool = np.concatenate([by_clump[ends[c - 1] if c else 0 : ends[c]] for c in picked])
        history = rng.choice(pool, rng.integers(5, longest + 1)).astype(np.int32)
        labels = (rng.random((len(history), tasks)) < 0.4).astype(np.float32)
        labels[:, 0] = 1.0
        asks.append(
            Ask(
                user=int(rng.integers(study.users)),
                country=int(rng.integers(COUNTRIES)) + 1,
                age=int(rng.integers(1, 10)),
                history=history,
                labels=labels,
                where=_filter(kind, study, catalogue, rng),
                kind=kind,
                weights=rng.uniform(0.1, 1.0, tasks).astype(np.float32),
            )
        )
    return asks


def _filter(kind: str, study: Study, catalogue: Catalogue, rng: np.random.Generator) -> str:
    """A filter whose terms are as popular as those of the items."""
    item = {name: column[rng.integers(study.items)] for name, column in catalogue.columns.items()}
    topics = [int(c) for c in np.unique(item["category"]) if c >= 0]
    makers = ", ".join(map(str, rng.integers(0, study.creators, 12)))
    language, country = popular(rng, LANGUAGES, 1, steepness=1.5)[0], item["country"]
    if kind == "language":
        return f"language:{language} AND NOT category IN ({', '.join(map(str, topics))})"
    if kind == "topics":
        any_of = " OR ".join(f"category:{c}" for c in [*topics, 0, 1])
        return f"({any_of}) AND NOT country:{country}"
    if kind == "market":
        return f"language:{language} AND country IN ({country}, 0, 1) AND NOT creator IN ({makers})"
    return f"creator IN ({makers})"


@dataclasses.dataclass(frozen=True)
class Batch:
    """Requests as arrays, leading axis batch."""

    arrays: dict[str, np.ndarray]
    filters: list[str]


def form(asks: Sequence[Ask], study: Study) -> Batch:
    """Joins requests to a batch. Nobody is shown again what is in his history."""
    config = study.config()
    history, labels = pad_histories(
        [ask.history.tolist() for ask in asks],
        [ask.labels for ask in asks],
        length=config.tower.history,
        tasks=len(study.schema().tasks),
    )
    arrays = {
        "user": np.array([ask.user for ask in asks], np.int32),
        "country": np.array([ask.country for ask in asks], np.int32),
        "age": np.array([ask.age for ask in asks], np.int32),
        "history": history,
        "labels": labels,
        "weights": np.stack([ask.weights for ask in asks]),
    }
    return Batch(arrays, [ask.where for ask in asks])
