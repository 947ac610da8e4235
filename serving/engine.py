"""Stage 1 and the way back: queries to a padded batch, compiled ahead of time, to replies.

One program per batch size is compiled when the engine starts; a request never compiles. What is
wrong with a query is said before the batch is formed, so no query can harm another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from serving.query import Query, Recommendation, Reply
from silverjax.filter_plan import compile_filters
from silverjax.model import check_params
from silverjax.retriever import Answer, Request, Retriever
from silverjax.snapshot import Snapshot
from silverjax.value_model import ValueWeights, make_weights, parse_weights

BUCKETS = (1, 8, 64)
LEAVES = 32  # terms of one filter


class Engine:
    """Answers queries from one snapshot.

    Args:
        snapshot: From `load_snapshot`.
        buckets: Batch sizes to compile; a batch is padded to the next one.
        k: Most items a query may ask for; `None` takes the snapshot's own.
    """

    def __init__(
        self, snapshot: Snapshot, *, buckets: Sequence[int] = BUCKETS, k: int | None = None
    ) -> None:
        if not buckets or min(buckets) < 1:
            raise ValueError(f"{buckets=} must be batch sizes of at least 1")
        search = snapshot.config.search
        if k is not None:
            candidates = max(k, search.candidates)
            search = dataclasses.replace(search, k=k, candidates=candidates)
        index = snapshot.variables["index"]["items"]
        self.sizes = search.fitted(index.clusters, index.slots_per_cluster)
        if k is not None and k > self.sizes.k:
            raise ValueError(f"{k=} exceeds the {self.sizes.k} items that one search can return")
        config = dataclasses.replace(snapshot.config, search=self.sizes)
        self.snapshot = snapshot
        self.buckets = tuple(sorted(set(buckets)))
        self._index = index
        self.retriever = Retriever(snapshot.schema, config)
        catalogue = snapshot.catalogue
        params = snapshot.variables["params"]
        check_params(self.retriever, params, catalogue.users_at([-1]), catalogue.items)
        self._programs = {size: self._compiled(size) for size in self.buckets}

    def recommend(self, queries: Sequence[Query]) -> list[Reply]:
        """Answers any number of queries, in the largest batches there is a program for.

        Raises:
            ValueError: A filter, weight or size that cannot be used.
            KeyError: A user or item that the snapshot does not have.
        """
        replies: list[Reply] = []
        for start in range(0, len(queries), self.buckets[-1]):
            replies += self._answer(queries[start : start + self.buckets[-1]])
        return replies

    def request(self, queries: Sequence[Query], size: int) -> Request:
        """The padded batch of some queries; the padding asks for nothing that is kept."""
        padded = [*queries, *[Query(k=1)] * (size - len(queries))]
        for query in padded:
            if not 1 <= query.k <= self.sizes.k:
                raise ValueError(f"k={query.k} must be from 1 to {self.sizes.k}")
        catalogue = self.snapshot.catalogue
        rows = [-1 if q.user is None else catalogue.user_row(q.user) for q in padded]
        weights = [self._weights(query.weights) for query in padded]
        exclude = np.full((size, self.sizes.excluded), -1, np.int32)
        for at, (query, row) in enumerate(zip(padded, rows, strict=True)):
            seen = self._excluded(query, row)
            exclude[at, : len(seen)] = seen
        return Request(
            users=catalogue.users_at(rows),
            weights=jax.tree.map(lambda *parts: np.concatenate(parts), *weights),
            plan=compile_filters(self._index, [q.where for q in padded], max_leaves=LEAVES),
            exclude=exclude,  # type: ignore[arg-type]  # NumPy until the program takes it
        )

    def _weights(self, text: str) -> ValueWeights:
        tasks = self.snapshot.schema.tasks
        return parse_weights(text, tasks) if text else make_weights({tasks[0]: 1.0}, tasks)

    def _excluded(self, query: Query, row: int) -> list[int]:
        catalogue, room = self.snapshot.catalogue, self.sizes.excluded
        named = [catalogue.item_row(item) for item in query.exclude]
        if len(named) > room:
            raise ValueError(f"{len(named)} items to exclude exceed the limit of {room}")
        seen = catalogue.seen[row] if query.exclude_seen and 0 <= row < len(catalogue.seen) else []
        # The most recent ones, if a user has seen more than there is room for.
        return [*named, *seen[max(0, len(seen) - (room - len(named))) :]]

    def _compiled(self, size: int) -> Any:
        apply = jax.jit(self.retriever.apply)
        return apply.lower(self.snapshot.variables, self.request([], size)).compile()

    def _answer(self, queries: Sequence[Query]) -> list[Reply]:
        size = next(bucket for bucket in self.buckets if bucket >= len(queries))
        answer = self._programs[size](self.snapshot.variables, self.request(queries, size))
        host = jax.tree.map(np.asarray, answer)
        return [self._reply(query, at, host) for at, query in enumerate(queries)]

    def _reply(self, query: Query, at: int, answer: Answer) -> Reply:
        catalogue = self.snapshot.catalogue
        items = tuple(
            Recommendation(
                row=int(row),
                item=catalogue.item_ids[row],
                title=catalogue.titles[row],
                value=float(answer.scores[at, place]),
                probabilities=dict(
                    zip(self.snapshot.schema.tasks, answer.probabilities[at, place].tolist())
                ),
                similarity=float(answer.similarity[at, place]),
                place=1 + int(answer.place[at, place]),
            )
            for place, row in enumerate(np.asarray(answer.rows)[at, : query.k].tolist())
            if row >= 0
        )
        return Reply(
            items=items,
            funnel={name: int(count[at]) for name, count in answer.funnel._asdict().items()},
            coverage=float(answer.coverage[at]),
            snapshot=self.snapshot.version,
        )
