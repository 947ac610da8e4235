"""The whole search under another kernel backend."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from silverjax.ann_search import search
from silverjax.filter_plan import compile_filters
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from silverjax.item_index import ItemIndex
from tests.pallas_kernels.cuda import lower_for_cuda

FILTERS = ["tag:1 AND NOT tag:30", "", "NOT tag:31", "tag:32 OR half:1"]


@pytest.fixture(scope="module")
def index() -> ItemIndex:
    rng = np.random.default_rng(0)
    attributes = {
        "tag": rng.integers(0, 40, (200, 3)).tolist(),
        "half": [row % 2 for row in range(200)],
    }
    points = rng.normal(size=(200, 24)).astype(np.float32)
    return build_index(points, attributes, IndexConfig(clusters=4, columns=8, bloom_bits=32))


QUERIES = np.random.default_rng(1).normal(size=(4, 24)).astype(np.float32)


def test_triton_backend_answers_like_the_reference(index: ItemIndex) -> None:
    plan = compile_filters(index, FILTERS)
    one = search(index, QUERIES, plan, k=10, probes=2, backend="reference")
    two = search(index, QUERIES, plan, k=10, probes=2, backend="pallas_triton")
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_search_lowers_for_cuda(index: ItemIndex) -> None:
    plan = compile_filters(index, FILTERS)
    text = lower_for_cuda(
        lambda i, q, p: search(i, q, p, k=10, probes=2, backend="pallas_triton"),
        index,
        jax.numpy.asarray(QUERIES),
        plan,
    )
    assert "triton" in str(text).lower()


def test_unknown_backend_is_refused(index: ItemIndex) -> None:
    with pytest.raises(ValueError, match="fastest"):
        search(index, QUERIES, k=10, probes=2, backend="fastest")
