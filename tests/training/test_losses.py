"""Losses against plain NumPy, and safety where everything is masked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from training.losses import binary_cross_entropy, masked_mean, sampled_softmax


def test_whole_catalogue_gives_the_full_softmax() -> None:
    logits = jax.random.normal(jax.random.key(0), (20,)) * 3
    chosen = 4
    keep = jnp.arange(20) != chosen
    got = sampled_softmax(logits[chosen], logits, jnp.zeros(20), keep)
    np.testing.assert_allclose(got, -jax.nn.log_softmax(logits)[chosen], rtol=1e-5)


def test_logq_weighs_a_negative_by_its_inverse_frequency() -> None:
    # A negative drawn with expected count 1/4 stands for four.
    got = sampled_softmax(
        jnp.zeros(()), jnp.zeros(1), jnp.log(jnp.asarray([0.25])), jnp.ones(1, bool)
    )
    np.testing.assert_allclose(got, np.log(5.0), rtol=1e-6)


def test_all_masked_is_zero_with_a_finite_gradient() -> None:
    keep = jnp.zeros(3, bool)

    def loss(positive: jax.Array, negatives: jax.Array) -> jax.Array:
        return sampled_softmax(positive, negatives, jnp.zeros(3), keep)

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(jnp.zeros(()), jnp.ones(3))
    assert value == 0.0
    assert not np.asarray(gradients[0]).any()
    assert not np.asarray(gradients[1]).any()


def test_binary_cross_entropy_is_stable() -> None:
    logits = jnp.asarray([0.0, 2.0, -2.0, 1e4, -1e4])
    got = binary_cross_entropy(logits, jnp.asarray([1.0, 1.0, 0.0, 0.0, 0.0]))
    want = [np.log(2), np.log1p(np.exp(-2)), np.log1p(np.exp(-2)), 1e4, 0.0]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_masked_mean_ignores_what_is_masked() -> None:
    values = jnp.asarray([1.0, 3.0, 100.0])
    assert masked_mean(values, jnp.asarray([1.0, 1.0, 0.0])) == 2.0
    assert masked_mean(values, jnp.zeros(3)) == 0.0
