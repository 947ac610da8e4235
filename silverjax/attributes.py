"""Filter attributes as term lists: what every item is, in numbers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt32

from silverjax.filter_plan import digest

Value = str | int
Attributes = Mapping[str, Sequence[Value | Sequence[Value] | None]]

_NO_VALUE = type(None)
_SEVERAL = list | tuple | set | frozenset | np.ndarray


@dataclasses.dataclass(frozen=True)
class TermLists:
    """The terms of every item.

    Attributes:
        digests: Sorted 128-bit names; a term's id is its position.
        rows: Catalogue row of each (row, term) pair; pairs ascend and occur once.
        terms: Term id of each pair.
    """

    digests: UInt32[np.ndarray, "vocabulary 4"]
    rows: Int[np.ndarray, "pairs"]
    terms: Int[np.ndarray, "pairs"]

    def frequencies(self) -> Int[np.ndarray, "vocabulary"]:
        return np.bincount(self.terms, minlength=len(self.digests))


def term_lists(attributes: Attributes, items: int) -> TermLists:
    """Numbers the terms of all features.

    Args:
        attributes: For each feature one entry per item: a value, a list of values, or `None`.
            Values are strings or integers; 5 and "5" are the same value.
        items: Length that every feature must have.

    Raises:
        ValueError: A feature has another length, or an empty name.
        TypeError: A value is neither a string nor an integer.
    """
    names: list[bytes] = []
    rows: list[np.ndarray] = []
    terms: list[np.ndarray] = []
    for feature, values in attributes.items():
        if not isinstance(feature, str) or not feature:
            raise ValueError(f"a feature's name is a non-empty string, not {feature!r}")
        if isinstance(values, str) or len(values) != items:
            raise ValueError(
                f"attribute {feature!r} has {len(values)} entries for {items} items; "
                "give one entry per item (None or [] where it has no value)"
            )
        counts, flat = _flatten(values)
        term, names_here = _number(feature, flat)
        rows.append(np.repeat(np.arange(items), counts))
        terms.append(term + len(names))
        names += names_here
    return _sorted(names, rows, terms)


def _flatten(values: Iterable[object]) -> tuple[np.ndarray, list[object]]:
    """Values per item, and all values end to end."""
    entries: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    kinds = set(map(type, entries))
    if not any(issubclass(kind, _NO_VALUE | _SEVERAL) for kind in kinds):
        return np.ones(len(entries), np.int64), entries
    if not all(issubclass(kind, list | tuple) for kind in kinds):
        entries = [_values_of(entry) for entry in entries]
    counts = np.fromiter(map(len, entries), np.int64, len(entries))
    return counts, list(itertools.chain.from_iterable(entries))


def _values_of(entry: object) -> Collection[object]:
    if isinstance(entry, _NO_VALUE):
        return ()
    if isinstance(entry, _SEVERAL):
        return entry.tolist() if isinstance(entry, np.ndarray) else entry
    return (entry,)


def _number(feature: str, flat: list[object]) -> tuple[np.ndarray, list[bytes]]:
    """A number for each value, and the digest of each number."""
    try:
        # Python is paid per distinct value; a dict numbers mixed objects faster than sorting does.
        place = dict(zip(dict.fromkeys(flat), itertools.count(), strict=False))
    except TypeError as error:
        raise TypeError(
            f"attribute {feature!r}: give strings or integers, one or a list per item ({error})"
        ) from error
    named: dict[str, int] = {}
    of_value = [named.setdefault(_name(feature, value), len(named)) for value in place]
    digests = [digest(feature, name) for name in named]
    numbers = np.fromiter(map(place.__getitem__, flat), np.int64, len(flat))
    return np.asarray(of_value, np.int64)[numbers], digests


def _name(feature: str, value: object) -> str:
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | int | np.integer):
        raise TypeError(
            f"attribute {feature!r} holds {value!r} ({type(value).__name__}); values are strings "
            "or integers, so write for example str(value), or None for no value"
        )
    return str(value)


def _sorted(names: list[bytes], rows: list[np.ndarray], terms: list[np.ndarray]) -> TermLists:
    """Renumbers terms by digest, and sorts the pairs."""
    digests = np.array(names, dtype="S16")
    ascending, rank = np.unique(digests, return_inverse=True)
    if len(ascending) < len(digests):
        raise ValueError("two terms share a 128-bit digest; rename one of them")
    words = np.ascontiguousarray(ascending).view(np.uint32).reshape(-1, 4)
    if not rows:
        return TermLists(words, np.zeros(0, np.int64), np.zeros(0, np.int64))
    size = max(len(ascending), 1)
    pairs = np.concatenate(rows)
    pairs *= size
    pairs += rank[np.concatenate(terms)]
    pairs.sort()
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    row = pairs // size
    return TermLists(words, row, pairs - row * size)
