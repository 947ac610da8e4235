"""Negatives: how often each is drawn, and that logQ undoes exactly that."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.losses import sampled_softmax
from training.negatives import first_of_each, mixed_pool, uniform_rows

ITEMS, IN_BATCH, UNIFORM, BATCH, DRAWS = 40, 6, 10, 64, 3_000


def skewed() -> jax.Array:
    weight = 1.0 / jnp.arange(1.0, ITEMS + 1)
    return weight / weight.sum()


def pools() -> tuple[jax.Array, jax.Array]:
    """Rows and logQ [draws, m] of pools whose batch of targets follows `skewed`."""

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch, pool = jax.random.split(key)
        targets = jax.random.categorical(batch, jnp.log(skewed()), shape=(BATCH,))
        made = mixed_pool(
            pool, targets.astype(jnp.int32), skewed(), in_batch=IN_BATCH, uniform=UNIFORM
        )
        return made.rows, made.logq

    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), DRAWS))


@pytest.mark.parametrize("count", [3, 20, 40, 99])
def test_uniform_rows_lie_in_the_catalogue(count: int) -> None:
    rows = np.asarray(uniform_rows(jax.random.key(1), 40, count))
    assert len(rows) == min(count, 40)
    assert rows.min() >= 0
    assert rows.max() < 40
    if count * 8 >= 40:
        assert len(set(rows.tolist())) == len(rows)


def test_expected_counts_are_what_logq_says() -> None:
    rows, _ = pools()
    counts = np.bincount(np.asarray(rows).ravel(), minlength=ITEMS) / DRAWS
    expected = IN_BATCH * np.asarray(skewed()) + UNIFORM / ITEMS
    # Five standard errors of a mean of `DRAWS` counts whose variance is at most `expected`.
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected / DRAWS)).all()


def test_logq_makes_the_normaliser_unbiased() -> None:
    """Mean of the sampled normaliser = the full softmax's; without logQ it is far off."""
    rows, logq = pools()
    # Popular items score high, as trained ones do: the hardest case for uncorrected samples.
    logits = jnp.log(skewed()) + 0.5 * jax.random.normal(jax.random.key(2), (ITEMS,))
    chosen = 3
    positive, negatives, keep = logits[chosen], logits[rows], rows != chosen

    def normaliser(logq: jax.Array) -> np.ndarray:
        losses = sampled_softmax(jnp.broadcast_to(positive, (DRAWS,)), negatives, logq, keep)
        return np.asarray(jnp.exp(losses + positive))

    full = float(jnp.exp(jax.nn.logsumexp(logits)))
    corrected = normaliser(logq)
    error = corrected.std() / np.sqrt(DRAWS)
    assert abs(corrected.mean() - full) < 5 * error
    plain = normaliser(jnp.zeros_like(logq))
    assert abs(plain.mean() - full) > 20 * error


def test_positions_without_target_are_never_negatives_while_others_are_left() -> None:
    targets = jnp.asarray([[-1, 5, -1], [7, -1, -1]], jnp.int32)
    full = mixed_pool(jax.random.key(0), targets, skewed(), in_batch=2, uniform=1)
    assert sorted(full.rows[:2].tolist()) == [5, 7]
    over = mixed_pool(jax.random.key(0), targets, skewed(), in_batch=4, uniform=1)
    assert sorted(over.rows[:4].tolist()) == [-1, -1, 5, 7]
    assert np.isfinite(np.asarray(over.logq)).all()


def test_first_of_each_keeps_one_column_per_item() -> None:
    rows = jnp.asarray([[4, -1, 4, 2, 2, -1]])
    assert first_of_each(rows).tolist() == [[True, False, False, True, False, False]]
