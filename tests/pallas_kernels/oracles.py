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


def filtered_search(
    codes: np.ndarray,
    scales: np.ndarray,
    words: np.ndarray,
    queries: np.ndarray,
    query_scales: np.ndarray,
    affinity: np.ndarray,
    plan: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    exact: Any = None,
    excluded: np.ndarray | None = None,
    *,
    k: int,
    probes: int,
    max_probes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One query at a time: list what passes in the clusters so far, then sort."""
    capacity = codes.shape[1]
    batch = len(queries)
    scores = np.full((batch, k), -np.inf, np.float32)
    slots = np.full((batch, k), -1, np.int32)
    live, eligible = np.zeros(batch, np.int32), np.zeros(batch, np.int32)
    inside = np.arange(words.shape[2] * 32) < capacity
    for b in range(batch):
        order = [c for c in np.argsort(-affinity[b], kind="stable") if affinity[b, c] > -np.inf]
        order = order[:max_probes]
        values, places = np.zeros(0, np.float32), np.zeros(0, np.int64)
        for start in range(0, len(order), probes):
            if len(places) >= k:
                break
            near = np.array(order[start : start + probes], np.int32)
            mask = words[near, 0]
            live[b] += _bits(mask)[:, inside].sum()
            if plan is not None:
                rows, modes, program = (part[b : b + 1] for part in plan)
                mask = bloom_probe(words, rows, modes, program, near[None])[0]
            bits = _bits(mask) & inside
            slot = near[:, None] * capacity + np.arange(bits.shape[1])
            if excluded is not None:
                bits &= ~np.isin(slot, excluded[b])
            eligible[b] += bits.sum()
            found = slot[bits]
            if plan is not None and exact is not None and not exact.decided[b]:
                passes = [_passes(exact, plan[2][b], b, one) for one in found]
                found = found[np.array(passes, bool)]
            c, s = np.divmod(found, capacity)
            dots = codes[c, s].astype(np.int64) @ queries[b].astype(np.int64)
            value = (dots.astype(np.float32) * scales[c, s]) * query_scales[b]
            values, places = np.append(values, value), np.append(places, found)
        best = np.lexsort((places, -values))[:k]
        scores[b, : len(best)], slots[b, : len(best)] = values[best], places[best]
    return scores + np.float32(0), slots, live, eligible  # 0.0, never -0.0


def _bits(words: np.ndarray) -> np.ndarray:
    """bool [N, 32 W] of uint32 [N, W]."""
    spread = words[..., None] >> np.arange(32, dtype=np.uint32) & 1
    return spread.reshape(len(words), -1).astype(bool)


def _passes(exact: Any, program: np.ndarray, b: int, slot: int) -> bool:
    start, length = exact.spans[max(exact.lists.reshape(-1)[slot], 0)]
    own = set(exact.terms[start : start + length].tolist())
    stack: list[bool] = []
    for token in program.tolist():
        if token >= 0:
            stack.append((int(exact.leaf_terms[b, token]) in own) != bool(exact.negated[b, token]))
        elif token in (-1, -2):
            upper, under = stack.pop(), stack.pop()
            stack.append(upper and under if token == -1 else upper or under)
    return stack[0] if stack else True
