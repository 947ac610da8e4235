"""int8 per row: error bound, rounding, degenerate rows, and the gradient that ignores it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from silverjax.quantize import dequantize, quantize, straight_through


def test_error_is_at_most_half_a_level() -> None:
    x = np.random.default_rng(0).normal(size=(50, 33)).astype(np.float32)
    codes, scale = quantize(jnp.asarray(x))
    assert codes.dtype == jnp.int8
    assert scale.dtype == jnp.float32
    # 1e-5: the division and the product each round once in float32.
    limit = np.asarray(scale)[:, None] * (0.5 + 1e-5)
    assert (np.abs(np.asarray(dequantize(codes, scale)) - x) <= limit).all()


def test_largest_entry_becomes_127_and_negation_is_exact() -> None:
    x = jnp.asarray([[1.0, -3.0, 2.0], [0.5, 0.25, 0.0]])
    codes, _ = quantize(x)
    assert np.abs(np.asarray(codes)).max(axis=1).tolist() == [127, 127]
    assert (np.asarray(quantize(-x)[0]) == -np.asarray(codes)).all()


def test_rounds_half_to_even() -> None:
    x = jnp.asarray([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5]])  # scale is exactly 1
    assert quantize(x)[0].tolist() == [[127, 0, 2, 2, 0, -2]]


def test_zero_and_denormal_rows_become_zero() -> None:
    codes, scale = quantize(jnp.asarray([[0.0, 0.0], [1e-40, -1e-41]]))
    assert codes.tolist() == [[0, 0], [0, 0]]
    assert scale.tolist() == [0.0, 0.0]


def test_straight_through_quantises_forward_and_passes_the_gradient() -> None:
    x = jnp.asarray([[0.3, -1.0, 0.111]])
    weights = jnp.asarray([[1.0, 2.0, 3.0]])
    # The sum x + (q - x) rounds once, hence not bit-exact.
    np.testing.assert_allclose(straight_through(x), dequantize(*quantize(x)), rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(weights * straight_through(x)))(x)
    assert gradient.tolist() == weights.tolist()
