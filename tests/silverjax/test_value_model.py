"""The Value Model: its formula, its parser, and weights that never recompile."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.value_model import ValueWeights, make_weights, parse_weights, value

TASKS = ("watched", "liked", "disliked")
P = jnp.asarray([[[0.5, 0.25, 0.1], [0.2, 0.1, 0.0]]])


def test_weighted_sum() -> None:
    got = value(P, parse_weights("watched=1, disliked=-0.5", TASKS))
    np.testing.assert_allclose(got, [[0.45, 0.2]], rtol=1e-6)


def test_powers_alone_give_the_product() -> None:
    got = value(P, parse_weights("watched^1,liked^0.5", TASKS))
    np.testing.assert_allclose(got, [[0.25, 0.2 * 0.1**0.5]], rtol=1e-5)


def test_sum_and_powers_multiply() -> None:
    got = value(P, parse_weights("watched=2,liked^2", TASKS))
    np.testing.assert_allclose(got, [[0.0625, 0.004]], rtol=1e-5)


def test_zero_probability_is_finite() -> None:
    zero = jnp.zeros((1, 1, 3))
    for text in ("watched=1", "disliked^0.5", "watched=1,disliked^2"):
        assert np.isfinite(np.asarray(value(zero, parse_weights(text, TASKS)))).all(), text


def test_each_request_has_its_own_weights() -> None:
    rows = [parse_weights("watched=1", TASKS), parse_weights("liked^1", TASKS)]
    both = jax.tree.map(lambda *columns: jnp.concatenate(columns), *rows)
    got = value(jnp.concatenate([P, P]), both)
    np.testing.assert_allclose(got, [[0.5, 0.2], [0.25, 0.1]], rtol=1e-5)


def test_new_weights_do_not_recompile() -> None:
    traces = []

    @jax.jit
    def traced(p: jax.Array, weights: ValueWeights) -> jax.Array:
        traces.append(1)
        return value(p, weights)

    for text in ("watched=1", "liked=2,disliked=-1", "watched^0.5"):
        traced(P, parse_weights(text, TASKS))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loved=1", "unknown task 'loved'; the model has watched, liked, disliked"),
        ("liked=nan", "task 'liked' is nan; it must be finite"),
        ("liked^inf", "task 'liked' is inf; it must be finite"),
        ("liked=high", "task 'liked' is 'high', not a number"),
        ("liked", "cannot read the weight 'liked'; write task=number"),
        ("", "cannot read the weight ''"),
        ("liked=1,liked=2", "task 'liked' has two weights"),
        ("liked=0", "all weights are zero"),
    ],
)
def test_parser_rejects(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_weights(text, TASKS)


def test_mapping_equals_text() -> None:
    made = make_weights({"liked": 1.0}, TASKS, power={"watched": 0.5})
    read = parse_weights("liked=1,watched^0.5", TASKS)
    assert made.linear.tolist() == read.linear.tolist()
    assert made.power.tolist() == read.power.tolist()
