"""Filters as arrays: syntax trees to fixed-shape plans that never recompile."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import flax.struct
import numpy as np
from jaxtyping import Bool, Int

from pallas_kernels.bloom_probe import api as kernel
from silverjax import filter_language as language
from silverjax.bloom_filter import bloom_rows
from silverjax.index_config import doubled_to_fit
from silverjax.item_index import ItemIndex

_FEWEST_LEAVES = 32
# How the bits of a term are read where it is asked for, and where it is negated.
_DECIDED = np.array([kernel.ROWS, kernel.COMPLEMENT], np.int32)
_MAYBE = np.array([kernel.ROWS, kernel.ONES], np.int32)


@flax.struct.dataclass
class FilterPlan:
    """One filter per query, as arrays of one shape.

    Attributes:
        probe: The boolean program over bit rows. It admits a superset: a negated term of the
            Bloom signature counts as "maybe", since a Bloom hit proves nothing.
        terms: Term id of each leaf, for the exact check; -1 where a leaf holds no term.
        negated: Whether the leaf is the complement of its term.
        exact: Whether the words alone decide the filter.
    """

    probe: kernel.Plan
    terms: Int[np.ndarray, "batch leaves"]
    negated: Bool[np.ndarray, "batch leaves"]
    exact: Bool[np.ndarray, "batch"]

    @property
    def batch(self) -> int:
        return int(self.terms.shape[0])


def digest(feature: str, value: str) -> bytes:
    """128-bit name of a term; the same on every machine and in every version."""
    return hashlib.blake2b(f"{feature}\0{value}".encode(), digest_size=16).digest()


def compile_filters(
    index: ItemIndex, filters: Sequence[str], *, max_leaves: int | None = None
) -> FilterPlan:
    """Compiles one filter per query; `""` admits every item.

    Args:
        index: The index to be searched; gives features, vocabulary and bit rows.
        filters: Filters in the language of `silverjax.filter_language`.
        max_leaves: Leaves (terms) there is room for per filter. `None` doubles 32 until the
            longest filter fits; a server that must not recompile gives a number.

    Returns:
        A plan for `len(filters)` queries. Plans of equal `max_leaves` have equal shapes.

    Raises:
        FilterError: A filter is malformed, names a feature the index lacks, or needs more
            than `max_leaves` leaves.
    """
    if isinstance(filters, str):
        raise TypeError(f"one filter per query is wanted: give [{filters!r}], a list")
    normal_forms = _NormalForms(index.features)
    normal = [normal_forms.of(text) for text in filters]
    leaves = _look_up(index, normal_forms.terms)
    trees = [_fold(one, leaves.known) for one in normal]
    programs = [_program(text, tree) for text, tree in zip(filters, trees, strict=True)]
    longest = max((one.leaves for one in programs), default=0)
    room = doubled_to_fit(_FEWEST_LEAVES, longest) if max_leaves is None else max_leaves
    for text, one in zip(filters, programs, strict=True):
        if one.leaves > room:
            raise language.FilterError(
                f"the filter {text[:60]!r} has {one.leaves} terms, over {max_leaves=}; "
                "shorten it or raise max_leaves (one recompile)"
            )
    return _stack(programs, leaves, room)


# A filter in negation normal form: a leaf, twice its term's number and 1 more where negated; or an
# operation and its parts; or what it is whatever the item. Plain integers and tuples, since a
# batch has a filter of its own for every query and is compiled within the time of a search.
_Leaf = int
_Normal = bool | _Leaf | tuple[int, list[Any]]
# The same without constants, the registers it needs in front, its heaviest part first.
_Tree = _Leaf | tuple[int, int, tuple[Any, ...]]


class _NormalForms:
    """Parses filters, pushes NOT down to the terms and numbers those."""

    def __init__(self, features: tuple[str, ...]) -> None:
        self.terms: dict[tuple[str, str], int] = {}
        self._features = features
        self._text = ""

    def of(self, text: str) -> _Normal:
        expression = language.parse(text)
        self._text = text
        return self._normal(expression, False)

    def _normal(self, expression: language.Expression, negated: bool) -> _Normal:
        if isinstance(expression, language.Term):
            if expression.feature not in self._features:
                known = ", ".join(self._features) or "none"
                what = f"the index has no feature `{expression.feature}` (it has: {known})"
                raise language.syntax_error(self._text, expression.token, what)
            name = (expression.feature, expression.value)
            return 2 * self.terms.setdefault(name, len(self.terms)) + negated
        if isinstance(expression, language.Not):
            return self._normal(expression.part, not negated)
        if isinstance(expression, language.Everything):
            return not negated
        # De Morgan: a negated AND is an OR of negated parts.
        operation = kernel.AND if isinstance(expression, language.And) != negated else kernel.OR
        return operation, [self._normal(part, negated) for part in expression.parts]


@dataclasses.dataclass(frozen=True)
class _Leaves:
    """What the index knows of each leaf (an integer as above); the last entry is an empty leaf.

    Attributes:
        known: Whether any item has the term.
        rows: Bit rows.
        modes: How they are read.
        exact: Whether they alone decide it.
        terms: Term ids.
    """

    known: list[bool]
    rows: Int[np.ndarray, "leaves hashes"]
    modes: Int[np.ndarray, "leaves"]
    exact: Bool[np.ndarray, "leaves"]
    terms: Int[np.ndarray, "leaves"]

    @classmethod
    def room_for(cls, terms: int, hashes: int) -> _Leaves:
        """All but the last entry is to be written."""
        count = 2 * terms + 1
        arrays = (np.empty((count, hashes), np.int32), np.empty(count, np.int32))
        made = cls([], *arrays, np.empty(count, np.bool_), np.empty(count, np.int32))
        made.rows[-1], made.modes[-1], made.exact[-1], made.terms[-1] = 0, kernel.ZEROS, True, -1
        return made


def _look_up(index: ItemIndex, terms: Collection[tuple[str, str]]) -> _Leaves:
    """All terms of a batch at once: NumPy is paid per call, not per term."""
    names = np.frombuffer(b"".join([digest(*term) for term in terms]), "S16")
    vocabulary = np.asarray(index.vocabulary)
    digests, size = vocabulary.view("S16")[:, 0], int(np.asarray(index.vocabulary_size))
    found = np.minimum(digests[:size].searchsorted(names), max(size - 1, 0))
    known = (digests[found] == names) & (size > 0)
    columns = np.asarray(index.column_of_term)[found][:, None]
    exact = columns > 0
    own = columns
    if not exact.all():
        bits = bloom_rows(vocabulary[found], index.bloom_bits, index.hashes)
        own = np.where(exact, columns, 1 + index.columns + bits)
    leaves = _Leaves.room_for(len(terms), index.hashes)
    # Each term twice: as it is, and negated.
    leaves.rows[:-1].reshape(-1, 2, index.hashes)[:] = own[:, None]
    leaves.modes[:-1].reshape(-1, 2)[:] = np.where(exact, _DECIDED, _MAYBE)
    leaves.exact[:-1].reshape(-1, 2)[:] = exact
    leaves.terms[:-1].reshape(-1, 2)[:] = found[:, None]
    leaves.known.extend(known.repeat(2).tolist())
    return leaves


def _fold(normal: _Normal, known: Sequence[bool]) -> bool | _Tree:
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


@dataclasses.dataclass(slots=True)
class _Program:
    code: list[int]
    pushed: list[_Leaf]  # what `code` calls 0, 1, ...

    @property
    def leaves(self) -> int:
        return (len(self.code) + 1) // 2  # a tree of L leaves has L - 1 operations


def _program(text: str, tree: bool | _Tree) -> _Program:
    if (need := _need(tree)) > kernel.STACK_DEPTH:
        raise language.FilterError(
            f"the filter {text[:60]!r} alternates AND and OR too deeply: it needs a stack of "
            f"{need}, the limit is {kernel.STACK_DEPTH}; flatten it"
        )
    if isinstance(tree, bool):
        return _Program([] if tree else [0], [])  # a leaf that holds no term admits nothing
    program = _Program([], [])
    _emit(tree, program)
    return program


def _emit(tree: _Tree, program: _Program) -> None:
    if isinstance(tree, int):
        program.code.append(len(program.pushed))
        program.pushed.append(tree)
        return
    _, operation, parts = tree
    for place, part in enumerate(parts):
        _emit(part, program)
        if place:
            program.code.append(operation)


def _stack(programs: Sequence[_Program], leaves: _Leaves, room: int) -> FilterPlan:
    pushed = _padded([one.pushed for one in programs], room, len(leaves.rows) - 1)
    code = _padded([one.code for one in programs], 2 * room, kernel.NO_OP)
    # NumPy arrays become the device's when a jitted function takes them, not one by one here.
    rows: Any = leaves.rows.take(pushed, axis=0)
    modes: Any = leaves.modes.take(pushed)
    program: Any = code
    exact = np.logical_and.reduce(leaves.exact.take(pushed), axis=1)
    probe = kernel.Plan(rows=rows, modes=modes, program=program)
    return FilterPlan(probe, leaves.terms.take(pushed), pushed % 2 == 1, exact)


def _padded(lists: list[list[int]], width: int, fill: int) -> Int[np.ndarray, "batch width"]:
    padded = np.full((len(lists), width), fill, np.int32)
    lengths = np.asarray([len(one) for one in lists], np.int32)
    values = np.fromiter(itertools.chain.from_iterable(lists), np.int32)
    padded[np.arange(width) < lengths[:, None]] = values
    return padded
