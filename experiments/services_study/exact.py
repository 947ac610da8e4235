"""Brute force: what each filter admits and which of it is nearest, without index or bitmap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.services_study.corpus import Catalogue
from experiments.services_study.requests import Ask
from silverjax.filter_language import And, Everything, Expression, Not, Or, Term, parse


def admitted(catalogue: Catalogue, ask: Ask) -> np.ndarray:
    """Which items may be shown, bool [n]: admitted by the filter, not in the history."""
    items = len(catalogue.clump)

    def mask(tree: Expression) -> np.ndarray:
        match tree:
            case Everything():
                return np.ones(items, np.bool_)
            case Term(feature, value):
                return catalogue.admitted(feature, int(value))
            case Not(part):
                return ~mask(part)
            case And(parts):
                return np.logical_and.reduce([mask(part) for part in parts])
            case Or(parts):
                return np.logical_or.reduce([mask(part) for part in parts])
        raise AssertionError(tree)

    allowed = mask(parse(ask.where)).copy()
    allowed[ask.history] = False
    return allowed


def nearest(items: np.ndarray, query: np.ndarray, mask: np.ndarray, k: int) -> np.ndarray:
    """Rows of the `k` best of the admitted items, or all of them where they are fewer."""
    rows = np.flatnonzero(mask)
    if len(rows) <= k:
        return rows
    return rows[np.argpartition(-(items[rows] @ query), k)[:k]]


def recall(found: np.ndarray, wanted: Sequence[np.ndarray]) -> float:
    """Mean share of what was wanted that was found; queries that want nothing do not count."""
    shares = [len(np.intersect1d(f, w)) / len(w) for f, w in zip(found, wanted) if len(w)]
    return float(np.mean(shares))
