"""A small corpus, and a made-up method whose recall is known."""

from __future__ import annotations

import numpy as np

from experiments.search.data import Corpus, nearest
from experiments.search.systems import Run, Variant

RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(2_000, 64)).astype(np.float32)
QUERIES = RNG.normal(size=(32, 64)).astype(np.float32)
CORPUS = Corpus("toy", ITEMS, QUERIES, nearest(ITEMS, QUERIES[:16], np.ones(2_000, bool), 10))
WANTED = {query.tobytes(): row for query, row in zip(CORPUS.asked, CORPUS.wanted)}


def toy(method: str, *, per_hit: int, most: int, least: int = 1) -> Variant:
    """Finds one of the ten wanted rows for every `per_hit` of its knob."""

    def run(value: int) -> Run:
        def search(queries: np.ndarray) -> np.ndarray:
            wanted = np.stack([WANTED[query.tobytes()] for query in queries])
            return np.where(np.arange(10) < value // per_hit, wanted, -1)

        return search

    return Variant(method, f"{per_hit} a hit", "effort", least, most, run, bytes=100)
