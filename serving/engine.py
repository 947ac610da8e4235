"""A snapshot's programs: one compiled ahead of time for each batch size, so no request compiles.

An engine never changes: it answers from one snapshot as long as it lives. A new version is a new
engine, which takes over the programs of the old one where model and shapes are the same.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from serving.encoder import Encoder, Rows
from serving.query import Query, Reply
from serving.replies import Replies
from serving.warm_up import WarmUp, warm_up
from silverjax.item_trace import ItemTrace, trace_item
from silverjax.model import check_params
from silverjax.retriever import Answer, Request, Retriever
from silverjax.snapshot import Snapshot
from silverjax.snapshot_errors import SnapshotError

BUCKETS = (1, 8, 64)

Piece = tuple[Rows, int, int]  # rows `start` to `stop` of an encoded request


class Engine:
    """Answers queries from one snapshot.

    Args:
        snapshot: From `load_snapshot`.
        buckets: Batch sizes to compile; a batch is padded to the next one.
        k: Most items a query may ask for; `None` takes the snapshot's own.
        like: An engine whose programs are taken over where they fit.
        traces: Also compile the program that follows one item through the stages.

    Attributes:
        version: Of the snapshot; every answer carries it.
        compiled: Programs that had to be compiled.
        programs: What they compute, hashed: model, sizes and shapes, but no values.
        traces: Items can be traced.

    Raises:
        SnapshotError: Its parameters are those of another model.
        ValueError: `buckets` or `k` is out of range.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        buckets: Sequence[int] = BUCKETS,
        k: int | None = None,
        like: Engine | None = None,
        traces: bool = False,
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
        self.version = snapshot.version
        self.buckets = tuple(sorted(set(buckets)))
        self.k = k
        self.retriever = Retriever(snapshot.schema, config)
        self.replies = Replies(snapshot)
        self._encoder = Encoder(snapshot, largest_k=self.sizes.k, excluded=self.sizes.excluded)
        # What a program is compiled for; any snapshot that agrees in all of it may run it.
        empty = self.request([], self.buckets[0])
        self._fits = (snapshot.schema, config, _shapes(snapshot.variables), _shapes(empty))
        known = like if like is not None and like._fits == self._fits else None
        if known is None:
            self._check_params()
        self._programs: dict[int, Any] = dict(known._programs) if known else {}
        missing = [size for size in self.buckets if size not in self._programs]
        self._programs |= {size: self._compile(size) for size in missing}
        self.compiled = len(missing)
        self.programs = hashlib.sha256(repr(self._fits).encode()).hexdigest()
        self.traces = traces
        self._trace: Any = known._trace if known and traces else None
        if traces and self._trace is None:
            self._trace = self._compile_trace()
            self.compiled += 1

    def recommend(self, queries: Sequence[Query]) -> list[Reply]:
        """Answers any number of queries, in the largest batches there is a program for.

        Raises:
            ValueError: A filter, weight or size that cannot be used.
            KeyError: A user or item that the snapshot does not have.
        """
        rows = self.encode(queries)
        replies: list[Reply] = []
        for start in range(0, len(rows), self.buckets[-1]):
            stop = min(start + self.buckets[-1], len(rows))
            answer = self.fetch(self.run([(rows, start, stop)]))
            replies += self.replies.of(answer, rows.fields[start:stop])
        return replies

    def encode(self, queries: Sequence[Query]) -> Rows:
        """Checks queries and looks up what they name; raises like `recommend`."""
        return self._encoder.encode(queries)

    def bucket_for(self, rows: int) -> int:
        """The size that a batch of so many rows is padded to."""
        return next(bucket for bucket in self.buckets if bucket >= rows)

    def run(self, pieces: Sequence[Piece]) -> Answer:
        """Starts one batch; the arrays of the answer may still be on their way.

        Args:
            pieces: At most `buckets[-1]` rows in all.
        """
        size = self.bucket_for(sum(stop - start for _, start, stop in pieces))
        return self._programs[size](self.snapshot.variables, self._encoder.assemble(pieces, size))

    def trace(self, request: Request, item: int) -> ItemTrace:
        """What the stages make of one item for a query; waits for the device.

        Args:
            request: A batch of one, from `assemble`.
            item: Catalogue row.

        Returns:
            NumPy arrays of one row.
        Raises:
            ValueError: The engine was made without `traces`.
        """
        if self._trace is None:
            raise ValueError("this engine traces no items; make it with traces=True")
        traced = self._trace(self.snapshot.variables, request, np.array([item], np.int32))
        return jax.tree.map(np.asarray, traced)

    @staticmethod
    def fetch(answer: Answer) -> Answer:
        """Waits for an answer and brings it to the host, as NumPy arrays."""
        return jax.tree.map(np.asarray, answer)

    def warm(self, sizes: Sequence[int] | None = None) -> None:
        """Runs programs on users of the snapshot, and looks at what comes back.

        Args:
            sizes: Of the programs to run; `None` runs all.

        Raises:
            SnapshotError: No items, or values that are not numbers.
        """
        for size in sizes or self.buckets:
            rows = self._usual(size)
            answer = self.fetch(self.run([(rows, 0, len(rows))]))
            # The search finds nothing near an embedding that is not a number.
            if not np.isfinite(answer.scores[: len(rows), 0]).all():
                raise SnapshotError(
                    f"version {self.version} cannot serve: some users get no item, or values that "
                    "are not numbers, although nothing is filtered or excluded. Look for NaN in "
                    "its parameters and for an empty index, and publish again."
                )
        if self.traces:
            self.trace(self.request([], 1), 0)
        catalogue = self.snapshot.catalogue
        catalogue.item_row(catalogue.item_ids[0])  # so that no request waits for the table of ids

    def measure(self) -> WarmUp:
        """How long a batch of each size takes; about a second."""
        usual = {size: self._usual(size) for size in self.buckets}

        def run(size: int) -> Answer:
            rows = usual[size]
            return self.fetch(self.run([(rows, 0, len(rows))]))

        return warm_up(run, self.buckets)

    def request(self, queries: Sequence[Query], size: int) -> Request:
        """The padded batch of some queries."""
        return self.assemble(self.encode(queries), size)

    def assemble(self, rows: Rows, size: int) -> Request:
        """The padded batch of encoded queries; may be called on any thread."""
        return self._encoder.assemble([(rows, 0, len(rows))], size)

    def _usual(self, size: int) -> Rows:
        """A full batch, as far as there are users for it."""
        users = self.snapshot.catalogue.user_ids[:size]
        return self.encode(
            [Query(user=user, exclude_seen=False, k=1) for user in users] or [Query(k=1)]
        )

    def _check_params(self) -> None:
        """Says what is wrong before a trace does; where programs fit, parameters do."""
        users, items = self.request([], 1).users, self.snapshot.catalogue.items
        try:
            check_params(self.retriever, self.snapshot.variables["params"], users, items)
        except ValueError as error:
            raise SnapshotError(f"{self.snapshot.path} cannot serve: {error}") from error

    def _compile(self, size: int) -> Any:
        # Shapes, not arrays: what JAX keeps of a lowering must not hold a snapshot.
        shapes = jax.tree.map(jax.typeof, (self.snapshot.variables, self.request([], size)))
        return jax.jit(self.retriever.apply).lower(*shapes).compile()

    def _compile_trace(self) -> Any:
        item = np.zeros(1, np.int32)
        shapes = jax.tree.map(jax.typeof, (self.snapshot.variables, self.request([], 1), item))
        traced = functools.partial(self.retriever.apply, method=trace_item)
        return jax.jit(traced).lower(*shapes).compile()


def _shapes(tree: Any) -> Any:
    """Structure, static fields, shapes and types; equal for arguments of one program."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
