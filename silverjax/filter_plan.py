"""Filters as arrays: syntax trees to fixed-shape plans that never recompile."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.struct
import numpy as np
from jaxtyping import Bool, Int

from pallas_kernels.bloom_probe import api as kernel
from silverjax import filter_language as language
from silverjax.bloom_filter import bloom_rows
from silverjax.index_config import doubled_to_fit
from silverjax.item_index import ItemIndex

_FEWEST_LEAVES = 32


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
    vocabulary = _Vocabulary(index)
    compiled = [_compile(text, vocabulary) for text in filters]
    longest = max((len(one.leaves) for one in compiled), default=0)
    room = doubled_to_fit(_FEWEST_LEAVES, longest) if max_leaves is None else max_leaves
    for text, one in zip(filters, compiled, strict=True):
        if len(one.leaves) > room:
            raise language.FilterError(
                f"the filter {text[:60]!r} has {len(one.leaves)} terms, over {max_leaves=}; "
                "shorten it or raise max_leaves (one recompile)"
            )
    return _stack(compiled, room, index)


class _Leaf(NamedTuple):
    term: int  # -1: a constant
    negated: bool
    mode: int
    column: int  # its bit row; 0: those of the signature, or none for a constant
    exact: bool = True  # the words alone decide it


@dataclasses.dataclass
class _Program:
    leaves: list[_Leaf] = dataclasses.field(default_factory=list)
    code: list[int] = dataclasses.field(default_factory=list)


class _Vocabulary:
    """Host-side view of the index's terms: no copy, and no state that outlives a call."""

    def __init__(self, index: ItemIndex) -> None:
        self.features = index.features
        self._digests = np.asarray(index.vocabulary).view("S16")[:, 0]
        self._size = int(index.vocabulary_size)
        self._columns = np.asarray(index.column_of_term)
        self._known: dict[tuple[str, str, bool], _Leaf | None] = {}

    def leaf(self, term: language.Term, negated: bool) -> _Leaf | None:
        """The leaf of a term; `None` where no item has it."""
        key = (term.feature, term.value, negated)
        if key not in self._known:  # requests of one batch share the popular terms
            self._known[key] = self._found(term, negated)
        return self._known[key]

    def _found(self, term: language.Term, negated: bool) -> _Leaf | None:
        name = np.frombuffer(digest(term.feature, term.value), dtype="S16")[0]
        at = int(np.searchsorted(self._digests[: self._size], name))
        if at == self._size or self._digests[at] != name:
            return None
        if column := int(self._columns[at]):
            return _Leaf(at, negated, kernel.COMPLEMENT if negated else kernel.ROWS, column)
        return _Leaf(at, negated, kernel.ONES if negated else kernel.ROWS, 0, exact=False)


def _compile(text: str, vocabulary: _Vocabulary) -> _Program:
    tree = _resolve(language.parse(text), False, text, vocabulary)
    program = _Program()
    if tree is False:
        tree = _Leaf(-1, False, kernel.ZEROS, 0)
    if tree is not True:
        if _stack_need(tree) > kernel.STACK_DEPTH:
            raise language.FilterError(
                f"the filter {text[:60]!r} alternates AND and OR too deeply: it needs a stack of "
                f"{_stack_need(tree)}, the limit is {kernel.STACK_DEPTH}; flatten it"
            )
        _emit(tree, program)
    return program


@dataclasses.dataclass(frozen=True)
class _Node:
    operation: int  # kernel.AND or kernel.OR
    parts: tuple[_Tree, ...]


_Tree = _Leaf | _Node


def _resolve(
    expression: language.Expression, negated: bool, text: str, vocabulary: _Vocabulary
) -> _Tree | bool:
    """Pushes NOT down to the terms, looks the terms up and folds constants."""
    match expression:
        case language.Everything():
            return not negated
        case language.Not(part):
            return _resolve(part, not negated, text, vocabulary)
        case language.Term(feature, _, at):
            if feature not in vocabulary.features:
                known = ", ".join(vocabulary.features) or "none"
                raise language.syntax_error(
                    text, at, f"the index has no feature `{feature}` (it has: {known})"
                )
            leaf = vocabulary.leaf(expression, negated)
            return negated if leaf is None else leaf
        case language.And(parts) | language.Or(parts):
            # De Morgan: a negated AND is an OR of negated parts.
            is_and = isinstance(expression, language.And) != negated
            resolved = [_resolve(part, negated, text, vocabulary) for part in parts]
            if (not is_and) in resolved:
                return not is_and
            kept = tuple(dict.fromkeys(p for p in resolved if not isinstance(p, bool)))
            if not kept:
                return is_and
            return kept[0] if len(kept) == 1 else _Node(kernel.AND if is_and else kernel.OR, kept)
    raise AssertionError(expression)


def _stack_need(tree: _Tree) -> int:
    """Registers of a tree whose heaviest part goes first (Sethi and Ullman, 1970)."""
    if isinstance(tree, _Leaf):
        return 1
    needs = sorted((_stack_need(part) for part in tree.parts), reverse=True)
    return max(needs[0], needs[1] + 1)


def _emit(tree: _Tree, program: _Program) -> None:
    if isinstance(tree, _Leaf):
        program.code.append(len(program.leaves))
        program.leaves.append(tree)
        return
    for place, part in enumerate(sorted(tree.parts, key=_stack_need, reverse=True)):
        _emit(part, program)
        if place:
            program.code.append(tree.operation)


def _stack(programs: Sequence[_Program], leaves: int, index: ItemIndex) -> FilterPlan:
    batch, steps = len(programs), 2 * leaves  # a tree of L leaves has L - 1 operations
    columns = np.zeros((batch, leaves), np.int32)
    modes = np.full((batch, leaves), kernel.ZEROS, np.int32)
    code = np.full((batch, steps), kernel.NO_OP, np.int32)
    terms = np.full((batch, leaves), -1, np.int32)
    negated = np.zeros((batch, leaves), np.bool_)
    exact = np.ones(batch, np.bool_)
    for query, one in enumerate(programs):
        if not one.leaves:
            continue
        code[query, : len(one.code)] = one.code
        own = slice(0, len(one.leaves))
        terms[query, own], negated[query, own], modes[query, own], columns[query, own], decided = (
            zip(*one.leaves, strict=True)
        )
        exact[query] = all(decided)
    rows = np.repeat(columns[..., None], index.hashes, axis=2)
    signature = (terms >= 0) & (columns == 0)
    digests = np.asarray(index.vocabulary)[terms[signature]]
    rows[signature] = 1 + index.columns + bloom_rows(digests, index.bloom_bits, index.hashes)
    # NumPy arrays become the device's when a jitted function takes them, not one by one here.
    probe: Any = kernel.Plan(rows=rows, modes=modes, program=code)  # type: ignore[arg-type]
    return FilterPlan(probe, terms, negated, exact)
