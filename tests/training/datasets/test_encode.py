from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from silverjax.schema import FeatureKind
from training.datasets import encode


def test_categorical_decodes_to_what_was_encoded() -> None:
    values = ["b", "a", "", "b", "c"]
    coded = encode.categorical("x", values)
    assert [coded.vocabulary[code] for code in coded.values] == values
    assert coded.feature.size == 4
    assert coded.values.dtype == np.int32


def test_rare_values_become_unknown() -> None:
    coded = encode.categorical("x", ["b", "a", "b"], min_count=2)
    assert coded.vocabulary == ("", "b")
    assert coded.values.tolist() == [1, 0, 1]


def test_multi_keeps_the_most_frequent_values_of_a_wide_row() -> None:
    rows = [["rare", "often", "common"], ["often", "common"], ["often"]]
    coded = encode.multi("x", rows, max_width=2)
    assert coded.feature.width == 2
    assert [coded.vocabulary[c] for c in coded.values[0]] == ["often", "common"]
    assert coded.values[2].tolist() == [1, 0]


def test_multi_without_any_value_has_width_one() -> None:
    coded = encode.multi("x", [[], []])
    assert coded.values.tolist() == [[0], [0]]
    assert (coded.feature.kind, coded.feature.size) == (FeatureKind.MULTI, 1)


def test_numeric_standardises_and_puts_the_mean_for_missing() -> None:
    coded = encode.numeric("x", [1.0, 3.0, np.nan])
    assert coded.values.tolist() == [-1.0, 1.0, 0.0]
    assert encode.numeric("x", [5.0, 5.0]).values.tolist() == [0.0, 0.0]
    assert encode.numeric("x", [np.nan]).values.tolist() == [0.0]


@given(st.text())
def test_slug_can_be_typed_bare_in_a_filter(text: str) -> None:
    value = encode.slug(text)
    assert all(char.isalnum() or char in "_-." for char in value)
    assert encode.slug(value) == value


def test_slug_keeps_known_spellings() -> None:
    spellings = {"Film-Noir": "film-noir", "Almodóvar": "almodovar", "100% Pure": "100_pure"}
    assert {text: encode.slug(text) for text in spellings} == spellings
    assert re.fullmatch(r"[a-z0-9_.-]+", encode.slug("Fräulein Smilla's Gespür, 3.5"))
