"""`affinity`: what NumPy gives, bit for bit, on every backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.affinity import cpu, reference
from pallas_kernels.affinity.api import affinity
from pallas_kernels.affinity.arg_specs import TESTS, Spec
from tests.pallas_kernels.cpu import INSTRUCTIONS

BACKENDS: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {
    "reference": reference.affinity,
    **{f"cpu_{name}": functools.partial(cpu.affinity, instructions=name) for name in INSTRUCTIONS},
}


def oracle(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """One cluster and one query at a time; NumPy rounds after every operation."""
    centroids, scales, radii, queries, query_scales, along = map(np.asarray, arguments)
    reached = np.empty((len(queries), len(centroids)), np.float32)
    spread = np.empty_like(reached)
    for b, c in np.ndindex(reached.shape):
        mean = np.float32(int(centroids[c].astype(np.int64) @ queries[b].astype(np.int64)))
        spread[b, c] = np.maximum(along[b] * radii[c], np.finfo(np.float32).tiny)
        sum_ = mean * scales[c] * query_scales[b] + np.float32(2) * spread[b, c]
        reached[b, c] = -np.inf if np.isnan(sum_) else sum_
    return reached, spread


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", TESTS.values(), ids=TESTS)
def test_matches_numpy(spec: Spec, backend: str) -> None:
    for seed in range(3):
        arguments = spec.make(seed)
        for got, wanted in zip(BACKENDS[backend](*arguments), oracle(*arguments), strict=True):
            assert got.dtype == jnp.float32
            np.testing.assert_array_equal(np.asarray(got), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_overflow_attracts_nothing_or_first(backend: str) -> None:
    """An infinite spread is one; infinity times a radius of zero is no number."""
    ones = jnp.ones(1), jnp.ones((1, 1), jnp.int8)
    args = (jnp.ones((2, 1), jnp.int8), jnp.ones(2), jnp.asarray([0.0, 1.0]), ones[1], ones[0])
    reached, _ = BACKENDS[backend](*args, jnp.asarray([jnp.inf]))
    assert np.asarray(reached).tolist() == [[-np.inf, np.inf]]


def test_any_backend_of_a_search_may_be_asked_for() -> None:
    arguments = TESTS["odd"].make()
    wanted = affinity(*arguments)
    got = affinity(*arguments, backend="pallas_triton")
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.mark.parametrize(
    ("place", "array", "message"),
    [
        (0, jnp.zeros((37, 21)), r"centroids has dtype float32, must be int8 \[C, D\]"),
        (0, jnp.zeros((0, 21), jnp.int8), "limit: no axis may be empty"),
        (1, jnp.zeros(36), r"scales has shape \(36,\), must be \[C\] = \(37,\)"),
        (2, jnp.zeros((37, 1)), r"radii has shape \(37, 1\), must be float32 \[C\]"),
        (3, jnp.zeros((3, 20), jnp.int8), "queries have 20 dimensions, the centroids 21; pad"),
        (4, jnp.zeros(4), r"query_scales has shape \(4,\), must be \[B\] = \(3,\)"),
        (5, jnp.zeros(3, jnp.int32), "along has dtype int32, must be float32"),
    ],
)
def test_rejects_wrong_arguments(place: int, array: jax.Array, message: str) -> None:
    arguments = list(TESTS["odd"].make())
    arguments[place] = array
    with pytest.raises(ValueError, match=message):
        affinity(*arguments)
