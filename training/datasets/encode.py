"""Readable values to arrays: vocabularies, multi-valued features, numbers.

Index 0 of every vocabulary is "unknown" (and the padding of a multi-valued feature), so a
value that was never seen, or is missing, is 0 without a special case.
"""

from __future__ import annotations

import collections
import dataclasses
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from silverjax.schema import Feature, FeatureKind


@dataclasses.dataclass(frozen=True)
class Encoded:
    """One encoded feature: its description, its array, and what each index stands for."""

    feature: Feature
    values: np.ndarray
    vocabulary: tuple[str, ...] = ()


def vocabulary(values: Iterable[str], *, min_count: int = 1) -> tuple[str, ...]:
    """Distinct values, most frequent first, ties in alphabetical order; entry 0 is "".

    Args:
        values: All occurrences; empty strings are missing values and do not count.
        min_count: Values seen less often are left out, and so become unknown.
    """
    counts = collections.Counter(values)
    counts.pop("", None)
    kept = [value for value, count in counts.items() if count >= min_count]
    return ("", *sorted(kept, key=lambda value: (-counts[value], value)))


def categorical(name: str, values: Sequence[str], *, min_count: int = 1) -> Encoded:
    """Encodes one value per row ("" = missing) as int32 [n].

    >>> encoded = categorical("colour", ["red", "blue", "", "red"])
    >>> encoded.values.tolist(), encoded.vocabulary
    ([1, 2, 0, 1], ('', 'red', 'blue'))
    """
    known = vocabulary(values, min_count=min_count)
    index = {value: i for i, value in enumerate(known)}
    codes = np.fromiter((index.get(value, 0) for value in values), np.int32, len(values))
    return Encoded(Feature(name, FeatureKind.CATEGORICAL, size=len(known)), codes, known)


def multi(
    name: str,
    values: Sequence[Sequence[str]],
    *,
    min_count: int = 1,
    max_width: int | None = None,
) -> Encoded:
    """Encodes several values per row as int32 [n, width], each row sorted, 0 at the end.

    Rows with more than `max_width` values keep the most frequent ones: those are the ones
    whose embeddings can be learned.

    >>> multi("genre", [["war", "drama"], ["drama"], []]).values.tolist()
    [[1, 2], [1, 0], [0, 0]]
    """
    known = vocabulary((value for row in values for value in row), min_count=min_count)
    index = {value: i for i, value in enumerate(known)}
    rows = [sorted({index[v] for v in row if index.get(v, 0)}) for row in values]
    width = max(1, max(map(len, rows), default=1))
    if max_width is not None:
        width = min(width, max_width)
    codes = np.zeros((len(rows), width), np.int32)
    for i, row in enumerate(rows):
        # The vocabulary is in order of frequency, so the lowest indices are the commonest.
        codes[i, : min(len(row), width)] = row[:width]
    feature = Feature(name, FeatureKind.MULTI, size=len(known), width=width)
    return Encoded(feature, codes, known)


def numeric(name: str, values: np.ndarray | Sequence[float]) -> Encoded:
    """Standardises numbers to mean 0 and deviation 1 as float32 [n]; nan becomes 0, the mean."""
    raw = np.asarray(values, np.float64)
    known = np.isfinite(raw)
    if known.any():
        mean, deviation = raw[known].mean(), raw[known].std()
        raw = (raw - mean) / (deviation if deviation > 0 else 1.0)
    coded = np.where(known, raw, 0.0).astype(np.float32)
    return Encoded(Feature(name, FeatureKind.NUMERIC), coded)


def slug(text: str) -> str:
    """A value as one types it in a filter: lower-case letters, digits, `_`, `-`, `.`.

    Accents are dropped where the letter remains, apostrophes vanish, and everything else
    becomes one underscore.

    >>> [slug(t) for t in ("Sci-Fi", "Children's", "Quentin Tarantino", "PG-13", "León (Cut)")]
    ['sci-fi', 'childrens', 'quentin_tarantino', 'pg-13', 'leon_cut']
    """
    # Twice: some signs, such as the one for C/kg, fall apart into letters that have a case.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = []
    for char in plain:
        if char in "'’`" or unicodedata.combining(char):
            continue
        kept.append(char if char.isalnum() or char in "-." else " ")
    return "_".join("".join(kept).split())
