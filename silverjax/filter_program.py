"""Filters as programs over the numbers of their terms: from text, with what it costs in mind.

A service compiles a filter for each request, within the time of a search. The filters that it is
sent are written by programs and differ in their names: `language:en AND NOT genre:horror` and
`language:de AND NOT genre:war` have one shape, which is parsed, simplified and ordered once.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from pallas_kernels.bloom_probe import api as kernel
from silverjax import filter_language as language

_SHAPES = 1_024  # that are kept; a program that writes filters has few
_LONGEST = 1_000  # characters of a filter that has a shape: what is kept is bounded

# A filter in negation normal form: a leaf, twice its term's number and 1 more where negated; or an
# operation and its parts; or what it is whatever the item.
Leaf = int
Normal = bool | Leaf | tuple[int, list[Any]]
# The same without constants, the registers it needs in front, its heaviest part first.
_Tree = Leaf | tuple[int, int, tuple[Any, ...]]


@dataclasses.dataclass(slots=True)
class Program:
    """A filter in postfix.

    Attributes:
        code: Places in `pushed`, and operations.
        pushed: Leaves: twice the number of a term, and 1 more where it is negated.
    """

    code: list[int]
    pushed: list[Leaf]

    @property
    def leaves(self) -> int:
        """Of the tree; one of L leaves has L - 1 operations."""
        return (len(self.code) + 1) // 2


class FilterReader:
    """Reads the filters of a batch, and numbers their terms.

    Args:
        features: That the index has.

    Attributes:
        terms: Number of each term, a feature and a value, that was read.
    """

    def __init__(self, features: tuple[str, ...]) -> None:
        self.terms: dict[tuple[str, str], int] = {}
        self._features = features

    def read(self, text: str) -> Program | Normal:
        """The program of its shape, or its normal form; `program` decides when all are read.

        Raises:
            FilterError: It is malformed, or names a feature that the index lacks.
        """
        filled = self._of_shape(text)
        return self.normal_form(text) if filled is None else filled

    def program(self, text: str, read: Program | Normal, known: Sequence[bool]) -> Program:
        """The program where terms that no item has are constants.

        Args:
            text: The filter.
            read: What `read` made of it.
            known: Of each leaf, whether some item has its term.

        Raises:
            FilterError: It alternates AND and OR too deeply.
        """
        if isinstance(read, Program):
            if all(known[leaf] for leaf in read.pushed):
                return read
            read = self.normal_form(text)
        return _program(text, _fold(read, known))

    def normal_form(self, text: str) -> Normal:
        """The filter with NOT at its terms alone.

        Raises:
            FilterError: It is malformed, or names a feature that the index lacks.
        """
        return self._normal(text, language.parse(text), False)

    def _of_shape(self, text: str) -> Program | None:
        if not isinstance(text, str) or len(text) > _LONGEST:
            return None  # and the language says what it wants
        parts = language.NAMES.split(text)
        shape = _shape(tuple(parts[::2]))
        if shape is None:
            return None
        numbers, terms = [], self.terms
        for feature, value in shape.terms:
            term = parts[feature], parts[value]
            number = terms.get(term)
            if number is None:
                if term[0] not in self._features:
                    return None
                number = terms[term] = len(terms)
            numbers.append(number)
        own: dict[int, int] = {}
        equal = tuple([own.setdefault(number, len(own)) for number in numbers])
        program = _program_of(shape, equal)
        if program is None:
            return None
        number_of = list(own)
        pushed = [2 * number_of[leaf >> 1] + (leaf & 1) for leaf in program.pushed]
        return Program(program.code, pushed)

    def _normal(self, text: str, expression: language.Expression, negated: bool) -> Normal:
        if isinstance(expression, language.Term):
            if expression.feature not in self._features:
                known = ", ".join(self._features) or "none"
                what = f"the index has no feature `{expression.feature}` (it has: {known})"
                raise language.syntax_error(text, expression.token, what)
            name = (expression.feature, expression.value)
            return 2 * self.terms.setdefault(name, len(self.terms)) + negated
        if isinstance(expression, language.Not):
            return self._normal(text, expression.part, not negated)
        if isinstance(expression, language.Everything):
            return not negated
        # De Morgan: a negated AND is an OR of negated parts.
        operation = kernel.AND if isinstance(expression, language.And) != negated else kernel.OR
        return operation, [self._normal(text, part, negated) for part in expression.parts]


def _fold(normal: Normal, known: Sequence[bool]) -> bool | _Tree:
    """Terms that no item has become constants, and those vanish; the heaviest part goes first."""
    if not isinstance(normal, tuple):
        # A term that no item has: nothing where asked for, all where negated.
        return normal if isinstance(normal, bool) or known[normal] else normal % 2 == 1
    operation, parts = normal
    decisive = operation == kernel.OR
    kept: dict[_Tree, None] = {}  # in order, each once
    for part in parts:
        folded = _fold(part, known)
        if folded is decisive:
            return decisive
        if not isinstance(folded, bool):
            kept[folded] = None
    if len(kept) < 2:
        return next(iter(kept), not decisive)
    heaviest_first = sorted(kept, key=_need, reverse=True)
    # Registers of a tree whose heaviest part goes first (Sethi and Ullman, 1970).
    need = max(_need(heaviest_first[0]), _need(heaviest_first[1]) + 1)
    return need, operation, tuple(heaviest_first)


def _need(tree: _Tree) -> int:
    return 1 if isinstance(tree, int) else tree[0]


def _program(text: str, tree: bool | _Tree) -> Program:
    if (need := _need(tree)) > kernel.STACK_DEPTH:
        raise language.FilterError(
            f"the filter {text[:60]!r} alternates AND and OR too deeply: it needs a stack of "
            f"{need}, the limit is {kernel.STACK_DEPTH}; flatten it"
        )
    if isinstance(tree, bool):
        return Program([] if tree else [0], [])  # a leaf that holds no term admits nothing
    program = Program([], [])
    _emit(tree, program)
    return program


def _emit(tree: _Tree, program: Program) -> None:
    if isinstance(tree, int):
        program.code.append(len(program.pushed))
        program.pushed.append(tree)
        return
    _, operation, parts = tree
    for place, part in enumerate(parts):
        _emit(part, program)
        if place:
            program.code.append(operation)


@dataclasses.dataclass(frozen=True, eq=False)
class _Shape:
    """What filters share that differ in their names.

    Attributes:
        normal: With terms numbered in their order.
        terms: Places of feature and value of each, in a text that was split at its names.
    """

    normal: Normal
    terms: list[tuple[int, int]]


@functools.lru_cache(_SHAPES)
def _shape(between: tuple[str, ...]) -> _Shape | None:
    """The shape of what stands between names; None where filters like it must be read in full.

    Those are wrong, to be told so by their own text, or hold a name that is not written plainly.
    """
    places = {f"_{place}": place for place in range(1, 2 * len(between) - 1, 2)}
    parts = itertools.zip_longest(between, places, fillvalue="")
    reader = FilterReader(tuple(places))
    try:
        normal = reader.normal_form("".join(itertools.chain.from_iterable(parts)))
        terms = [(places[feature], places[value]) for feature, value in reader.terms]
    except (language.FilterError, KeyError):
        return None
    return _Shape(normal, terms)


@functools.lru_cache(_SHAPES)
def _program_of(shape: _Shape, equal: tuple[int, ...]) -> Program | None:
    """The program of filters of a shape, given which of their terms are the same one.

    Args:
        equal: For each term of the shape, its number among those that differ.

    Returns:
        None where they are too deep.
    """
    renumbered = _renumbered(shape.normal, equal)
    try:
        return _program("", _fold(renumbered, [True] * 2 * len(equal)))
    except language.FilterError:
        return None


def _renumbered(normal: Normal, numbers: Sequence[int]) -> Normal:
    if isinstance(normal, bool):
        return normal
    if isinstance(normal, int):
        return 2 * numbers[normal // 2] + normal % 2
    operation, parts = normal
    return operation, [_renumbered(part, numbers) for part in parts]
