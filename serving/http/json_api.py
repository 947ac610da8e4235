"""The JSON API for people: what is asked and given, as schemas that decode, encode and document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from serving.answered import Answered
from serving.query import Query

ROW_FIELDS = ("user", "where", "weights", "exclude", "exclude_seen", "k")

_Weights = Annotated[
    str | dict[str, float],
    msgspec.Meta(
        description="Value of each task: {'liked': 1, 'disliked': -0.5}, or as text "
        "'liked=1,disliked=-0.5' or 'watched^0.5'; empty is the first task."
    ),
]


Timeout = Annotated[
    Annotated[float, msgspec.Meta(gt=0)] | None,
    msgspec.Meta(description="Milliseconds until the answer must be there."),
]
_Priority = Annotated[int, msgspec.Meta(description="Higher goes first; 0 is usual.")]


class Row(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One query."""

    user: Annotated[
        str | None,
        msgspec.Meta(description="Id of a user; null, or an id nobody has, is a cold start."),
    ] = None
    where: Annotated[
        str,
        msgspec.Meta(description="Filter: language:en AND NOT genre:horror; empty admits all."),
    ] = ""
    weights: _Weights = ""
    exclude: Annotated[list[str], msgspec.Meta(description="Ids of items not to return.")] = []
    exclude_seen: Annotated[
        bool, msgspec.Meta(description="Leave out what the user has already chosen.")
    ] = True
    k: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(description="Items wanted; null is the server's default."),
    ] = None


class RecommendRequest(Row, frozen=True):
    """One query, and how long and how urgently it may wait."""

    timeout_ms: Timeout = None
    priority: _Priority = 0


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Several queries, answered together by one version of the snapshot."""

    requests: Annotated[list[Row], msgspec.Meta(min_length=1)]
    timeout_ms: Timeout = None
    priority: _Priority = 0


class Item(msgspec.Struct, frozen=True, gc=False):
    """One recommended item, and what each stage made of it."""

    item: str
    title: str
    value: Annotated[float, msgspec.Meta(description="From the Value Model; best first.")]
    probabilities: Annotated[dict[str, float], msgspec.Meta(description="By task.")]
    similarity: Annotated[float, msgspec.Meta(description="User times item, in the search.")]
    place: Annotated[int, msgspec.Meta(description="Place among the search's candidates.")]


class Recommendations(msgspec.Struct, frozen=True):
    """The answer to one query."""

    items: list[Item]
    cold_start: Annotated[bool, msgspec.Meta(description="Nothing was known of the user.")]
    coverage: Annotated[float, msgspec.Meta(description="Share of the live items searched.")]
    funnel: Annotated[dict[str, int], msgspec.Meta(description="Items left after each stage.")]
    snapshot_version: str


class BatchRecommendations(msgspec.Struct, frozen=True):
    """The answers to several queries, in their order."""

    results: list[Recommendations]
    snapshot_version: str


class Error(msgspec.Struct, frozen=True):
    """What is wrong, and how to put it right."""

    error: str


_one = msgspec.json.Decoder(RecommendRequest)
_many = msgspec.json.Decoder(BatchRequest)


def decode(body: bytes) -> RecommendRequest | BatchRequest:
    """Reads either form of a request.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: It is neither.
    """
    try:
        return _one.decode(body)
    except msgspec.ValidationError:
        if b'"requests"' in body:
            return _many.decode(body)
        raise


def queries_of(request: RecommendRequest | BatchRequest, default_k: int) -> list[Query]:
    """One query a row."""
    rows: Sequence[Row] = [request] if isinstance(request, Row) else request.requests
    return [query_of(row, default_k) for row in rows]


def query_of(row: Row, default_k: int) -> Query:
    """One row as the service takes it."""
    return Query(
        user=row.user,
        where=row.where,
        weights=row.weights if isinstance(row.weights, str) else weights_text(row.weights),
        exclude=row.exclude,
        exclude_seen=row.exclude_seen,
        k=default_k if row.k is None else row.k,
        allow_unknown=True,
    )


def weights_text(weights: Mapping[str, float]) -> str:
    """`liked=1.0,disliked=-0.5`, the form that queries carry.

    Raises:
        ValueError: A name that this form cannot hold; no task has such a name.
    """
    for name in weights:
        if not name.strip() or set(name) & set(",=^"):
            raise ValueError(f"unknown task {name[:60]!r} in weights")
    return ",".join(f"{name}={number!r}" for name, number in weights.items())


def encode(answered: Answered, *, batch: bool) -> bytes:
    """The body of an answer; for one query its only row, for a batch all of them."""
    rows = rows_of(answered)
    value: Any = rows[0] if not batch else BatchRecommendations(rows, answered.version)
    return _encoder.encode(value)


def rows_of(answered: Answered) -> list[Recommendations]:
    """One answer a query, straight from the arrays."""
    answer, names = answered.arrays, answered.names
    columns = zip(
        *(
            np.asarray(column).tolist()
            for column in (
                answer.rows,
                answer.scores,
                answer.probabilities,
                answer.similarity,
                answer.place,
                answer.coverage,
            )
        ),
        answered.rows.fields["k"].tolist(),
        (answered.rows.fields["user"] < 0).tolist(),
        zip(*(np.asarray(count).tolist() for count in answer.funnel)),
    )
    ids, titles, tasks, stages = names.item_ids, names.titles, names.tasks, answer.funnel._fields
    made = []
    for *found, coverage, k, cold, left in columns:
        items = [
            Item(ids[row], titles[row], value, dict(zip(tasks, chances)), like, 1 + place)
            for row, value, chances, like, place, _ in zip(*found, range(k))
            if row >= 0
        ]
        # The program returns as many as any query may ask for.
        funnel = dict(zip(stages, left), returned=len(items))
        made.append(Recommendations(items, cold, coverage, funnel, names.version))
    return made


_encoder = msgspec.json.Encoder()
