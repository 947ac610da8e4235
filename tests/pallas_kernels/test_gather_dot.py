"""`gather_dot`: what NumPy gives in float64, on every backend, and its gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.gather_dot import cpu, reference
from pallas_kernels.gather_dot.api import gather_dot
from pallas_kernels.gather_dot.arg_specs import SMALL, Spec
from tests.pallas_kernels.cpu import INSTRUCTIONS

BACKENDS: dict[str, Callable[..., jax.Array]] = {
    "reference": reference.gather_dot,
    **{
        f"cpu_{name}": functools.partial(cpu.gather_dot, instructions=name) for name in INSTRUCTIONS
    },
}


def oracle(codes: Any, scales: Any, rows: Any, vectors: Any) -> tuple[np.ndarray, np.ndarray]:
    """The products in float64, row by row, and how far float32 sums may be from them."""
    codes, scales, rows, vectors = (np.asarray(a) for a in (codes, scales, rows, vectors))
    shape = (*vectors.shape[:3], rows.shape[1])
    out, limit = np.zeros(shape), np.zeros(shape)
    for b, k in np.ndindex(rows.shape):
        if not 0 <= rows[b, k] < len(codes):
            continue
        items = codes[rows[b, k]].astype(np.float64) * scales[rows[b, k]][:, None]  # [G, M]
        products = items[:, None] * vectors[b]  # [G, V, M]
        out[b, :, :, k] = products.sum(-1)
        # Each of the M roundings of a sum, and those of scale and product, is at most 2**-24.
        limit[b, :, :, k] = np.abs(products).sum(-1) * (vectors.shape[3] + 2) * 2.0**-24
    return out, limit


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
    arguments = SMALL["odd"].make(1)
    first, *others = (cpu.gather_dot(*arguments, instructions=name) for name in INSTRUCTIONS)
    for other in others:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(other))


def test_a_row_gives_the_same_bits_in_any_batch() -> None:
    codes, scales, rows, vectors = SMALL["a_request"].make(2)
    together = gather_dot(codes, scales, rows, vectors)
    alone = gather_dot(codes, scales, rows[1:, 200:], vectors[1:])
    np.testing.assert_array_equal(np.asarray(together)[1:, ..., 200:], np.asarray(alone))


def test_gradient_is_that_of_the_reference() -> None:
    codes, scales, rows, vectors = SMALL["odd"].make(3)

    def loss(run: Callable[..., jax.Array], vectors: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(run(codes, scales, rows, vectors)))

    got = jax.grad(functools.partial(loss, gather_dot))(vectors)
    wanted = jax.grad(functools.partial(loss, reference.gather_dot))(vectors)
    assert np.abs(np.asarray(wanted)).max() > 1
    # The cosine of a sum of some hundreds, in float32, from sums in another order.
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-2)


def test_vmap() -> None:
    codes, scales, rows, vectors = SMALL["odd"].make(4)
    twice = jax.vmap(functools.partial(gather_dot, codes, scales))(
        jnp.stack([rows, rows[::-1]]), jnp.stack([vectors, vectors[::-1]])
    )
    np.testing.assert_array_equal(
        np.asarray(twice[1]), np.asarray(gather_dot(codes, scales, rows[::-1], vectors[::-1]))
    )


@pytest.mark.parametrize(
    ("at", "wrong", "message"),
    [
        (0, jnp.zeros((3, 2, 4)), "codes has dtype float32, must be int8"),
        (1, jnp.zeros((3, 1)), r"scales has shape \(3, 1\), must be \(3, 2\)"),
        (2, jnp.zeros((5,), jnp.int32), r"rows has shape \(5,\)"),
        (3, jnp.zeros((1, 2, 1, 5)), r"vectors has shape \(1, 2, 1, 5\), must be \(1, 2, 1, 4\)"),
    ],
)
def test_rejects_wrong_arguments(at: int, wrong: jax.Array, message: str) -> None:
    arguments: list[jax.Array] = [
        jnp.zeros((3, 2, 4), jnp.int8),
        jnp.zeros((3, 2)),
        jnp.zeros((1, 6), jnp.int32),
        jnp.zeros((1, 2, 1, 4)),
    ]
    arguments[at] = wrong
    with pytest.raises(ValueError, match=message):
        gather_dot(*arguments)
