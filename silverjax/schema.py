"""What the model knows about its users, its items and its tasks.

A schema is plain data: it travels as JSON inside every snapshot, so that a server can
check a request against the very features the model was trained on.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any


class FeatureKind(enum.StrEnum):
    """How one feature is stored and embedded."""

    CATEGORICAL = "categorical"  # int32 [n]; 0 is "unknown"
    MULTI = "multi"  # int32 [n, width]; 0 is padding
    NUMERIC = "numeric"  # float32 [n]; standardised by the loader


@dataclasses.dataclass(frozen=True)
class Feature:
    """One typed feature of a user or an item.

    Attributes:
        name: Name, as filters and requests spell it.
        kind: Storage and embedding.
        size: Entries of the vocabulary, the unknown/padding entry 0 included; 0 for numeric.
        width: Most values that one row may hold (`multi` only).
    """

    name: str
    kind: FeatureKind
    size: int = 0
    width: int = 1


@dataclasses.dataclass(frozen=True)
class Schema:
    """Features and tasks of one data set.

    Attributes:
        users: Rows of the user id table.
        items: Rows of the item id table.
        user_features: Profile features, without the id.
        item_features: Content features, without the id.
        tasks: Names of the tasks in the order of their logits; the first one is engagement
            ("the user chose this item"), for which everything not chosen is a negative. The
            others are labels given to chosen items.
    """

    users: int
    items: int
    user_features: tuple[Feature, ...]
    item_features: tuple[Feature, ...]
    tasks: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        raw: Mapping[str, Any] = json.loads(text)

        def features(key: str) -> tuple[Feature, ...]:
            return tuple(
                Feature(f["name"], FeatureKind(f["kind"]), f["size"], f["width"]) for f in raw[key]
            )

        return cls(
            users=raw["users"],
            items=raw["items"],
            user_features=features("user_features"),
            item_features=features("item_features"),
            tasks=tuple(raw["tasks"]),
        )
