"""One pure training step: everything learns together, `train_step(state, batch)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from silverjax.batch import Items, Users
from silverjax.engagement import Engagement, evidence_of
from silverjax.model import ItemState, Model
from silverjax.towers import Positions, state_at
from training.config import TrainConfig
from training.losses import binary_cross_entropy, masked_mean, sampled_softmax
from training.negatives import first_of_each, mixed_pool, uniform_rows

# (index, queries [n, dim], k) -> item rows [n, k], the best first.
Search = Callable[[Any, Float[Array, "n dim"], int], Int[Array, "n k"]]


@flax.struct.dataclass
class TrainBatch:
    """Windows of interactions: at each position of the history, what came next.

    Attributes:
        users: Their `history` are the windows.
        targets: The item chosen after each position; -1 where there is nothing to learn.
        labels: Task labels of the targets.
        days: Days on which they were chosen, since the epoch (UTC).
        held_out: Which are kept from the towers, for OverArch alone (`training.held_out`).
    """

    users: Users
    targets: Int[Array, "batch h"]
    labels: Float[Array, "batch h tasks"]
    days: Int[Array, "batch h"]
    held_out: Bool[Array, "batch h"]


@flax.struct.dataclass
class TrainState:
    """All that a run carries from step to step.

    Attributes:
        step: Steps done.
        params: Parameters of `Model`.
        opt_state: State of the optimiser.
        ema: Running mean of the parameters (a copy of them without one).
        index: The model's index as of the last refresh; data, never differentiated.
        key: Base of every random draw; folded with `step`, never replaced.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    ema: Any
    index: Any
    key: Array


@flax.struct.dataclass
class Corpus:
    """What a step reads of the data set: the catalogue, and what users did with each item."""

    items: Items
    frequency: Float[Array, "items"]
    engagement: Engagement


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    steps = max(config.refit_from, config.warmup + 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, config.warmup, steps)

    def decayed(params: Any) -> Any:
        """Matrices and tables, but not those of an OverArch that rests."""
        matrices = jax.tree.map(lambda p: p.ndim > 1, params)
        if not config.positions:
            matrices["over_arch"] = jax.tree.map(lambda p: False, params["over_arch"])
        return matrices

    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(schedule, b2=0.98, weight_decay=config.weight_decay, mask=decayed),
    )


def make_train_step(
    model: Model,
    config: TrainConfig,
    search: Search,
) -> Callable[[TrainState, TrainBatch, Corpus], tuple[TrainState, dict[str, Array]]]:
    optimizer = make_optimizer(config)

    def train_step(
        state: TrainState, batch: TrainBatch, corpus: Corpus
    ) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(state.key, state.step)

        def loss(params: Any) -> tuple[Array, dict[str, Array]]:
            return _loss(model, config, search, params, state.index, batch, corpus, key)

        grads, metrics = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        decay = jnp.minimum(config.ema, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, state.ema, params)
        metrics["gradient_norm"] = optax.tree.norm(grads)
        new = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema=ema if config.ema else params,
        )
        return new, metrics

    return train_step


def _loss(
    model: Model,
    config: TrainConfig,
    search: Search,
    params: Any,
    index: Any,
    batch: TrainBatch,
    corpus: Corpus,
    key: Array,
) -> tuple[Array, dict[str, Array]]:
    keys = jax.random.split(key, 4)
    variables = {"params": params}
    user: Any = model.apply(
        variables, batch.users, train=True, method="embed_positions", rngs={"dropout": keys[0]}
    )
    items: Any = model.apply(
        variables, corpus.items, train=True, method="embed_items", rngs={"dropout": keys[1]}
    )
    tower = _tower_loss(config, user, items, batch, corpus, keys[2])
    metrics = {"tower_loss": tower}
    total = config.tower_weight * tower
    if config.positions:
        listwise, task = _over_arch_loss(
            model, config, search, variables, index, user, items, batch, corpus, keys[3]
        )
        metrics |= {"list_loss": listwise, "task_loss": task}
        total += config.list_weight * listwise + config.task_weight * task
    metrics["loss"] = total
    return total, metrics


