"""The grammar, and errors that point at the character."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silverjax.filter_language import (
    And,
    Everything,
    Expression,
    FilterError,
    Not,
    Or,
    Term,
    parse,
)

A, B, C = Term("f", "a"), Term("f", "b"), Term("g", "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Everything()),
        ("  \n ", Everything()),
        ("f:a", A),
        ("f : a", A),
        ('"f":"a"', A),
        ("f:a AND f:b", And((A, B))),
        ("f:a and f:b & g:c", And((A, B, C))),
        ("f:a OR f:b AND g:c", Or((A, And((B, C))))),
        ("(f:a OR f:b) AND g:c", And((Or((A, B)), C))),
        ("NOT f:a AND f:b", And((Not(A), B))),
        ("!f:a|f:b", Or((Not(A), B))),
        ("not not f:a", A),
        ("NOT (f:a OR f:b)", Not(Or((A, B)))),
        ("f IN (a, b)", Or((A, B))),
        ("f in (a)", A),
        ("f NOT IN (a, b)", Not(Or((A, B)))),
        ("NOT f IN (a, b)", Not(Or((A, B)))),
        ("creator:5", Term("creator", "5")),
        ("mpaa:pg-13", Term("mpaa", "pg-13")),
        ("v:1.5_x", Term("v", "1.5_x")),
        ("state:or OR state:in", Or((Term("state", "or"), Term("state", "in")))),
        ("state IN (or, and, not)", Or(tuple(Term("state", v) for v in ("or", "and", "not")))),
        ("not:a AND and:b", And((Term("not", "a"), Term("and", "b")))),
        (r'name:"say \"hi\" \\ bye"', Term("name", r'say "hi" \ bye')),
        ('name:"a:b (c), d & e"', Term("name", "a:b (c), d & e")),
        ('name:""', Term("name", "")),
        ("title:größe", Term("title", "größe")),
    ],
)
def test_parse_gives_the_tree(text: str, expected: Expression) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("f:a AND", "expected a feature.*found the end", 8),
        ("AND f:a", "expected `:` or IN after `AND`", 5),
        ("f:a f:b", "expected AND, OR or the end, found `f`", 5),
        ("(f:a", r"expected `\)` to close the bracket", 5),
        ("f:a)", "expected AND, OR or the end", 4),
        ("f:", "expected a value for `f`", 3),
        ("f", "expected `:` or IN after `f`", 2),
        (":a", "expected a feature", 1),
        ('f:"abc', "never closed", 3),
        ("f:a$b", "unexpected '\\$'", 4),
        ("f IN a", r"expected `\(` after IN", 6),
        ("f IN ()", "expected a value for `f`", 7),
        ("f IN (a b)", r"expected `\)` or `,`", 9),
        ("f IN (a,", "expected a value", 9),
        ("NOT", "expected a feature", 4),
        ("f:a & | g:c", "expected a feature", 7),
    ],
)
def test_malformed_filter_points_at_the_character(text: str, message: str, column: int) -> None:
    with pytest.raises(FilterError, match=message) as caught:
        parse(text)
    headline, shown, caret = str(caught.value).splitlines()
    assert headline.endswith(f"at character {column}:")
    assert shown.strip() == text.strip()
    assert caret.index("^") - 2 == column - 1


def test_deep_brackets_are_refused_not_a_crash() -> None:
    with pytest.raises(FilterError, match="nest deeper than 50"):
        parse("(" * 10_000 + "f:a" + ")" * 10_000)
    assert parse("!" * 10_001 + "f:a") == Not(A)


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="a filter is a string, not int"):
        inspect.unwrap(parse)(5)  # without the tests' own type checker


@given(st.text())
def test_any_text_parses_or_is_refused_clearly(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        assert "at character" in str(error)
