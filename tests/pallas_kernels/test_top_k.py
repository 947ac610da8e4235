"""`top_k`: the same bits as `jax.lax.top_k`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.top_k import cpu, reference
from pallas_kernels.top_k.api import top_k
from tests.pallas_kernels.cpu import INSTRUCTIONS

BACKENDS: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {
    "reference": reference.top_k,
    **{f"cpu_{name}": functools.partial(cpu.top_k, instructions=name) for name in INSTRUCTIONS},
}
SHAPES = [(1, 1, 1), (3, 17, 17), (5, 1000, 64), (2, 5000, 700), (40, 47, 3), (1, 3000, 3000)]


def contents(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    """Plain values, ties, special values, ascending ones (each raises the threshold)."""
    special = np.array([np.inf, -np.inf, 0.0, -0.0, np.nan, 1e-45, -1.0, 3.0], np.float32)
    return [
        rng.normal(size=shape).astype(np.float32),
        rng.integers(0, 3, shape).astype(np.float32),
        rng.choice(special, shape),
        np.zeros(shape, np.float32),
        np.sort(rng.normal(size=shape).astype(np.float32), axis=1),
    ]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "n", "k"), SHAPES)
def test_matches_lax(rows: int, n: int, k: int, backend: str) -> None:
    rng = np.random.default_rng(n)
    for values in contents(rng, (rows, n)):
        best, indices = BACKENDS[backend](jnp.asarray(values), k=k)
        wanted, places = jax.lax.top_k(jnp.asarray(values), k)
        np.testing.assert_array_equal(np.asarray(indices), np.asarray(places))
        bits = np.asarray(best).view(np.int32), np.asarray(wanted).view(np.int32)
        np.testing.assert_array_equal(*bits)


def test_vmap() -> None:
    values = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 50)).astype(np.float32))
    best, indices = jax.vmap(functools.partial(top_k, k=4))(values)
    np.testing.assert_array_equal(best, jax.lax.top_k(values, 4)[0])
    np.testing.assert_array_equal(indices, jax.lax.top_k(values, 4)[1])


def test_backends_of_other_ops_leave_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    values = jnp.asarray([[1.0, 3.0, 2.0]])
    assert top_k(values, k=1, backend="pallas_triton")[1].tolist() == [[1]]
    monkeypatch.setenv("PALLAS_KERNELS_BACKEND", "pallas_triton")
    assert top_k(values, k=2)[1].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("values", "k", "message"),
    [
        (jnp.zeros((2, 3)), 0, "k is 0, limit: an integer from 1 to n = 3; ask for fewer"),
        (jnp.zeros((2, 3)), 4, "k is 4, limit"),
        (jnp.zeros((2, 3)), 1.0, "k is 1.0, limit"),
        (jnp.zeros((2, 3), jnp.int32), 1, "values has dtype int32, must be float32"),
        (jnp.zeros(3), 1, r"values has shape \(3,\), must be float32 \[B, n\]"),
    ],
)
def test_rejects_wrong_arguments(values: jax.Array, k: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(values, k=k)
