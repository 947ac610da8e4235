"""Filters as arrays: programs and what the index knows of their terms, in plans of one shape."""

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
from silverjax.filter_program import FilterReader, Program
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
    reader = FilterReader(index.features)
    read = [reader.read(text) for text in filters]
    leaves = _look_up(index, reader.terms)
    programs = [
        reader.program(text, one, leaves.known) for text, one in zip(filters, read, strict=True)
    ]
    longest = max((one.leaves for one in programs), default=0)
    room = doubled_to_fit(_FEWEST_LEAVES, longest) if max_leaves is None else max_leaves
    for text, one in zip(filters, programs, strict=True):
        if one.leaves > room:
            raise language.FilterError(
                f"the filter {text[:60]!r} has {one.leaves} terms, over {max_leaves=}; "
                "shorten it or raise max_leaves (one recompile)"
            )
    return _stack(programs, leaves, room)


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


def _stack(programs: Sequence[Program], leaves: _Leaves, room: int) -> FilterPlan:
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
