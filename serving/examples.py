"""What can be asked of a snapshot, by example: tasks, filter features and values, users, items."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

from serving.engine import Engine

_LOOKED_AT = 1_000  # items; on the event loop, about a millisecond
_VALUES, _NAMES = 12, 8


@dataclasses.dataclass(frozen=True)
class Examples:
    """What people and pages suggest.

    Attributes:
        snapshot_version: That they are of.
        items: Number of items.
        users: Number of users.
        largest_k: Items that one request may ask for.
        tasks: Names that weights may have.
        features: Filter features; of each the most frequent values of the first items.
        some_users: Ids.
        some_items: Titles by id.
    """

    snapshot_version: str
    items: int
    users: int
    largest_k: int
    tasks: tuple[str, ...]
    features: dict[str, list[str]]
    some_users: list[str]
    some_items: dict[str, str]


def examples_of(engine: Engine) -> Examples:
    """Reads a bounded part of the catalogue."""
    catalogue = engine.snapshot.catalogue
    counts = {
        feature: Counter(itertools.chain.from_iterable(values[:_LOOKED_AT]))
        for feature, values in catalogue.attributes.items()
    }
    return Examples(
        snapshot_version=engine.version,
        items=len(catalogue.item_ids),
        users=len(catalogue.user_ids),
        largest_k=engine.sizes.k,
        tasks=tuple(engine.replies.tasks),
        features={
            feature: [str(value) for value, _ in counted.most_common(_VALUES)]
            for feature, counted in counts.items()
        },
        some_users=list(catalogue.user_ids[:_NAMES]),
        some_items=dict(zip(catalogue.item_ids[:_NAMES], catalogue.titles[:_NAMES])),
    )
