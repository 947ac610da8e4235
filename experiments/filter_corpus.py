"""Documents with the attributes of a catalogue, and boolean queries over them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Term = tuple[str, Any]  # feature and value
Attributes = dict[str, list[Any]]

_CATEGORIES, _CREATORS = 1_000, 100_000


@dataclasses.dataclass(frozen=True)
class Condition:
    """A filter in a form that any index can evaluate.

    Attributes:
        all_of: Groups; a document needs a term of every group.
        none_of: Terms that it must not have.
    """

    all_of: tuple[tuple[Term, ...], ...]
    none_of: tuple[Term, ...] = ()

    @property
    def text(self) -> str:
        """The same in the filter language."""
        groups = ["(" + " OR ".join(map(_text, group)) + ")" for group in self.all_of]
        return " AND ".join([*groups, *(f"NOT {_text(term)}" for term in self.none_of)])


def attributes_of(items: int, rng: np.random.Generator) -> Attributes:
    """Language of 40 and country of 200, skewed; 1 to 5 categories, skewed; creator, uniform."""

    def skewed(values: int, size: int) -> np.ndarray:
        return np.minimum(rng.zipf(1.3, size) - 1, values - 1)

    sizes = rng.integers(1, 6, items)
    categories = np.split(skewed(_CATEGORIES, int(sizes.sum())), np.cumsum(sizes)[:-1])
    return {
        "language": [f"l{v}" for v in skewed(40, items)],
        "country": [f"c{v}" for v in skewed(200, items)],
        "category": [np.unique(each).tolist() for each in categories],
        "creator": rng.integers(0, _CREATORS, items).tolist(),
    }


def conditions(attributes: Attributes, count: int, rng: np.random.Generator) -> list[Condition]:
    """Queries of three kinds in turn, with the terms of documents drawn at random.

    A language and a country without a category; a language and one of three categories; one of
    three creators or a country, without a language.
    """

    def draw(feature: str) -> Term:
        value = attributes[feature][int(rng.integers(len(attributes[feature])))]
        return feature, value[0] if isinstance(value, list) else value

    def several(feature: str) -> tuple[Term, ...]:
        return tuple(dict.fromkeys(draw(feature) for _ in range(3)))

    kinds = (
        lambda: Condition(((draw("language"),), (draw("country"),)), (draw("category"),)),
        lambda: Condition(((draw("language"),), several("category"))),
        lambda: Condition(((*several("creator"), draw("country")),), (draw("language"),)),
    )
    return [kinds[number % 3]() for number in range(count)]


def _text(term: Term) -> str:
    return f"{term[0]}:{term[1]}"
