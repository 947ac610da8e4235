"""A filter's verdict on one item, and the terms that decide it, against brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.clauses import clauses_of
from silverjax.filter_language import Term, parse
from tests.silverjax import oracle

ITEM = {"genre": ["drama", "war"], "language": ["en"], "note": []}


@pytest.mark.parametrize(
    ("where", "admits", "deciding"),
    [
        ("", True, []),
        ("genre:war", True, []),
        ("genre:comedy", False, ["genre:comedy"]),
        ("language:en AND NOT genre:war", False, ["NOT genre:war"]),
        ("genre IN (comedy, horror)", False, ["genre:comedy", "genre:horror"]),
        ("NOT (genre:war OR language:fr)", False, ["NOT genre:war"]),
        ("NOT (genre:war AND language:fr)", True, []),
        ('note:"a \\"b\\"" AND genre:war', False, ['note:"a \\"b\\""']),
    ],
)
def test_names_the_terms_that_keep_an_item_out(
    where: str, admits: bool, deciding: list[str]
) -> None:
    admitted, clauses = clauses_of(where, ITEM)
    assert admitted is admits
    assert [clause.clause for clause in clauses if clause.decides] == deciding
    assert all(not clause.holds for clause in clauses if clause.decides)


def test_says_what_the_item_has() -> None:
    _, (clause,) = clauses_of("NOT genre:war", ITEM)
    assert (clause.holds, clause.item_has) == (False, ("drama", "war"))


_terms = st.builds(Term, st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3"]))
_items = st.fixed_dictionaries({f: st.lists(st.sampled_from(["1", "2", "3"])) for f in "ab"})


@given(oracle.expressions(_terms), _items)
def test_agrees_with_brute_force(expression: object, item: dict[str, list[str]]) -> None:
    text = oracle.to_text(expression)  # type: ignore[arg-type]
    sets = {feature: set(values) for feature, values in item.items()}
    admits, clauses = clauses_of(text, item)
    assert admits == oracle.admits(parse(text), sets)
    # What is written as a clause is itself a filter, and says the same of the item.
    for clause in clauses:
        assert clause.holds == oracle.admits(parse(clause.clause), sets)
    assert any(clause.decides for clause in clauses) == (not admits)