def _tower_loss(
    config: TrainConfig,
    user: Positions,
    items: ItemState,
    batch: TrainBatch,
    corpus: Corpus,
    key: Array,
) -> Array:
    """Sampled softmax of every position over in-batch and uniform negatives."""
    pool = mixed_pool(
        key, batch.targets, corpus.frequency, in_batch=config.in_batch, uniform=config.uniform
    )
    target = jnp.maximum(batch.targets, 0)
    positive = jnp.sum(user.embedding * items.embedding[target], -1)
    negatives = jnp.einsum("bhd,md->bhm", user.embedding, items.embedding[pool.rows])
    keep = (pool.rows >= 0) & (pool.rows != batch.targets[..., None])
    losses = sampled_softmax(positive, negatives, pool.logq, keep)
    learned = batch.targets >= 0
    if config.kept_from_towers:
        learned &= ~batch.held_out
    return masked_mean(losses, learned.astype(jnp.float32))


def _over_arch_loss(
    model: Model,
    config: TrainConfig,
    search: Search,
    variables: Any,
    index: Any,
    user: Positions,
    items: ItemState,
    batch: TrainBatch,
    corpus: Corpus,
    key: Array,
) -> tuple[Array, Array]:
    """Softmax over candidates, and cross entropy per task, at some positions of each window."""
    key_position, key_uniform, key_drop = jax.random.split(key, 3)
    b, h = batch.targets.shape
    n = corpus.frequency.shape[0]
    # Positions to learn from: random ones, those with a target of its own first.
    p = min(config.positions, h)
    own = batch.held_out if config.kept_from_towers else batch.targets >= 0
    absent = (~own).astype(jnp.float32)
    order = jnp.argsort(jax.random.uniform(key_position, (b, h)) + absent, axis=1)
    at = jnp.sort(order[:, :p], axis=1)

    def pick(x: Array) -> Array:
        return jnp.take_along_axis(x, at.reshape(b, p, *[1] * (x.ndim - 2)), axis=1)

    target, label = pick(batch.targets), pick(batch.labels)
    here = state_at(user, at, recent=model.config.tower.recent)
    per = max(1, config.mined // p)
    found = search(index, jax.lax.stop_gradient(here.embedding).reshape(b * p, -1), per)
    mined = found.reshape(b, p * per)
    uniform = jax.vmap(lambda k: uniform_rows(k, n, config.over_arch_uniform))(
        jax.random.split(key_uniform, b)
    )
    rows = jnp.concatenate([target, mined, uniform], 1)
    logq = jnp.concatenate(
        [jnp.zeros(p + p * per), jnp.full(uniform.shape[1], jnp.log(uniform.shape[1] / n))]
    )
    item = jax.tree.map(lambda x: x[jnp.maximum(rows, 0)], items)
    evidence = evidence_of(
        corpus.engagement,
        batch.users,
        rows,
        windows=model.config.engagement.windows,
        at=at,
        day=pick(batch.days),
    )
    logits: Any = model.apply(
        variables, here, item, evidence, train=True, method="score", rngs={"dropout": key_drop}
    )  # [b, p, c, t]
    # [b, p, c]: the column of each position's target; columns it may use as negatives.
    first = first_of_each(rows)
    is_target = (rows[:, None, :] == target[..., None]) & first[:, None, :]
    equal = (batch.users.history[:, :, None] == rows[:, None, :]).astype(jnp.float32)
    upto = (jnp.arange(h) <= at[..., None]).astype(jnp.float32)
    seen = jnp.einsum("bph,bhc->bpc", upto, equal)
    keep = first[:, None, :] & ~is_target & (seen == 0)
    valid = pick(own).astype(jnp.float32)
    positive = jnp.sum(jnp.where(is_target[..., None], logits, 0.0), axis=2)  # [b, p, t]
    listwise = sampled_softmax(
        positive,
        jnp.moveaxis(logits, 3, 2),
        logq,
        jnp.broadcast_to(keep[:, :, None], (*keep.shape[:2], label.shape[-1], keep.shape[2])),
    )
    listwise = masked_mean(listwise, label * valid[..., None])
    weight = jnp.where(keep, jnp.exp(-logq), 0.0)[..., None]
    negative = jnp.sum(binary_cross_entropy(logits, jnp.zeros_like(logits)) * weight, axis=2)
    task = negative + binary_cross_entropy(positive, label)
    return listwise, masked_mean(task.mean(-1), valid)
