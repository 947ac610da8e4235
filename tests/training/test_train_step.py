"""The training step: pure, learns, and differentiates parameters only."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax.batch import Items, Users
from silverjax.config import OverArchConfig, RetrieverConfig, TowerConfig
from silverjax.engagement import no_engagement
from silverjax.model import Model
from silverjax.schema import Feature, FeatureKind, Schema
from tests.compiled import init
from training.config import TrainConfig
from training.train_step import Corpus, TrainBatch, TrainState, make_optimizer, make_train_step

pytestmark = pytest.mark.usefixtures("weak_promotion")  # optax adds integer step counts to floats

ITEMS, HISTORY, BATCH = 30, 6, 8
SCHEMA = Schema(
    BATCH, ITEMS, (), (Feature("kind", FeatureKind.CATEGORICAL, 4),), ("chosen", "liked")
)
MODEL = RetrieverConfig(
    tower=TowerConfig(dim=8, width=8, history=HISTORY, recent=3, heads=1),
    over_arch=OverArchConfig(component_dim=4, hidden=8, cross_rank=4, cross_layers=1),
)
CONFIG = TrainConfig(
    steps=200, refit=0.2, batch=BATCH, warmup=5, learning_rate=1e-2, in_batch=8, uniform=12,
    positions=3, mined=6, over_arch_uniform=6,
)  # fmt: skip


def search(index: Any, queries: Any, k: int) -> Any:
    return jax.lax.top_k(queries @ index.T, k)[1].astype(jnp.int32)


def corpus() -> Corpus:
    kinds = jnp.arange(ITEMS, dtype=jnp.int32) % 3 + 1
    items = Items(id=jnp.arange(ITEMS, dtype=jnp.int32), features={"kind": kinds})
    return Corpus(items, jnp.full(ITEMS, 1.0 / ITEMS), no_engagement(ITEMS, MODEL.engagement))


def batch(seed: int = 0) -> TrainBatch:
    """Every user walks the catalogue in steps of one, so that the next item can be foreseen."""
    first = np.random.default_rng(seed).integers(0, ITEMS, (BATCH, 1))
    walk = ((first + np.arange(HISTORY + 1)) % ITEMS).astype(np.int32)
    history, target = walk[:, :-1].copy(), walk[:, 1:].copy()
    history[0, :3], target[0, :2] = -1, -1
    labels = np.stack([target >= 0, (target >= 0) & (target % 2 == 0)], -1).astype(np.float32)
    users = Users(
        id=jnp.arange(BATCH, dtype=jnp.int32),
        features={},
        history=jnp.asarray(history),
        history_labels=jnp.zeros((BATCH, HISTORY, 2)),
    )
    days = jnp.zeros_like(target)
    last = (target >= 0) & (np.arange(HISTORY) >= HISTORY // 2)
    return TrainBatch(users, jnp.asarray(target), jnp.asarray(labels), days, jnp.asarray(last))


def initial(seed: int = 0) -> TrainState:
    key = jax.random.key(seed)
    one = jax.tree.map(lambda column: jnp.stack([column[:2]] * BATCH), corpus().items)
    params = init(Model(SCHEMA, MODEL))(key, batch().users, one)["params"]
    index = jax.random.normal(key, (ITEMS, MODEL.tower.dim))
    return TrainState(
        jnp.asarray(0), params, make_optimizer(CONFIG).init(params), params, index, key
    )


@functools.cache
def step() -> Any:
    return jax.jit(make_train_step(Model(SCHEMA, MODEL), CONFIG, search))


def same_bits(a: Any, b: Any) -> bool:
    raw = [jax.tree.map(np.asarray, jax.tree.leaves(tree.params)) for tree in (a, b)]
    return all(x.tobytes() == y.tobytes() for x, y in zip(*raw, strict=True))


def test_same_state_and_batch_give_the_same_bits() -> None:
    def run() -> TrainState:
        state = initial()
        for number in range(3):  # the first step warms up from a learning rate of 0
            state, _ = step()(state, batch(number), corpus())
        return state

    once, again = run(), run()
    assert same_bits(once, again)
    assert not same_bits(once, initial())


def test_each_step_draws_anew() -> None:
    state = initial()
    later = TrainState(**{**vars(state), "step": jnp.asarray(7)})
    assert float(step()(state, batch(), corpus())[1]["loss"]) != float(
        step()(later, batch(), corpus())[1]["loss"]
    )


def test_all_losses_fall() -> None:
    state, first = step()(initial(), batch(), corpus())
    for number in range(1, CONFIG.steps):
        state, last = step()(state, batch(number), corpus())
    assert int(state.step) == CONFIG.steps
    for name in ("tower_loss", "list_loss", "task_loss"):
        assert float(last[name]) < 0.8 * float(first[name]), name


def test_index_is_data() -> None:
    state = initial()
    new, metrics = step()(state, batch(), corpus())
    assert (new.index == state.index).all()
    # Another index mines other negatives, so OverArch has another loss; the towers do not.
    _, other = step()(TrainState(**{**vars(state), "index": -state.index}), batch(), corpus())
    assert float(other["list_loss"]) != float(metrics["list_loss"])
    assert float(other["tower_loss"]) == float(metrics["tower_loss"])


def test_towers_learn_from_all_choices_where_no_over_arch_needs_some() -> None:
    def tower_loss(**changes: Any) -> float:
        config = dataclasses.replace(CONFIG, **changes)
        one = jax.jit(make_train_step(Model(SCHEMA, MODEL), config, search))
        return float(one(initial(), batch(), corpus())[1]["tower_loss"])

    alone = tower_loss(positions=0, held_out=0.5)
    assert alone == tower_loss(positions=0, held_out=0.0)
    assert alone != tower_loss(held_out=0.5)


@pytest.mark.parametrize("name", ["held_out", "refit"])
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_rejects_shares_that_are_none(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={share} must be at least 0 and below 1"):
        TrainConfig(**{name: share})  # type: ignore[arg-type]


def test_batch_without_targets_teaches_nothing() -> None:
    empty = batch()
    none = dataclasses.replace(
        empty,
        targets=jnp.full_like(empty.targets, -1),
        held_out=jnp.zeros_like(empty.held_out),
    )
    _, metrics = step()(initial(), none, corpus())
    assert {name: float(value) for name, value in metrics.items()} == {
        "tower_loss": 0.0, "list_loss": 0.0, "task_loss": 0.0, "loss": 0.0, "gradient_norm": 0.0,
    }  # fmt: skip
