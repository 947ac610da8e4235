"""Batches: padding of histories, and the messages for what does not fit the schema."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.batch import Items, Users, check_items, check_users, pad_histories, take_items
from silverjax.schema import Feature, FeatureKind, Schema

SCHEMA = Schema(
    users=3,
    items=9,
    user_features=(Feature("age", FeatureKind.NUMERIC),),
    item_features=(Feature("genre", FeatureKind.MULTI, 5, 2),),
    tasks=("chosen", "liked"),
)


def users(**changes: Any) -> Users:
    good = Users(
        id=jnp.asarray([0, -1], jnp.int32),
        features={"age": jnp.zeros(2)},
        history=jnp.asarray([[-1, 8, 0], [-1, -1, -1]], jnp.int32),
        history_labels=jnp.zeros((2, 3, 2)),
    )
    return dataclasses.replace(good, **changes)


def items(genre: Any, ids: Any = (0, -1)) -> Items:
    return Items(id=jnp.asarray(ids, jnp.int32), features={"genre": jnp.asarray(genre, jnp.int32)})


def test_histories_keep_the_latest_and_pad_in_front() -> None:
    labels = [np.arange(8, dtype=np.float32).reshape(4, 2), np.zeros((0, 2), np.float32)]
    rows, label = pad_histories([[4, 5, 6, 7], []], labels, length=3, tasks=2)
    assert rows.tolist() == [[5, 6, 7], [-1, -1, -1]]
    assert label[0].tolist() == labels[0][-3:].tolist()
    assert not label[1].any()
    short, _ = pad_histories([[2]], [np.ones((1, 2), np.float32)], length=3, tasks=2)
    assert short.tolist() == [[-1, -1, 2]]


def test_good_batches_pass() -> None:
    check_users(users(), SCHEMA)
    check_items(items([[1, 4], [0, 0]]), SCHEMA)


def test_take_items_takes_every_column() -> None:
    taken = take_items(items([[1, 4], [2, 0]]), jnp.asarray([[1], [0]]))
    assert taken.id.tolist() == [[-1], [0]]
    assert taken.features["genre"].tolist() == [[[2, 0]], [[1, 4]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": np.array([3, 0])}, "user id 3 is outside [0, 3); use -1"),
        ({"history": np.full((2, 3), 9)}, "history row 9 is outside [0, 9)"),
        ({"history": np.full((2, 3), -2)}, "history row -2 is outside"),
        ({"history_labels": np.zeros((2, 3, 1))}, "need (2, 3, 2)"),
        ({"day": np.zeros((2, 1), np.int32)}, "day has shape (2, 1); it must be (2,)"),
        ({"features": {}}, "missing ['age'], unknown []"),
        ({"features": {"age": np.zeros(2), "sex": np.zeros(2)}}, "unknown ['sex']"),
        ({"features": {"age": np.zeros(3)}}, "shape (3,); it must be (2,)"),
        ({"features": {"age": np.array([0.0, np.nan])}}, "NaN or infinite"),
    ],
)
def test_users_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_users(users(**changes), SCHEMA)


@pytest.mark.parametrize(
    ("genre", "message"),
    [
        ([[1, 5], [0, 0]], "codes in [0, 5]; its vocabulary is [0, 5)"),
        ([[1, -1], [0, 0]], "codes in [-1, 1]"),
        ([1, 2], "shape (2,); it must be (2, 2)"),
    ],
)
def test_items_rejected(genre: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_items(items(genre), SCHEMA)
