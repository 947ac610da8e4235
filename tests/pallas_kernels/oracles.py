"""What the ops must answer, in NumPy and plain Python, sharing nothing with the package."""

from __future__ import annotations

from typing import Any

import numpy as np

Tree = int | tuple[str, Any, Any]  # a leaf's number, or ("and" | "or", left, right)


def postfix(tree: Tree) -> list[int]:
    """The program of a tree, by the numbers of the contract: -1 AND, -2 OR."""
    if isinstance(tree, int):
        return [tree]
    operator, left, right = tree
    return [*postfix(left), *postfix(right), -1 if operator == "and" else -2]


def value(tree: Tree, leaves: list[np.ndarray]) -> np.ndarray:
    """A tree, recursively."""
    if isinstance(tree, int):
        return leaves[tree]
    operator, left, right = tree
    a, b = value(left, leaves), value(right, leaves)
    return a & b if operator == "and" else a | b


def depth(tree: Tree) -> int:
    """Values that the program of a tree holds at once."""
    if isinstance(tree, int):
        return 1
    return max(depth(tree[1]), 1 + depth(tree[2]))


def bloom_probe(
    words: np.ndarray,
    rows: np.ndarray,
    modes: np.ndarray,
    program: np.ndarray,
    clusters: np.ndarray | None,
) -> np.ndarray:
    """One query, one cluster, one token at a time, on a Python list."""
    count, _, width = words.shape
    queries = len(program)
    if clusters is None:
        clusters = np.tile(np.arange(count), (queries, 1))
    out = np.zeros((*clusters.shape, width), np.uint32)
    for b, n in np.ndindex(*clusters.shape):
        c = clusters[b, n]
        if not 0 <= c < count:
            continue
        stack: list[np.ndarray] = []
        for token in program[b]:
            if token >= 0:
                leaf = np.bitwise_and.reduce(words[c, rows[b, token]], axis=0)
                ones = np.full(width, 2**32 - 1, np.uint32)
                stack.append([leaf, ~leaf, ones, np.zeros_like(ones)][modes[b, token]])
            elif token in (-1, -2):
                upper, under = stack.pop(), stack.pop()
                stack.append(upper & under if token == -1 else upper | under)
        assert len(stack) <= 1, "the test made a program that leaves several values"
        out[b, n] = words[c, 0] & stack[0] if stack else words[c, 0]
    return out


def int8_search(
    codes: np.ndarray,
    scales: np.ndarray,
    queries: np.ndarray,
    query_scales: np.ndarray,
    clusters: np.ndarray,
    eligible: np.ndarray,
    *,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Lists what is eligible in order of position, then sorts, keeping that order among equals."""
    count, capacity, _ = codes.shape
    scores = np.full((len(queries), k), -np.inf, np.float32)
    slots = np.full((len(queries), k), -1, np.int32)
    for b, query in enumerate(queries):
        found = []
        for n, c in enumerate(clusters[b]):
            if not 0 <= c < count:
                continue
            dots = codes[c].astype(np.int64) @ query.astype(np.int64)
            for s in range(capacity):
                if int(eligible[b, n, s // 32]) >> (s % 32) & 1:
                    score = np.float32(np.float32(dots[s]) * scales[c, s]) * query_scales[b]
                    found.append((score, int(c) * capacity + s))
        found.sort(key=lambda pair: -pair[0])  # stable
        for place, (score, slot) in enumerate(found[:k]):
            scores[b, place], slots[b, place] = score, slot
    return scores, slots
