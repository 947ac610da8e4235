"""Filters by an inverted index of roaring bitmaps, as a filter service evaluates them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pyroaring import BitMap

from silverjax.filter_language import And, Everything, Expression, Not, Or, Term, parse


class InvertedIndex:
    """Which items have each term.

    Args:
        columns: By feature, int32 [n] or [n, several]; -1 is no value.
    """

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        self._items = len(next(iter(columns.values())))
        self._all = BitMap(range(self._items))
        self._lists: dict[tuple[str, str], BitMap] = {}
        for feature, column in columns.items():
            flat = column.reshape(-1)
            rows = np.repeat(np.arange(self._items), flat.size // self._items)
            order = np.argsort(flat, kind="stable")
            values, starts = np.unique(flat[order], return_index=True)
            for value, run in zip(values.tolist(), np.split(rows[order], starts[1:])):
                if value >= 0:
                    self._lists[feature, str(value)] = BitMap(run.astype(np.uint32))

    def admitted(self, text: str) -> BitMap:
        """The items that a filter of `silverjax.filter_language` admits."""
        return self._evaluate(parse(text))

    def _evaluate(self, tree: Expression) -> BitMap:
        match tree:
            case Everything():
                return self._all
            case Term(feature, value):
                return self._lists.get((feature, value), BitMap())
            case Not(part):
                return self._all - self._evaluate(part)
            case Or(parts):
                return BitMap.union(*(self._evaluate(part) for part in parts))
            case And(parts):
                # What is wanted first, then the difference: a complement is never built.
                wanted = [self._evaluate(p) for p in parts if not isinstance(p, Not)]
                left = BitMap.intersection(*wanted) if wanted else self._all
                for part in parts:
                    if isinstance(part, Not):
                        left = left - self._evaluate(part.part)
                return left
        raise AssertionError(tree)


def dense(rows: np.ndarray, items: int) -> np.ndarray:
    """The rows as a bitmap in the order of faiss: bit `i % 8` of byte `i // 8`."""
    mask = np.zeros(items, np.bool_)
    mask[rows] = True
    return np.packbits(mask, bitorder="little")
