"""The whole search under another kernel backend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

from pallas_kernels.bloom_probe import pallas_triton as bloom_triton
from pallas_kernels.filtered_search.composed import composed
from pallas_kernels.int8_search import pallas_triton as int8_triton
from silverjax import ann_search
from silverjax.ann_search import search
from silverjax.filter_plan import compile_filters
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from silverjax.item_index import ItemIndex
from tests.pallas_kernels.cuda import ignore_triton_deprecation, lower_for_cuda

FILTERS = ["tag:1 AND NOT tag:30", "", "NOT tag:31", "tag:32 OR half:1"]


@pytest.fixture(scope="module")
def index() -> ItemIndex:
    rng = np.random.default_rng(0)
    attributes = {
        "tag": rng.integers(0, 40, (200, 3)).tolist(),
        "half": [row % 2 for row in range(200)],
    }
    points = rng.normal(size=(200, 24)).astype(np.float32)
    return build_index(
        points, attributes, IndexConfig(clusters=4, columns=8, bloom_bits=32, keep_embeddings=True)
    )


QUERIES = np.random.default_rng(1).normal(size=(4, 24)).astype(np.float32)


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the Triton kernels in the search, here interpreted or only lowered."""

    def use(**options: bool) -> None:
        search = functools.partial(
            composed,
            bloom_probe=functools.partial(bloom_triton.bloom_probe, **options),
            int8_search=functools.partial(int8_triton.int8_search, **options),
        )

        def filtered_search(*args: Any, backend: str | None, **kwargs: Any) -> Any:
            return search(*args, **kwargs)

        monkeypatch.setattr(ann_search, "filtered_search", filtered_search)
        jax.clear_caches()  # what was traced before knows the other kernels

    return use


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    jax.clear_caches()


@pytest.mark.parametrize("rescore", [None, 1.5])
def test_cpu_kernels_answer_like_the_reference(index: ItemIndex, rescore: float | None) -> None:
    plan = compile_filters(index, FILTERS)
    seen = np.random.default_rng(2).integers(-1, 210, (4, 30), np.int32)
    search_it = functools.partial(search, index, QUERIES, k=10, probes=2, exclude=seen)
    for filters in (None, plan):
        one, two = (
            search_it(filters, rescore=rescore, backend=backend) for backend in (None, "reference")
        )
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
            np.testing.assert_array_equal(a, b)


def test_triton_kernels_answer_like_the_reference(
    index: ItemIndex, triton: Callable[..., None]
) -> None:
    plan = compile_filters(index, FILTERS)
    one = search(index, QUERIES, plan, k=10, probes=2)
    with ignore_triton_deprecation():
        triton(interpret=True)
        two = search(index, QUERIES, plan, k=10, probes=2)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["pallas_triton", "pallas_mosaic_gpu"])
def test_gpu_kernels_answer_like_the_reference(backend: str) -> None:
    """On a GPU, with clusters large enough for either."""
    rng = np.random.default_rng(0)
    attributes = {"tag": rng.integers(0, 40, (2_000, 3)).tolist(), "half": [0, 1] * 1_000}
    points = rng.normal(size=(2_000, 32)).astype(np.float32)
    index = build_index(points, attributes, IndexConfig(clusters=8, columns=8, bloom_bits=32))
    queries = rng.normal(size=(4, 32)).astype(np.float32)
    plan = compile_filters(index, FILTERS)
    one = search(index, queries, plan, k=10, probes=4, backend="reference")
    with ignore_triton_deprecation():
        two = search(index, queries, plan, k=10, probes=4, backend=backend)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_search_lowers_for_cuda(index: ItemIndex, triton: Callable[..., None]) -> None:
    plan = compile_filters(index, FILTERS)
    triton()
    text = lower_for_cuda(
        lambda i, q, p: search(i, q, p, k=10, probes=2), index, jax.numpy.asarray(QUERIES), plan
    )
    assert "triton" in text


def test_unknown_backend_is_refused(index: ItemIndex) -> None:
    with pytest.raises(ValueError, match="fastest"):
        search(index, QUERIES, k=10, probes=2, backend="fastest")
