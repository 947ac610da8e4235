"""The filter language: text to syntax tree.

    filter  = or | nothing
    or      = and { ("OR" | "|") and }
    and     = not { ("AND" | "&") not }
    not     = { "NOT" | "!" } atom
    atom    = "(" or ")" | feature ":" value | feature ["NOT"] "IN" "(" value { "," value } ")"

Keywords in either case. Features and values are letters, digits, `_`, `-`, `.`; anything else
goes in double quotes, with `\\"` and `\\\\` inside them. The empty filter admits every item.
A superset of the grammar of SilverTorch's Bloom index (arXiv 2511.14881, open-source library).
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import NoReturn

_DEEPEST = 50  # nested brackets and NOTs; keeps the recursion far from Python's own limit
# A service compiles a filter per request, so tokens are plain strings, and where they stand in the
# text is found out only for an error.
_TOKENS = re.compile(r'[\w.\-]+|[()&|!:,]|"(?:[^"\\]|\\.)*"|\S', re.DOTALL)
# The tokens of letters that are no keywords; a keyword too many or too few here does no harm, as
# what is cut at names is parsed like any text.
NAMES = re.compile(r"(?<![\w.\-])(?!(?i:AND|OR|NOT|IN)(?![\w.\-]))([\w.\-]+)")
_ORDINARY = re.compile(r"[\w.\-()&|!:,\s]*")  # without quotes, and without what is refused
_END = ""
_NO_NAMES = frozenset([_END, *"()&|!:,"])


def _spellings(keyword: str) -> frozenset[str]:
    return frozenset(map("".join, itertools.product(*zip(keyword, keyword.lower(), strict=True))))


_OR, _AND, _NOT = ({"|"} | _spellings("OR"), {"&"} | _spellings("AND"), _spellings("NOT"))


class FilterError(ValueError):
    """A filter that cannot be used; the message shows where."""


# Without `frozen`, whose constructors take three times as long.
@dataclasses.dataclass(slots=True)
class Everything:
    """Admits every item."""


@dataclasses.dataclass(slots=True)
class Term:
    """The items whose `feature` holds `value`; `token` is its place among those of the text."""

    feature: str
    value: str
    token: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(slots=True)
class Not:
    part: Expression


@dataclasses.dataclass(slots=True)
class And:
    parts: tuple[Expression, ...]


@dataclasses.dataclass(slots=True)
class Or:
    parts: tuple[Expression, ...]


Expression = Everything | Term | Not | And | Or


def parse(text: str) -> Expression:
    """Parses one filter.

    >>> parse('language:en AND NOT genre:horror')
    And(parts=(Term(feature='language', value='en', token=0), Not(part=Term(feature='genre', \
value='horror', token=5))))

    Raises:
        FilterError: `text` is not in the language; the message points at the character.
        TypeError: `text` is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f"a filter is a string, not {type(text).__name__} ({text!r})")
    return _Parser(text).filter()


def syntax_error(text: str, token: int, what: str) -> FilterError:
    """An error that shows `text` with a caret under its token of this number."""
    places = [match.start() for match in _TOKENS.finditer(text)]
    return _error_at(text, places[token] if token < len(places) else len(text), what)


def _error_at(text: str, at: int, what: str) -> FilterError:
    # A window keeps the caret in sight in a long filter; control characters would move it.
    start = max(0, at - 40)
    window = re.sub(r"\s", " ", text[start : at + 40])
    return FilterError(f"{what}, at character {at + 1}:\n  {window}\n  {' ' * (at - start)}^")


def _refuse_strange(text: str) -> None:
    """Raises FilterError where a character is in no token, before anything else is said."""
    for match in _TOKENS.finditer(text):
        token = match.group()
        if token == '"':
            what = 'this double quote is never closed; add a `"` at its end'
        elif len(token) == 1 and not _ORDINARY.fullmatch(token):
            what = f"unexpected {token!r}; put values that hold it in double quotes"
        else:
            continue
        raise _error_at(text, match.start(), what)


class _Parser:
    def __init__(self, text: str) -> None:
        if not _ORDINARY.fullmatch(text):
            _refuse_strange(text)
        self._text = text
        self._tokens = [*_TOKENS.findall(text), _END]
        self._next = 0
        self._depth = 0

    def _fail(self, what: str) -> NoReturn:
        raise syntax_error(self._text, self._next, what)

    def _expect(self, mark: str, where: str) -> None:
        if self._tokens[self._next] != mark:
            self._fail(f"expected `{mark}` {where}, found {self._found()}")
        self._next += 1

    def _found(self) -> str:
        token = self._tokens[self._next]
        return "the end" if token == _END else f"`{token}`"

    def filter(self) -> Expression:
        if self._tokens[0] == _END:
            return Everything()
        expression = self._or()
        if self._tokens[self._next] != _END:
            self._fail(f"expected AND, OR or the end, found {self._found()}")
        return expression

    def _or(self) -> Expression:
        first = self._and()
        if self._tokens[self._next] not in _OR:
            return first
        parts = [first]
        while self._tokens[self._next] in _OR:
            self._next += 1
            parts.append(self._and())
        return Or(tuple(parts))

    def _and(self) -> Expression:
        first = self._not()
        if self._tokens[self._next] not in _AND:
            return first
        parts = [first]
        while self._tokens[self._next] in _AND:
            self._next += 1
            parts.append(self._not())
        return And(tuple(parts))

    def _not(self) -> Expression:
        negated = False
        tokens = self._tokens
        while (token := tokens[self._next]) == "!" or (
            token in _NOT and tokens[self._next + 1] != ":"
        ):
            self._next += 1
            negated = not negated
        atom = self._atom()
        return Not(atom) if negated else atom

    def _atom(self) -> Expression:
        first = self._next
        if self._tokens[first] == "(":
            return self._bracket()
        feature = self._name("a feature, as in `language:en`")
        if self._tokens[self._next] == ":":
            self._next += 1
            return Term(feature, self._name("a value for `{}`", feature), first)
        negated = self._tokens[self._next] in _NOT
        if negated:
            self._next += 1
        if self._tokens[self._next].upper() != "IN":
            self._fail(f"expected `:` or IN after `{feature}`")
        self._next += 1
        values = self._values(feature, first)
        return Not(values) if negated else values

    def _bracket(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"brackets nest deeper than {_DEEPEST}; flatten them")
        self._next += 1
        inside = self._or()
        self._expect(")", "to close the bracket")
        self._depth -= 1
        return inside

    def _values(self, feature: str, first: int) -> Expression:
        self._expect("(", "after IN")
        terms: list[Expression] = []
        while True:
            terms.append(Term(feature, self._name("a value for `{}`", feature), first))
            if self._tokens[self._next] != ",":
                break
            self._next += 1
        self._expect(")", "or `,` in the list of values")
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _name(self, wanted: str, feature: str = "") -> str:
        token: str = self._tokens[self._next]
        if token in _NO_NAMES:
            self._fail(f"expected {wanted.format(feature)}, found {self._found()}")
        self._next += 1
        if token[0] == '"':
            return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
        return token
