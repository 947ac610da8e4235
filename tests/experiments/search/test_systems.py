"""Our side and, where they are installed, the peers: each finds what brute force finds."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterable

import pytest

from experiments.search import peers
from experiments.search.store import Store
from experiments.search.systems import OURS, Variant, silver_variants
from experiments.search.tuning import Tuner
from tests.experiments.search.toys import CORPUS


def check(variants: Iterable[Variant], least: float) -> collections.Counter[str]:
    """That each variant reaches `least` with its knob at the top, and no more with it at the
    bottom; returns how many each method has."""
    tuner, methods = Tuner(CORPUS), collections.Counter[str]()
    for variant in variants:
        top = tuner.at(variant, variant.most).recall
        assert top >= least, variant
        assert tuner.at(variant, variant.least).recall <= top, variant
        assert variant.bytes > CORPUS.items.size  # a byte a dimension, at the least
        methods[variant.method] += 1
    return methods


def test_silverjax_finds_what_brute_force_finds(tmp_path: pathlib.Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):  # built, then loaded
        variants = list(silver_variants(CORPUS, store, clusters=(8, 16), k=10, seed=0))
        assert check(variants, 0.97) == {OURS: 4}
        assert len(list(tmp_path.iterdir())) == 2
    plain = variants[0]
    assert plain.work is not None
    items, dim = CORPUS.items.shape
    whole = plain.work(plain.most, CORPUS.queries[:3])
    assert whole.operations == 3 * items * dim * 2
    assert whole.bytes == items * (dim + 4) + 8 * (dim + 8)  # read once for all; the centroids
    part = plain.work(1, CORPUS.queries[:3])
    assert 0 < part.operations < whole.operations / 4


@pytest.mark.parametrize("threads", [1, 2])
def test_peers_find_what_brute_force_finds(
    threads: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is in extra `bench`")
    pytest.importorskip("hnswlib", reason="hnswlib is in extra `bench`")
    monkeypatch.setattr(peers, "_GRAPHS", (8,))
    store = Store(tmp_path)
    for _ in range(2):
        found = peers.Peers(CORPUS, store, clusters=(8,), k=10, threads=threads)
        methods = check(found.variants(), 0.75)  # 4 bits for two dimensions
        assert len(list(tmp_path.iterdir())) == 6
    assert methods == {
        "faiss IVFFlat": threads,
        "faiss IVF-SQ8": threads,
        "faiss IVF-SQ8 signed": threads,
        "faiss IVF-PQ fast scan + refine": 8 * threads,
        "faiss HNSW": 1,
        "hnswlib": 1,
    }
