"""Losses, as plain functions over logits. All return float32 and are safe under full masking."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

MASKED = -1e9  # finite: a row whose candidates are all masked must not give NaN gradients


def sampled_softmax(
    positive: Float[Array, "*n"],
    negatives: Float[Array, "*n m"],
    logq: Float[Array, "*n m"] | Float[Array, "m"],
    keep: Bool[Array, "*n m"],
) -> Float[Array, "*n"]:
    """`-log( e^s / (e^s + sum_j keep_j e^(s_j - logq_j)) )`.

    `logq_j` is the log of how often negative j's item was expected in the sample. Each other
    item then counts once in expectation, so the sum is an unbiased estimate of the full softmax's
    normaliser (Bengio and Senecal, "Adaptive importance sampling", 2008). The positive is there
    with certainty: it gets no correction, and `keep` must be false where it was also sampled.

    Args:
        positive: Logit s of the chosen item.
        negatives: Logits s_j of the sample.
        logq: Broadcasts to `negatives`.
        keep: False drops a negative: the positive itself, an item already seen, a duplicate.
    """
    corrected = jnp.where(keep, negatives - logq, MASKED)
    return jnp.logaddexp(positive, jax.nn.logsumexp(corrected, axis=-1)) - positive


def binary_cross_entropy(
    logits: Float[Array, "*n"], labels: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """`-y log sigmoid(s) - (1 - y) log(1 - sigmoid(s))`, stable for any s."""
    return jnp.maximum(logits, 0.0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def masked_mean(values: Float[Array, "*n"], mask: Float[Array, "*n"]) -> Float[Array, ""]:
    """Mean of `values` weighted by `mask`; 0 where the mask is empty."""
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1.0)
