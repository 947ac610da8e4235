"""Why an item is in an answer or not: stage by stage, for one query.

The figures are those of one run of the pipeline (`silverjax.item_trace`): the same calls in the
same shapes as the service's own, so that what is explained is what is answered.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from serving.clauses import Clause, clauses_of
from serving.encoder import Rows
from serving.engine import Engine
from serving.query import Query
from silverjax.item_trace import ItemTrace
from silverjax.retriever import Request

# In the order in which the pipeline can drop an item: a filter is counted before clusters are
# visited, and what is excluded is struck out of the words.
STAGES = ("index", "filter", "exclusion", "probe", "search", "value")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one stage did.

    Attributes:
        stage: One of `STAGES`.
        kept: Whether the item got through; `None` if a stage before dropped it.
        why: For people.
    """

    stage: str
    kept: bool | None
    why: str


@dataclasses.dataclass(frozen=True)
class TaskShare:
    """One task's part in the value.

    Attributes:
        task: Its name.
        probability: From the OverArch.
        weight: Of the request, in the sum.
        product: Probability x weight.
        power: Of the request; the probability's exponent in the product of all tasks.
    """

    task: str
    probability: float
    weight: float
    product: float
    power: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One item, followed through the stages.

    Attributes:
        item: External id.
        title: Readable name.
        returned: It is in the answer.
        dropped_by: The first stage that dropped it; `None` if it is returned.
        place: Place in the answer, from 1; `None` if it is not in it.
        value: `sum(probability x weight) x prod(probability ** power)`; computed also for an
            item that was dropped. `None` if the index does not have the item.
        similarity: User times item, as the search computes it; `None` likewise.
        stages: All of them, in order.
        clauses: The filter's terms.
        tasks: Their parts in the value; empty if the index does not have the item.
        cold_start: Nothing was known of the user.
        snapshot_version: That answered.
    """

    item: str
    title: str
    returned: bool
    dropped_by: str | None
    place: int | None
    value: float | None
    similarity: float | None
    stages: tuple[Stage, ...]
    clauses: tuple[Clause, ...]
    tasks: tuple[TaskShare, ...]
    cold_start: bool
    snapshot_version: str


def explain(engine: Engine, query: Query, rows: Rows, item: int) -> Explanation:
    """Follows one item through the stages for one query. Waits for the device.

    Args:
        engine: Made with `traces=True`.
        query: What is asked.
        rows: The same, encoded by this engine.
        item: Catalogue row.
    """
    request = engine.assemble(rows, 1)
    trace = engine.trace(request, item)
    catalogue = engine.snapshot.catalogue
    attributes = {name: [str(v) for v in of[item]] for name, of in catalogue.attributes.items()}
    admitted, clauses = clauses_of(query.where, attributes)
    found = _Found(engine, request, trace, item, query.k)
    verdicts = {
        "index": found.indexed(),
        "filter": _filtered(admitted, clauses),
        "exclusion": found.excluded(catalogue.item_ids[item] in query.exclude),
        "probe": found.probed(),
        "search": found.searched(),
        "value": found.valued(),
    }
    stages, dropped_by = _in_order(verdicts)
    known = bool(trace.cluster[0] >= 0)
    return Explanation(
        item=catalogue.item_ids[item],
        title=catalogue.titles[item],
        returned=dropped_by is None,
        dropped_by=dropped_by,
        place=found.place if dropped_by is None else None,
        value=float(trace.value[0]) if known else None,
        similarity=float(trace.similarity[0]) if known else None,
        stages=stages,
        clauses=clauses,
        tasks=_shares(engine, request, trace) if known else (),
        cold_start=bool(rows.fields["user"][0] < 0),
        snapshot_version=engine.version,
    )


# Whether a stage keeps an item; why; and what to say where a stage before has dropped it.
_Verdict = tuple[bool, str, str]


def _in_order(verdicts: dict[str, _Verdict]) -> tuple[tuple[Stage, ...], str | None]:
    stages, dropped_by = [], None
    for name in STAGES:
        kept, why, otherwise = verdicts[name]
        if dropped_by is not None:
            stages.append(Stage(name, None, otherwise))
            continue
        stages.append(Stage(name, kept, why))
        dropped_by = None if kept else name
    return tuple(stages), dropped_by


def _filtered(admitted: bool, clauses: tuple[Clause, ...]) -> _Verdict:
    if not clauses:
        return True, "no filter", "no filter"
    passes = "it passes the filter"
    if admitted:
        return True, passes, passes
    failed = ", ".join(dict.fromkeys(c.clause for c in clauses if c.decides))
    why = f"it fails {failed}" if failed else "the filter admits nothing"
    return False, why, why


class _Found:
    """What a trace says of each stage.

    Attributes:
        place: Among the candidates by value, from 1; where it would be, if it is none of them.
    """

    def __init__(
        self, engine: Engine, request: Request, trace: ItemTrace, item: int, k: int
    ) -> None:
        self._index = engine.snapshot.variables["index"]["items"]
        self._request, self._item, self._k = request, item, k
        self._trace: Any = trace
        self._cluster = int(trace.cluster[0])
        candidates = np.asarray(trace.candidates[0])
        self._count = int((candidates >= 0).sum())
        at = np.flatnonzero(candidates == item)
        self._at = int(at[0]) if len(at) else None
        values = np.asarray(trace.values[0])
        if self._at is not None:  # equal values keep the order of the search
            self.place = 1 + int(np.argsort(-values, kind="stable").tolist().index(self._at))
        else:
            self.place = 1 + int((values > trace.value[0]).sum())

    def indexed(self) -> _Verdict:
        if self._cluster < 0:
            why = "the catalogue names it, but the index does not hold it"
            return False, why, why
        why = f"cluster {self._cluster} of {self._index.clusters}"
        return True, why, why

    def excluded(self, named: bool) -> _Verdict:
        if self._item not in np.asarray(self._request.exclude[0]):  # type: ignore[index]
            return True, "not excluded", "not excluded"
        why = "named in exclude" if named else "the user has chosen it before"
        return False, why, why

    def probed(self) -> _Verdict:
        visited, rank = self._course()
        kept = self._at is not None or rank <= visited
        why = f"its cluster comes {_nth(rank)} in the order of visiting; {visited} were visited"
        why = why if rank else "its cluster holds nothing that passes"
        return kept and rank > 0, why, why

    def _course(self) -> tuple[int, int]:
        """Clusters visited, and the place of the item's own in the order of visiting, from 1.

        The pipeline says how many live items it searched; in the order of affinity only one
        number of clusters adds up to that.
        """
        affinity = self._trace.affinity[0]
        sizes = (np.asarray(self._index.rows) >= 0).sum(axis=1)
        # A query with a filter leaves out what was counted and holds nothing that passes.
        filtered = bool((np.asarray(self._request.plan.probe.program[0]) >= 0).any())  # type: ignore[union-attr]
        empty = filtered & (self._trace.admitted[0] == 0)
        open_ = (affinity > -np.inf) & ~empty
        order = np.argsort(-np.where(open_, affinity, -np.inf), kind="stable")[: open_.sum()]
        searched = int(self._trace.probed[0]) - int(sizes[empty].sum())
        visited = 1 + int(np.searchsorted(np.cumsum(sizes[order]), searched)) if searched else 0
        rank = np.flatnonzero(order == self._cluster)
        return min(visited, len(order)), 1 + int(rank[0]) if len(rank) else 0

    def searched(self) -> _Verdict:
        like, last = float(self._trace.similarity[0]), self._trace.similarities[0]
        if self._at is not None:
            why = f"similarity {like:.4g}: the {_nth(self._at + 1)} of {self._count} candidates"
            return True, why, why
        would = 1 + int((last[: self._count] > like).sum())
        return (
            False,
            f"similarity {like:.4g} is below the {last[self._count - 1]:.4g} of the last of "
            f"{self._count} candidates"
            if self._count
            else "there are no candidates",
            f"similarity {like:.4g} would be the {_nth(would)} beside {self._count} candidates",
        )

    def valued(self) -> _Verdict:
        value = f"value {float(self._trace.value[0]):.4g}"
        why = (
            f"{value}: the {_nth(self.place)} of {self._count} candidates, {self._k} are asked for"
        )
        return (
            self.place <= self._k,
            why,
            f"{value} would be the {_nth(self.place)} beside {self._count} candidates",
        )


def _shares(engine: Engine, request: Request, trace: ItemTrace) -> tuple[TaskShare, ...]:
    weights = request.weights
    columns = (trace.probabilities, weights.linear, weights.power)
    numbers = zip(*(np.asarray(column)[0].tolist() for column in columns))
    return tuple(
        TaskShare(task, probability, weight, probability * weight, power)
        for task, (probability, weight, power) in zip(engine.replies.tasks, numbers)
    )


def _nth(place: int) -> str:
    """`1st`, `2nd`, `11th`."""
    if place % 100 in (11, 12, 13):
        return f"{place}th"
    return f"{place}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(place % 10, 'th') }"
