"""Towers: causality of training positions, strangers, new items, padding."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.attention import causal_distance
from silverjax.batch import Items, Users
from silverjax.config import OverArchConfig, TowerConfig
from silverjax.model import Model
from tests.compiled import apply, init
from tests.silverjax.models import CONFIG, ITEMS, SCHEMA, item_features, some_users

MODEL = Model(SCHEMA, CONFIG)


@pytest.fixture(scope="module")
def variables() -> Any:
    items, _ = item_features()
    candidates = jax.tree.map(lambda column: jnp.stack([column[:2]] * 4), items)
    variables = init(MODEL)(jax.random.key(0), some_users(), candidates)
    # Initial parameters are small; large ones would show a leak.
    return jax.tree.map(
        lambda p: p + 0.3 * jax.random.normal(jax.random.key(1), p.shape), variables
    )


def positions(variables: Any, users: Users) -> Any:
    return apply(MODEL, "embed_positions")(variables, users)


def embed(variables: Any, users: Users) -> Any:
    return apply(MODEL, "embed_users")(variables, users)


def embed_items(variables: Any, items: Items, *, train: bool = False) -> Any:
    state: Any = MODEL.apply(
        variables, items, train=train, method="embed_items", rngs={"dropout": jax.random.key(0)}
    )
    return state.embedding


def test_causal_distance_hides_the_future_and_the_padding() -> None:
    assert causal_distance(jnp.asarray([[-1, 4, 2]])).tolist() == [
        [[0, -1, -1], [-1, 0, -1], [-1, 1, 0]]
    ]


def test_a_position_never_sees_its_future(variables: Any) -> None:
    users = some_users()
    later = users.history.at[:, 4:].set(7)
    labels = users.history_labels.at[:, 4:].set(0.0)
    changed = dataclasses.replace(users, history=later, history_labels=labels)
    before, after = positions(variables, users), positions(variables, changed)
    assert (before.embedding[:, :4] == after.embedding[:, :4]).all()
    assert (before.context[:, :4] == after.context[:, :4]).all()
    assert (before.embedding[:, 4:] != after.embedding[:, 4:]).any()


def test_a_position_equals_a_request_with_that_history(variables: Any) -> None:
    """Training positions and requests are one function, wherever the history lies in the window."""
    users = some_users()
    cut = 4
    shift = users.history.shape[1] - cut
    request = dataclasses.replace(
        users,
        history=jnp.pad(users.history[:, :cut], ((0, 0), (shift, 0)), constant_values=-1),
        history_labels=jnp.pad(users.history_labels[:, :cut], ((0, 0), (shift, 0), (0, 0))),
    )
    trained, asked = positions(variables, users), embed(variables, request)
    # Sums run over other lengths, so float32 rounds differently.
    np.testing.assert_allclose(trained.embedding[:, cut - 1], asked.embedding, rtol=1e-4, atol=1e-5)


def test_stranger_without_history_has_a_finite_state(variables: Any) -> None:
    state = embed(variables, some_users())  # the last user: id -1, empty history
    assert np.isfinite(np.asarray(state.embedding)).all()
    assert not state.present[-1].any()


def test_recent_items_are_the_last_of_the_history(variables: Any) -> None:
    state = embed(variables, some_users())
    # 16 recent items of a history of 6: the front is absent. The second user has two items.
    assert state.present.shape == (4, CONFIG.tower.recent)
    assert state.present.sum(axis=1).tolist() == [6, 2, 6, 0]
    assert state.present[1, -2:].all()


def test_labels_and_order_matter(variables: Any) -> None:
    users = some_users()
    base = embed(variables, users).embedding
    unlabelled = dataclasses.replace(users, history_labels=jnp.zeros_like(users.history_labels))
    reversed_ = dataclasses.replace(users, history=users.history[:, ::-1])
    assert (embed(variables, unlabelled).embedding[0] != base[0]).any()
    assert (embed(variables, reversed_).embedding[0] != base[0]).any()


def test_unknown_ids_share_one_vector_and_known_ones_do_not(variables: Any) -> None:
    users = some_users()
    same = jax.tree.map(lambda column: jnp.stack([column[0]] * 4), users)
    ids = jnp.asarray([-1, SCHEMA.users, 3, 4], jnp.int32)
    got = embed(variables, dataclasses.replace(same, id=ids)).embedding
    assert (got[0] == got[1]).all()
    assert (got[0] != got[2]).any()
    assert (got[2] != got[3]).any()


def test_new_items_are_placed_by_their_content(variables: Any) -> None:
    genre = jnp.asarray([[1, 2, 0], [1, 2, 0], [2, 1, 0], [3, 0, 0]], jnp.int32)
    items = Items(id=jnp.asarray([-1, ITEMS + 5, -1, -1], jnp.int32), features={"genre": genre})
    got = embed_items(variables, items)
    assert (got[0] == got[1]).all()
    np.testing.assert_allclose(got[0], got[2], rtol=1e-4, atol=1e-5)  # a mean has no order
    assert (got[0] != got[3]).any()


def test_training_view_is_quantised(variables: Any) -> None:
    items, _ = item_features()
    got = embed_items(variables, items, train=True)
    levels = got / jnp.max(jnp.abs(got), axis=1, keepdims=True) * 127.0
    # 1e-3 of a level: the value was divided and multiplied by the scale.
    np.testing.assert_allclose(levels, jnp.round(levels), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TowerConfig(heads=3), "TowerConfig.heads is 3; it must be a divisor of width=64"),
        (lambda: TowerConfig(dropout=1.0), "TowerConfig.dropout is 1.0; it must be in [0, 1)"),
        (lambda: TowerConfig(history=0), "TowerConfig.history is 0; it must be at least 1"),
        (lambda: OverArchConfig(kind="dot"), "OverArchConfig.kind is 'dot'"),
    ],
)
def test_config_rejects(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
