"""The answer to one request of any number of rows, put together from the batches it was in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from serving.encoder import Rows
from serving.query import Reply
from serving.replies import Replies
from silverjax.retriever import Answer


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of a batch's answer."""

    answer: Answer
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Answered:
    """One request's answer.

    Attributes:
        rows: What was asked, encoded.
        parts: Where the rows are, in order.
        names: Of the snapshot that answered: ids, titles, tasks.
        queue_ms: From arrival until the first batch left.
        infer_ms: From there until the answer.
        batch: Compiled size of the batch, of the last one if the request was split.
    """

    rows: Rows
    parts: Sequence[Part]
    names: Replies
    queue_ms: float
    infer_ms: float
    batch: int

    @property
    def version(self) -> str:
        """Version of the snapshot that made all rows of the answer."""
        return self.names.version

    @functools.cached_property
    def arrays(self) -> Answer:
        """The answer as NumPy arrays [n, ...], for who wants no objects.

        Columns past a query's own `k` hold what it did not ask for; rows of -1 are no items.
        """

        def joined(*columns: np.ndarray) -> np.ndarray:
            taken = [c[part.start : part.stop] for c, part in zip(columns, self.parts)]
            return taken[0] if len(taken) == 1 else np.concatenate(taken)

        return jax.tree.map(joined, *(part.answer for part in self.parts))

    @functools.cached_property
    def replies(self) -> list[Reply]:
        """One reply a query, with items by name. Made when it is first asked for."""
        return self.names.of(self.arrays, self.rows.fields)
