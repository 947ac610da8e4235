"""The way back: rows and scores of an answer to items with their names."""

from __future__ import annotations

import numpy as np

from serving.query import Recommendation, Reply
from silverjax.retriever import Answer
from silverjax.snapshot import Snapshot


class Replies:
    """Names what a snapshot's answers say. Keeps the catalogue, not the model.

    Attributes:
        version: Of the snapshot.
        item_ids: External id of each catalogue row.
        titles: Readable name of each catalogue row.
        tasks: In the order of an answer's probabilities.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.version = snapshot.version
        self.item_ids = snapshot.catalogue.item_ids
        self.tasks = snapshot.schema.tasks
        self.titles = snapshot.catalogue.titles

    def of(self, answer: Answer, fields: np.ndarray) -> list[Reply]:
        """One reply a row.

        Args:
            answer: NumPy arrays; rows past the last one of `fields` are padding.
            fields: `Rows.fields` of what was asked.
        """
        coverage = np.asarray(answer.coverage).tolist()
        cold = (fields["user"] < 0).tolist()
        funnel = [np.asarray(counts).tolist() for counts in answer.funnel]
        return [
            Reply(
                items=self._items(answer, at, k),
                funnel={name: c[at] for name, c in zip(answer.funnel._fields, funnel)},
                coverage=coverage[at],
                snapshot=self.version,
                cold_start=cold[at],
            )
            for at, k in enumerate(fields["k"].tolist())
        ]

    def _items(self, answer: Answer, at: int, k: int) -> tuple[Recommendation, ...]:
        columns = (
            answer.rows,
            answer.scores,
            answer.probabilities,
            answer.similarity,
            answer.place,
        )
        places = zip(*(np.asarray(column)[at, :k].tolist() for column in columns))
        return tuple(
            Recommendation(
                row=row,
                item=self.item_ids[row],
                title=self.titles[row],
                value=value,
                probabilities=dict(zip(self.tasks, probabilities)),
                similarity=similarity,
                place=1 + place,
            )
            for row, value, probabilities, similarity, place in places
            if row >= 0
        )
