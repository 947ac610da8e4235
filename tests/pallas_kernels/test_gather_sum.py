"""`gather_sum`: what NumPy gives in float64, on every backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.gather_sum import cpu, reference
from pallas_kernels.gather_sum.api import gather_sum
from pallas_kernels.gather_sum.arg_specs import SMALL, Spec
from tests.pallas_kernels.cpu import INSTRUCTIONS

BACKENDS: dict[str, Callable[..., jax.Array]] = {
    "reference": reference.gather_sum,
    **{
        f"cpu_{name}": functools.partial(cpu.gather_sum, instructions=name) for name in INSTRUCTIONS
    },
}


def oracle(codes: Any, scales: Any, rows: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """The sums in float64, row by row, and how far float32 sums may be from them."""
    codes, scales, rows, weights = (np.asarray(a) for a in (codes, scales, rows, weights))
    shape = (len(rows), codes.shape[1], weights.shape[1], codes.shape[2])
    out, size = np.zeros(shape), np.zeros(shape)
    for b, h in np.ndindex(rows.shape):
        if not 0 <= rows[b, h] < len(codes):
            continue
        item = codes[rows[b, h]].astype(np.float64) * scales[rows[b, h]][:, None]  # [G, M]
        products = item[:, None] * weights[b, :, h][None, :, None]  # [G, V, M]
        out[b] += products
        size[b] += np.abs(products)
    # Each of the H roundings of a sum, and those of scale and weight, is at most 2**-24.
    return out, size * (rows.shape[1] + 2) * 2.0**-24


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", SMALL.values(), ids=SMALL)
def test_matches_float64(spec: Spec, backend: str) -> None:
    arguments = spec.make()
    wanted, limit = oracle(*arguments)
    got = np.asarray(BACKENDS[backend](*arguments))
    assert got.shape == wanted.shape
    assert (np.abs(got - wanted) <= limit).all()


@pytest.mark.skipif(len(INSTRUCTIONS) < 2, reason="there is one instruction set here, or none")
def test_all_instruction_sets_give_the_same_bits() -> None:
    arguments = SMALL["training"].make(1)
    first, *others = (cpu.gather_sum(*arguments, instructions=name) for name in INSTRUCTIONS)
    for other in others:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(other))


def test_a_request_gives_the_same_bits_in_any_batch() -> None:
    codes, scales, rows, weights = SMALL["a_request"].make(2)
    together = gather_sum(codes, scales, rows, weights)
    alone = gather_sum(codes, scales, rows[1:], weights[1:])
    np.testing.assert_array_equal(np.asarray(together)[1:], np.asarray(alone))


def test_vmap() -> None:
    codes, scales, rows, weights = SMALL["odd"].make(4)
    twice = jax.vmap(functools.partial(gather_sum, codes, scales))(
        jnp.stack([rows, rows[::-1]]), jnp.stack([weights, weights[::-1]])
    )
    np.testing.assert_array_equal(
        np.asarray(twice[1]), np.asarray(gather_sum(codes, scales, rows[::-1], weights[::-1]))
    )


@pytest.mark.parametrize(
    ("at", "wrong", "message"),
    [
        (0, jnp.zeros((37, 3, 21)), "codes has dtype float32, must be int8"),
        (1, jnp.zeros((37, 1)), r"scales has shape \(37, 1\), must be \[N, G\] = \(37, 3\)"),
        (2, jnp.zeros((19,), jnp.int32), r"rows has shape \(19,\), must be int32 \[B, H\]"),
        (3, jnp.zeros((3, 2, 5)), r"weights has shape \(3, 2, 5\), must be \[B, V, H\] = \(3, 2,"),
    ],
)
def test_rejects_wrong_arguments(at: int, wrong: jax.Array, message: str) -> None:
    arguments = list(SMALL["odd"].make())
    arguments[at] = wrong
    with pytest.raises(ValueError, match=message):
        gather_sum(*arguments)
