"""Filters by brute force: Python sets, one item at a time, nothing of the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from silverjax.filter_language import And, Everything, Expression, Not, Or, Term

Corpus = Mapping[str, Sequence[Sequence[str | int]]]


def admits(expression: Expression, item: Mapping[str, set[str]]) -> bool:
    match expression:
        case Everything():
            return True
        case Term(feature, value):
            return value in item[feature]
        case Not(part):
            return not admits(part, item)
        case And(parts):
            return all(admits(part, item) for part in parts)
        case Or(parts):
            return any(admits(part, item) for part in parts)


def eligible(expression: Expression, corpus: Corpus, items: int) -> np.ndarray:
    sets = [
        {feature: {str(v) for v in values[row]} for feature, values in corpus.items()}
        for row in range(items)
    ]
    return np.array([admits(expression, item) for item in sets])


def to_text(expression: Expression) -> str:
    """Writes a tree in the language, fully bracketed and quoted."""
    match expression:
        case Everything():
            return ""
        case Term(feature, value):
            escaped = value.replace("\\", r"\\").replace('"', r"\"")
            return f'"{feature}":"{escaped}"'
        case Not(part):
            return f"NOT ({to_text(part)})"
        case And(parts):
            return " AND ".join(f"({to_text(part)})" for part in parts)
        case Or(parts):
            return " OR ".join(f"({to_text(part)})" for part in parts)


def expressions(terms: st.SearchStrategy[Term]) -> st.SearchStrategy[Expression]:
    """Random trees with nested NOT, AND and OR."""
    return st.recursive(
        terms,
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=2, max_size=4).map(lambda parts: And(tuple(parts))),
            st.lists(inner, min_size=2, max_size=4).map(lambda parts: Or(tuple(parts))),
        ),
        max_leaves=12,
    )


def top_k(scores: np.ndarray, mask: np.ndarray, k: int) -> np.ndarray:
    """Rows of the `k` best where `mask`."""
    rows = np.flatnonzero(mask)
    return rows[np.argsort(-scores[rows], kind="stable")[:k]]
