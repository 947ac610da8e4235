"""Stage 1, the host's half: queries in the caller's words to rows of arrays, and those to a batch.

Encoding is what can fail, so it is done for each request before it queues; putting rows together
cannot fail. Python is paid per distinct text, not per row: a filter is compiled, and a set of
weights parsed, when it is first met, and kept as a row of a table. A batch is then a few NumPy
copies, which is why a row costs microseconds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from pallas_kernels.bloom_probe.api import Plan
from serving.query import Query
from silverjax.catalogue import Ragged
from silverjax.filter_plan import FilterPlan, compile_filters
from silverjax.item_index import ItemIndex
from silverjax.retriever import Request
from silverjax.snapshot import Snapshot
from silverjax.value_model import ValueWeights, make_weights, parse_weights

LEAVES = 32  # terms of one filter
DISTINCT = 4_096  # filters, and sets of weights, that are kept


@dataclasses.dataclass(frozen=True)
class Rows:
    """Encoded queries, one a row.

    Attributes:
        fields: Structured array [n]: user row, `k`, value weights, filter plan, `exclude_seen`.
        named: For the few rows that name items to exclude: the row, and the catalogue rows.
    """

    fields: np.ndarray
    named: dict[int, list[int]]

    def __len__(self) -> int:
        return len(self.fields)


class Encoder:
    """Knows one snapshot's ids, features and tasks.

    Args:
        snapshot: Where ids, tasks and the filters' vocabulary come from.
        largest_k: Most items that one query may ask for.
        excluded: Most items that one query may exclude, those already seen among them.
    """

    def __init__(self, snapshot: Snapshot, *, largest_k: int, excluded: int) -> None:
        self._catalogue = snapshot.catalogue
        self._largest_k, self._excluded = largest_k, excluded
        self._seen = Ragged.of(snapshot.catalogue.seen)
        # Functions of arrays, not methods: a table that knew its encoder would be a cycle, and keep
        # a replaced snapshot in memory until the garbage collector comes.
        filters = functools.partial(_compiled, snapshot.variables["index"]["items"])
        self._filters = _Table(filters, "", DISTINCT)
        self._weights = _Table(functools.partial(_parsed, snapshot.schema.tasks), "", DISTINCT)
        self._dtype = np.dtype(
            [
                ("user", np.int32),
                ("k", np.int32),
                ("exclude_seen", np.bool_),
                ("weights", self._weights.rows.dtype),
                ("filter", self._filters.rows.dtype),
            ]
        )
        # Asks for nothing that is kept, and so is what a batch is padded with.
        self._nothing = self.encode([Query(k=1, exclude_seen=False)]).fields[0]

    def encode(self, queries: Sequence[Query]) -> Rows:
        """Checks queries and looks up what they name.

        Raises:
            ValueError: A filter, weight or size that cannot be used.
            KeyError: A user or item that the snapshot does not have.
        """
        for query in queries:
            if not 1 <= query.k <= self._largest_k:
                raise ValueError(f"k={query.k} must be from 1 to {self._largest_k}")
        fields = np.empty(len(queries), self._dtype)
        fields["user"] = [self._user_row(query) for query in queries]
        fields["k"] = [query.k for query in queries]
        fields["exclude_seen"] = [query.exclude_seen for query in queries]
        fields["weights"] = self._weights([query.weights for query in queries])
        fields["filter"] = self._filters([query.where for query in queries])
        named = {at: self._named(query) for at, query in enumerate(queries) if query.exclude}
        return Rows(fields, named)

    def assemble(self, pieces: Sequence[tuple[Rows, int, int]], size: int) -> Request:
        """One padded batch of rows `start` to `stop` of several requests."""
        named: dict[int, list[int]] = {}
        parts: list[bytes] = []  # joining bytes costs a tenth of assigning structured rows
        end = 0
        for rows, start, stop in pieces:
            parts.append(rows.fields[start:stop].tobytes())
            for at, items in rows.named.items():
                if start <= at < stop:
                    named[end + at - start] = items
            end += stop - start
        parts.append((size - end) * self._nothing.tobytes())
        fields = np.frombuffer(b"".join(parts), self._dtype)
        plan: Any = fields["filter"]  # NumPy, until the program takes it
        weights: Any = fields["weights"]
        probe = Plan(rows=plan["rows"], modes=plan["modes"], program=plan["program"])
        request: dict[str, Any] = {
            "users": self._catalogue.users_at(fields["user"]),
            "weights": ValueWeights(linear=weights["linear"], power=weights["power"]),
            "plan": FilterPlan(probe, plan["terms"], plan["negated"], plan["exact"]),
            "exclude": self._exclusions(fields["user"], fields["exclude_seen"], named),
        }
        return Request(**request)

    def _user_row(self, query: Query) -> int:
        if query.user is None:
            return -1
        return self._catalogue.user_row(query.user, unknown=-1 if query.allow_unknown else None)

    def _named(self, query: Query) -> list[int]:
        if len(query.exclude) > self._excluded:
            raise ValueError(
                f"{len(query.exclude)} items to exclude exceed the limit of {self._excluded}"
            )
        return [self._catalogue.item_row(item) for item in query.exclude]

    def _exclusions(
        self, users: np.ndarray, exclude_seen: np.ndarray, named: dict[int, list[int]]
    ) -> np.ndarray:
        """Catalogue rows not to return, int32 [n, excluded], -1 past the last."""
        out = np.full((len(users), self._excluded), -1, np.int32)
        room = np.full(len(users), self._excluded)
        for at, items in named.items():
            out[at, : len(items)] = items
            room[at] -= len(items)
        seen, begins = self._seen.flat, self._seen.at
        if not len(seen):
            return out
        user = np.maximum(users, 0)
        stop = begins[user + 1]
        count = np.where(exclude_seen & (users >= 0), stop - begins[user], 0)
        # The most recent ones, if a user has seen more than there is room for.
        count = np.minimum(count, room)
        row = np.repeat(np.arange(len(users)), count)
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        column = (self._excluded - room)[row] + place
        out[row, column] = seen[(stop - count)[row] + place]
        return out


class _Table:
    """Rows computed from texts, each once; emptied when full.

    Rows are copied out at every look-up, so that emptying harms nobody.
    """

    def __init__(self, compute: Callable[[list[str]], np.ndarray], first: str, room: int) -> None:
        self._compute, self._room = compute, room
        self._places = {first: 0}
        self.rows = compute([first])

    def __call__(self, texts: list[str]) -> np.ndarray:
        try:
            return self.rows[[self._places[text] for text in texts]]
        except KeyError:
            self._learn(dict.fromkeys(texts))
        return self.rows[[self._places[text] for text in texts]]

    def _learn(self, texts: Iterable[str]) -> None:
        new = [text for text in texts if text not in self._places]
        places, rows = self._places, self.rows
        if len(places) + len(new) > self._room:
            new, places, rows = list(texts), {}, rows[:0]
        computed, used = self._compute(new), len(places)
        if used + len(new) > len(rows):
            spare = np.empty(max(len(new), used), computed.dtype)
            rows = np.concatenate([rows[:used], spare])
        rows[used : used + len(new)] = computed
        self._places = places | {text: used + at for at, text in enumerate(new)}
        self.rows = rows


def _compiled(index: ItemIndex, texts: list[str]) -> np.ndarray:
    plan = compile_filters(index, texts, max_leaves=LEAVES)
    return _records(
        {
            "rows": plan.probe.rows,
            "modes": plan.probe.modes,
            "program": plan.probe.program,
            "terms": plan.terms,
            "negated": plan.negated,
            "exact": plan.exact,
        }
    )


def _parsed(tasks: Sequence[str], texts: list[str]) -> np.ndarray:
    first = make_weights({tasks[0]: 1.0}, tasks)
    parsed = [parse_weights(text, tasks) if text else first for text in texts]
    weights = jax.tree.map(lambda *rows: np.concatenate(rows), *parsed)
    return _records({"linear": weights.linear, "power": weights.power})


def _records(columns: dict[str, Any]) -> np.ndarray:
    """One structured array of columns of equal length."""
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    dtype = np.dtype([(name, a.dtype, a.shape[1:]) for name, a in arrays.items()])
    records = np.empty(len(next(iter(arrays.values()))), dtype)
    for name, array in arrays.items():
        records[name] = array
    return records
