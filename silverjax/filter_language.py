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
import re
from typing import NamedTuple, NoReturn

_DEEPEST = 50  # nested brackets and NOTs; keeps the recursion far from Python's own limit
_TOKENS = re.compile(
    r"""(?P<space>\s+) | (?P<quoted>"(?:[^"\\]|\\.)*")
    | (?P<mark>[()&|!:,]) | (?P<word>[\w.\-]+)""",
    re.VERBOSE | re.DOTALL,
)


class FilterError(ValueError):
    """A filter that cannot be used; the message shows where."""


@dataclasses.dataclass(frozen=True)
class Everything:
    """Admits every item."""


@dataclasses.dataclass(frozen=True)
class Term:
    """The items whose `feature` holds `value`; `at` is its place in the text."""

    feature: str
    value: str
    at: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(frozen=True)
class Not:
    part: Expression


@dataclasses.dataclass(frozen=True)
class And:
    parts: tuple[Expression, ...]


@dataclasses.dataclass(frozen=True)
class Or:
    parts: tuple[Expression, ...]


Expression = Everything | Term | Not | And | Or


class _Token(NamedTuple):
    kind: str  # "mark", "word", "quoted" or "end"
    text: str
    at: int

    def is_mark(self, *marks: str) -> bool:
        return self.kind == "mark" and self.text in marks

    def is_keyword(self, keyword: str) -> bool:
        return self.kind == "word" and self.text.upper() == keyword


def parse(text: str) -> Expression:
    """Parses one filter.

    >>> parse('language:en AND NOT genre:horror')
    And(parts=(Term(feature='language', value='en', at=0), Not(part=Term(feature='genre', \
value='horror', at=20))))

    Raises:
        FilterError: `text` is not in the language; the message points at the character.
        TypeError: `text` is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f"a filter is a string, not {type(text).__name__} ({text!r})")
    return _Parser(text).filter()


def syntax_error(text: str, at: int, what: str) -> FilterError:
    """An error that shows `text` with a caret under character `at`."""
    # A window keeps the caret in sight in a long filter; control characters would move it.
    start = max(0, at - 40)
    window = re.sub(r"\s", " ", text[start : at + 40])
    return FilterError(f"{what}, at character {at + 1}:\n  {window}\n  {' ' * (at - start)}^")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0

    def _split(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self._text):
            match = _TOKENS.match(self._text, at)
            if match is None:
                if self._text[at] == '"':
                    self._fail(at, 'this double quote is never closed; add a `"` at its end')
                self._fail(
                    at, f"unexpected {self._text[at]!r}; put values that hold it in double quotes"
                )
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match.group(), at))
            at = match.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _fail(self, at: int, what: str) -> NoReturn:
        raise syntax_error(self._text, at, what)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _expect(self, mark: str, where: str) -> None:
        if not self._token.is_mark(mark):
            self._fail(self._token.at, f"expected `{mark}` {where}, found {self._found()}")
        self._next += 1

    def _found(self) -> str:
        return "the end" if self._token.kind == "end" else f"`{self._token.text}`"

    def filter(self) -> Expression:
        if self._token.kind == "end":
            return Everything()
        expression = self._or()
        if self._token.kind != "end":
            self._fail(self._token.at, f"expected AND, OR or the end, found {self._found()}")
        return expression

    def _or(self) -> Expression:
        parts = [self._and()]
        while self._token.is_mark("|") or self._token.is_keyword("OR"):
            self._next += 1
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Expression:
        parts = [self._not()]
        while self._token.is_mark("&") or self._token.is_keyword("AND"):
            self._next += 1
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self) -> Expression:
        negated = False
        while self._token.is_mark("!") or (
            self._token.is_keyword("NOT") and not self._tokens[self._next + 1].is_mark(":")
        ):
            self._next += 1
            negated = not negated
        atom = self._atom()
        return Not(atom) if negated else atom

    def _atom(self) -> Expression:
        if self._token.is_mark("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                self._fail(self._token.at, f"brackets nest deeper than {_DEEPEST}; flatten them")
            self._next += 1
            inside = self._or()
            self._expect(")", "to close the bracket")
            self._depth -= 1
            return inside
        feature = self._name("a feature, as in `language:en`")
        if self._token.is_mark(":"):
            self._next += 1
            return Term(feature.text, self._name(f"a value for `{feature.text}`").text, feature.at)
        negated = self._token.is_keyword("NOT")
        if negated:
            self._next += 1
        if not self._token.is_keyword("IN"):
            self._fail(self._token.at, f"expected `:` or IN after `{feature.text}`")
        self._next += 1
        values = self._values(feature)
        return Not(values) if negated else values

    def _values(self, feature: _Token) -> Expression:
        self._expect("(", "after IN")
        terms: list[Expression] = []
        while True:
            value = self._name(f"a value for `{feature.text}`")
            terms.append(Term(feature.text, value.text, feature.at))
            if not self._token.is_mark(","):
                break
            self._next += 1
        self._expect(")", "or `,` in the list of values")
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _name(self, wanted: str) -> _Token:
        token = self._token
        if token.kind not in ("word", "quoted"):
            self._fail(token.at, f"expected {wanted}, found {self._found()}")
        self._next += 1
        if token.kind == "quoted":
            text = re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
            return _Token("quoted", text, token.at)
        return token
