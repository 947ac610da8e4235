"""Term lists against sets of names, one item at a time."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silverjax import attributes
from silverjax.filter_plan import digest

# Sets and arrays are taken too, though the tests' own type checker would not have them.
term_lists = inspect.unwrap(attributes.term_lists)

values = st.one_of(st.integers(0, 9), st.sampled_from(["a", "b", "", "5", "7"]))
several = st.lists(values, max_size=4)
entries = st.one_of(
    values,
    st.none(),
    several,
    several.map(tuple),
    several.map(frozenset),
    several.map(lambda some: np.asarray(some, object)),
)
# Columns of one kind are read another way than those of several kinds.
columns = st.one_of(
    *(st.lists(kind, min_size=6, max_size=6) for kind in (entries, values, several))
)


@given(columns, columns)
def test_pairs_are_those_of_the_items(first: list[Any], second: list[Any]) -> None:
    lists = term_lists({"f": first, "g": second}, 6)
    expected = set()
    for feature, column in (("f", first), ("g", second)):
        for row, entry in enumerate(column):
            held = [] if entry is None else [entry] if isinstance(entry, str | int) else entry
            expected |= {(row, digest(feature, str(value))) for value in held}
    names = [words.tobytes() for words in lists.digests]
    assert names == sorted({name for _, name in expected})
    pairs = list(zip(lists.rows.tolist(), (names[term] for term in lists.terms), strict=True))
    assert pairs == sorted(expected)


@pytest.mark.parametrize("entry", [True, 1.5, [1, 2.5], b"a", [["a"]], {"a": 1}])
def test_other_values_are_refused(entry: Any) -> None:
    with pytest.raises(TypeError, match="attribute 'f'.* strings or integers"):
        term_lists({"f": ["x", entry]}, 2)
