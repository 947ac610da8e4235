"""What a caller asks and gets, in the caller's own words: ids, filters, task names, titles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Query:
    """One request.

    Attributes:
        user: External id; `None` is a user of whom nothing is known (cold start).
        where: Filter, such as `language:en AND NOT genre:horror`; empty admits every item.
        weights: Value of each task, such as `liked=1,disliked=-0.5`; empty is the first task.
        exclude: External ids of items not to return.
        exclude_seen: Do not return what the user has chosen before.
        k: Items wanted.
        allow_unknown: Serve an id that the snapshot does not have like `None`, instead of raising
            `KeyError`; `Reply.cold_start` says that it was done.
    """

    user: str | None = None
    where: str = ""
    weights: str = ""
    exclude: Sequence[str] = ()
    exclude_seen: bool = True
    k: int = 10
    allow_unknown: bool = False


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One item of an answer, and what each stage made of it.

    Attributes:
        row: Catalogue row.
        item: External id.
        title: Readable name.
        value: What the Value Model made of the probabilities.
        probabilities: By task, from the OverArch.
        similarity: Inner product of user and item, from the int8 search.
        place: Place among the candidates of that search, from 1.
    """

    row: int
    item: str
    title: str
    value: float
    probabilities: dict[str, float]
    similarity: float
    place: int


@dataclasses.dataclass(frozen=True)
class Reply:
    """The answer to one query.

    Attributes:
        items: Best first; fewer than `k` where the filter admits fewer.
        funnel: Items left after each stage.
        coverage: Share of the live items that were searched.
        snapshot: Version that made the answer.
        cold_start: Nothing was known of the user.
    """

    items: tuple[Recommendation, ...]
    funnel: dict[str, int]
    coverage: float
    snapshot: str
    cold_start: bool = False
