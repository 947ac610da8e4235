"""Filters read by their shape against the same filters read in full."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silverjax import filter_program
from silverjax.filter_language import FilterError, Term
from silverjax.filter_program import FilterReader, Program
from tests.silverjax import oracle

FEATURES = ("tag", "a-b.c", "NOT", "_1")
terms = st.builds(Term, st.sampled_from(FEATURES), st.sampled_from(["1", "2", "x y", "AND", "_3"]))
# What a text is made of, and what looks like it: a slot's name, a dotless i whose capital is I.
PIECES = (
    *("tag", "_1", "_3", "x", "é", "ın", "INx", "a-b.c", '"x"', '"x y"', '"AND"', '"_3"', r'"\"x"'),
    *("AND", "or", "Not", "IN", "&", "|", "!", ":", ",", "(", ")", " ", "\t", '"', "\\", "@"),
    *("tag:1", "tag:2", "NOT:x", "tag IN (1, 2)", "tag:1 AND ", "tag:2 OR ", "(tag:1 OR x:"),
)


def said(text: str) -> tuple[Program, dict[tuple[str, str], int]] | str:
    """The program and the numbers of the terms, or what is wrong with the text."""
    reader = FilterReader(FEATURES)
    try:
        read = reader.read(text)
        program = reader.program(text, read, [True] * 2 * len(reader.terms))
    except FilterError as error:
        return str(error)
    return program, reader.terms


def said_in_full(text: str) -> tuple[Program, dict[tuple[str, str], int]] | str:
    with mock.patch.object(filter_program, "_shape", return_value=None):
        return said(text)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("tag:1 AND (tag:2 OR NOT tag:1)")
@example("tag IN (1, 2) OR NOT tag NOT IN (2, 3)")
@example('tag:"AND" OR "tag":1')
@example("NOT:1 AND NOT NOT:2")
@example("not tag:1")
@example("(" * 60 + "tag:1" + ")" * 60)
@example("_1:_3 AND _3:_1")
def test_any_text_means_the_same_or_fails_the_same(text: str) -> None:
    assert said(text) == said_in_full(text)


@given(oracle.expressions(terms))
def test_any_tree_is_the_same_program(tree: oracle.Expression) -> None:
    text = oracle.to_text(tree)
    assert said(text) == said_in_full(text)


def test_filters_that_differ_in_names_share_a_shape() -> None:
    filter_program._shape.cache_clear()
    reader = FilterReader(("language", "genre"))
    one = reader.read("language:en AND NOT genre IN (horror, war)")
    two = reader.read("genre:en  AND NOT genre IN (a, b)")  # another one, for its spaces
    three = reader.read("genre:en AND NOT genre IN (a, b)")
    assert isinstance(one, Program)
    assert isinstance(two, Program)
    assert isinstance(three, Program)
    assert filter_program._shape.cache_info().misses == 2
    assert one.code == two.code == three.code
    assert one.pushed != two.pushed == three.pushed


@pytest.mark.parametrize("text", ["", "tag:1", "tag:1 OR tag:2 OR tag:1"])
def test_plain_filters_need_not_be_read_in_full(text: str) -> None:
    assert isinstance(FilterReader(("tag",)).read(text), Program)


def test_a_long_filter_is_read_in_full_and_leaves_nothing_behind() -> None:
    text = " OR ".join(f"tag:{number}" for number in range(200))
    before = filter_program._shape.cache_info()
    assert not isinstance(FilterReader(("tag",)).read(text), Program)
    assert filter_program._shape.cache_info() == before
    assert said(text) == said_in_full(text)


def test_keeps_a_bounded_number_of_shapes() -> None:
    reader = FilterReader(("tag",))
    for number in range(1_200):
        reader.read(f"tag:{' ' * (number % 40)}1{' ' * (number // 40)}")
    assert filter_program._shape.cache_info().currsize <= 1_024
