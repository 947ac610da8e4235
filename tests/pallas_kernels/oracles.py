"""What the ops must answer, in NumPy and plain Python, sharing nothing with the package."""

from __future__ import annotations

import math
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
    _, count, width = words.shape
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
                leaf = np.bitwise_and.reduce(words[rows[b, token], c], axis=0)
                ones = np.full(width, 2**32 - 1, np.uint32)
                stack.append([leaf, ~leaf, ones, np.zeros_like(ones)][modes[b, token]])
            elif token in (-1, -2):
                upper, under = stack.pop(), stack.pop()
                stack.append(upper & under if token == -1 else upper | under)
        assert len(stack) <= 1, "the test made a program that leaves several values"
        out[b, n] = words[0, c] & stack[0] if stack else words[0, c]
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
    spread: np.ndarray | None = None,
    *,
    k: int,
    probes: int,
    max_probes: int,
    recall: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One query at a time: list what passes in the clusters so far, then sort."""
    clusters, capacity = codes.shape[:2]
    batch = len(queries)
    scores = np.full((batch, k), -np.inf, np.float32)
    slots = np.full((batch, k), -1, np.int32)
    live, eligible = np.zeros(batch, np.int32), np.zeros(batch, np.int32)
    inside = np.arange(words.shape[2] * 32) < capacity
    for b in range(batch):
        order = [c for c in np.argsort(-affinity[b], kind="stable") if affinity[b, c] > -np.inf]
        admitted = words[0]
        if plan is not None:
            rows, modes, program = (part[b : b + 1] for part in plan)
            admitted = bloom_probe(words, rows, modes, program, np.arange(clusters)[None])[0]
        counts = (_bits(admitted) & inside).sum(1)
        adaptive = spread is not None and plan is not None and bool((plan[2][b] >= 0).any())
        if adaptive:
            live[b] += sum(
                (_bits(words[0, c : c + 1]) & inside).sum() for c in order if not counts[c]
            )
            order = [c for c in order if counts[c]]
        reachable = order[:max_probes]
        values, places = np.zeros(0, np.float32), np.zeros(0, np.int64)
        at, goal = 0, min(probes, len(reachable))
        while at < goal:
            near = np.array(reachable[at:goal], np.int32)
            live[b] += (_bits(words[0, near]) & inside).sum()
            bits = _bits(admitted[near]) & inside
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
            at = goal
            if not adaptive:
                goal = min(at + probes, len(reachable)) if len(places) < k else at
            elif len(places) < k:
                goal = _grown(counts[reachable], at)
            else:
                worst = np.sort(values)[-k] + np.float32(0)
                gap = (worst - affinity[b, order]) / spread[b, order]  # type: ignore[index]
                left = _expected(gap, counts[order])
                enough = next(j for j in range(len(order) + 1) if sum(left[j:]) <= _room(recall, k))
                goal = min(max(at, enough), _grown(counts[reachable], at))
        best = np.lexsort((places, -values))[:k]
        scores[b, : len(best)], slots[b, : len(best)] = values[best], places[best]
    return scores + np.float32(0), slots, live, eligible  # 0.0, never -0.0


def _room(recall: float, k: int) -> int:
    return int((1 - recall) * k * 65536)


def _expected(deviations: np.ndarray, counts: np.ndarray) -> list[int]:
    """Slots expected over the k-th score, in 65536ths: the normal tail at steps of an eighth.

    The deviations are from two above the mean.
    """
    near = np.clip(deviations, -5, 5).tolist()
    steps = [min(39 / 8, math.floor(8 * x) / 8) for x in near]
    tails = [round(65536 * (1 - math.erf((x + 2) / math.sqrt(2))) / 2) for x in steps]
    return [min(int(n), 2**14) * tail for n, tail in zip(counts, tails, strict=True)]


def _grown(counts: np.ndarray, at: int) -> int:
    """The fewest clusters that hold four times the slots of the first `at`, or all of them."""
    enough = np.flatnonzero(np.cumsum(counts) >= 4 * counts[:at].sum())
    return int(enough[0]) + 1 if len(enough) else len(counts)


def _bits(words: np.ndarray) -> np.ndarray:
    """bool [N, 32 W] of uint32 [N, W]."""
    spread = words[..., None] >> np.arange(32, dtype=np.uint32) & 1
    return spread.reshape(len(words), -1).astype(bool)


def _passes(exact: Any, program: np.ndarray, b: int, slot: int) -> bool:
    start, length = exact.spans.reshape(-1, 2)[slot]
    own = set(exact.terms[start : start + length].tolist())
    stack: list[bool] = []
    for token in program.tolist():
        if token >= 0:
            stack.append((int(exact.leaf_terms[b, token]) in own) != bool(exact.negated[b, token]))
        elif token in (-1, -2):
            upper, under = stack.pop(), stack.pop()
            stack.append(upper and under if token == -1 else upper or under)
    return stack[0] if stack else True
