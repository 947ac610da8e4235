"""OverArch's linear head, fitted to held-out choices over the candidates that requests bring.

The steps see few candidates at a time, most of them easy, and in some hundred of them the weights
of the signals hardly leave where they began. So before the towers learn from all choices, the part
of OverArch in which its logits are linear is fitted to the end: to held-out choices, each as the
request that it would have been, over all candidates of the search.
Of each task's logit z over candidates j with signals x_j,

    minimise over d:  sum_choices -log softmax_j(z_j + <d, x_j / s>)[chosen] + ridge * |d|^2

with s the signals' spread within a request: a convex problem, solved by Newton's method, that
begins at d = 0, where the steps left it, and stays near it. A softmax says nothing of the level, on
which the Value Model's sum of probabilities depends; it is then set so that as many choices are
expected as there were.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from silverjax.ann_search import search
from silverjax.batch import Users
from silverjax.engagement import SECONDS_PER_DAY, Engagement, evidence_of
from silverjax.item_index import ItemIndex
from silverjax.model import ItemState, Model
from silverjax.model_index import embed_catalogue
from training.config import TrainConfig
from training.datasets.dataset import Dataset
from training.held_out import held_out
from training.losses import MASKED
from training.train_step import Corpus
from training.windows import Windows

_AT_ONCE = 256  # choices in one call; the last call is padded to it
_ITERATIONS, _TOLERANCE = 30, 1e-4  # steps of Newton, and the change that is as good as none
_LENGTHS = (1.0, 0.5, 0.25, 0.125, 0.0)  # of a step: what lowers the loss most is taken


@flax.struct.dataclass
class Choices:
    """Choices as a request would meet them, one row each.

    Attributes:
        users: Who chose, with the history before the choice.
        chosen: Item rows.
        labels: Task labels of the choices.
        seen: Rows of items chosen before, -1 as padding.
    """

    users: Users
    chosen: Int[Array, "n"]
    labels: Float[Array, "n tasks"]
    seen: Int[Array, "n e"]


@flax.struct.dataclass
class Signals:
    """What the logits of candidates are made of.

    Attributes:
        logits: As OverArch stands.
        columns: What the head weighs: the signals, and the item's bias as one more.
        known: False past the last candidate.
        chosen: Where the chosen item is among them.
    """

    logits: Float[Array, "n k tasks"]
    columns: Float[Array, "n k tasks s"]
    known: Bool[Array, "n k"]
    chosen: Bool[Array, "n k"]


def choices_to_fit(
    dataset: Dataset, config: TrainConfig, *, history: int, excluded: int
) -> Choices | None:
    """Held-out choices that are not their users' first, or `None` without any.

    Args:
        dataset: Interactions and user features.
        config: Says what is held out, and how many choices to take at most.
        history: Most recent items to give.
        excluded: Most seen items to name.
    """
    seen = dataset.interactions
    ours = held_out(seen.user, config.kept_from_towers)
    days = seen.time // SECONDS_PER_DAY
    windows = Windows(seen.user, seen.item, seen.labels, days, ours, length=history, stride=1)
    starts = np.repeat(windows.starts, windows.ends - windows.starts)
    rows = np.flatnonzero(windows.held_out & (np.arange(len(starts)) > starts))
    if len(rows) > config.fit_choices:
        drawn = np.random.default_rng(config.seed).permutation(len(rows))[: config.fit_choices]
        rows = rows[np.sort(drawn)]
    if not len(rows):
        return None
    start, at = starts[rows], rows
    user, past, past_labels, chosen, labels, day, _ = windows.take(np.stack([start, at + 1, at], 1))
    before = at[:, None] - np.arange(min(excluded, int((at - start).max())), 0, -1)
    there = before >= start[:, None]
    users = Users(
        id=jnp.asarray(user),
        features={name: jnp.asarray(v[user]) for name, v in dataset.user_features.items()},
        history=jnp.asarray(past),
        history_labels=jnp.asarray(past_labels),
        day=jnp.asarray(day[:, -1]),
    )
    names = np.where(there, windows.item[np.maximum(before, 0)], -1).astype(np.int32)
    return Choices(
        users, jnp.asarray(chosen[:, -1]), jnp.asarray(labels[:, -1]), jnp.asarray(names)
    )


def with_fitted_head(
    model: Model, params: Any, index: ItemIndex, corpus: Corpus, choices: Choices, *, ridge: float
) -> Any:
    """The parameters with OverArch's head fitted to `choices`; a function of the arguments alone.

    Args:
        model: The model.
        params: Of it; towers that have not learned from the choices.
        index: Of the items as the towers embed them.
        corpus: The catalogue, and engagement that does not know of the choices either.
        choices: What to fit to.
        ridge: Keeps the head near where it was.
    """
    n = len(choices.chosen)
    items = embed_catalogue(model, params, corpus.items)
    parts = []
    for first in range(0, n, _AT_ONCE):
        rows = jnp.minimum(jnp.arange(first, first + _AT_ONCE), n - 1)
        some = jax.tree.map(lambda column, rows=rows: column[rows], choices)
        parts.append(_signals(model, params, index, items, corpus.engagement, some))
    signals = jax.tree.map(lambda *columns: jnp.concatenate(columns)[:n], *parts)
    change, level = _solved(signals, choices.labels, ridge)
    return _moved(params, change, level)


def solve(
    signals: Signals, labels: Float[Array, "n tasks"], ridge: Float[ArrayLike, ""]
) -> tuple[Float[Array, "s tasks"], Float[Array, "tasks"]]:
    """The head's change along each direction, and that of the logits' level, for each task."""
    x, spread = _standardised(signals)
    logits = jnp.moveaxis(jnp.where(signals.known[..., None], signals.logits, MASKED), 2, 0)
    found = signals.chosen.any(axis=1).astype(jnp.float32)
    there = labels.T * found  # [tasks, n]
    of_chosen = jnp.einsum("tn,nk,tnks->ts", there, signals.chosen.astype(jnp.float32), x)

    def loss(scores: Float[Array, "tasks n k"], change: Float[Array, "tasks s"]) -> Array:
        chosen = jnp.sum(jnp.where(signals.chosen, scores, 0.0), axis=2)
        unlikely = (jax.nn.logsumexp(scores, axis=2) - chosen) * there
        return jnp.sum(unlikely, axis=1) + ridge * jnp.sum(change**2, axis=1)

    def newton(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, change, _ = carry
        scores = logits + jnp.einsum("tnks,ts->tnk", x, change)
        p = jax.nn.softmax(scores, axis=2) * there[..., None]
        mean = jnp.einsum("tnk,tnks->tns", p, x)  # 0 where there is no choice
        slope = jnp.sum(mean, axis=1) - of_chosen + 2.0 * ridge * change
        curvature = jnp.einsum("tnks,tnkr->tsr", p[..., None] * x, x)
        curvature -= jnp.einsum("tns,tnr->tsr", mean, mean)
        curvature += 2.0 * ridge * jnp.eye(x.shape[3])
        step = -jnp.linalg.solve(curvature, slope[..., None])[..., 0]
        along = jnp.einsum("tnks,ts->tnk", x, step)
        losses = jnp.stack([loss(scores + a * along, change + a * step) for a in _LENGTHS])
        step = jnp.asarray(_LENGTHS)[jnp.argmin(losses, axis=0)][:, None] * step
        return count + 1, change + step, jnp.max(jnp.abs(step))

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        return (carry[0] < _ITERATIONS) & (carry[2] > _TOLERANCE)

    start = jnp.zeros_like(of_chosen)
    _, change, _ = jax.lax.while_loop(
        unfinished, newton, (jnp.int32(0), start, jnp.float32(jnp.inf))
    )
    change = (change / spread).T
    moved = signals.logits + jnp.einsum("nkts,st->nkt", signals.columns, change)
    return change, _level(moved, signals.known[..., None], jnp.sum(there, axis=1))


_solved = jax.jit(solve)


def _standardised(
    signals: Signals,
) -> tuple[Float[Array, "tasks n k s"], Float[Array, "tasks s"]]:
    """The columns about their means in each request, over their spread; 1 where that is 0."""
    known = signals.known[..., None].astype(jnp.float32)
    x = jnp.moveaxis(signals.columns, 2, 0)
    count = jnp.maximum(jnp.sum(known, axis=1, keepdims=True), 1.0)
    x = (x - jnp.sum(x * known, axis=2, keepdims=True) / count) * known
    variance = jnp.sum(x**2, axis=(1, 2)) / jnp.maximum(jnp.sum(known), 1.0)
    spread = jnp.where(variance > 0, jnp.sqrt(variance), 1.0)
    return x / spread[:, None, None], spread


def _level(
    logits: Float[Array, "n k tasks"], known: Bool[Array, "n k 1"], wanted: Float[Array, "tasks"]
) -> Float[Array, "tasks"]:
    """What to add so that the probabilities of each task sum to `wanted`; 0 where that is none."""

    def half(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2.0
        expected = jnp.sum(jnp.where(known, jax.nn.sigmoid(logits + middle), 0.0), axis=(0, 1))
        return jnp.where(expected < wanted, middle, low), jnp.where(expected < wanted, high, middle)

    # Between where even the largest, and even the smallest, would give the mean that is wanted.
    share = jnp.clip(wanted / jnp.maximum(jnp.sum(known), 1), 1e-9, 1.0 - 1e-6)
    odds = jnp.log(share) - jnp.log1p(-share)
    low = odds - jnp.max(logits, axis=(0, 1), where=known, initial=MASKED)
    high = odds - jnp.min(logits, axis=(0, 1), where=known, initial=-MASKED)
    low, high = jax.lax.fori_loop(0, 40, half, (low, high))
    return jnp.where(wanted > 0, (low + high) / 2.0, 0.0)


@functools.partial(jax.jit, static_argnums=0)
def _signals(
    model: Model,
    params: Any,
    index: ItemIndex,
    items: ItemState,
    engagement: Engagement,
    choices: Choices,
) -> Signals:
    variables = {"params": params}
    user: Any = model.apply(variables, choices.users, method="embed_users")
    sizes = model.config.search.fitted(index.clusters, index.slots_per_cluster)
    found = search(
        index, user.embedding, k=sizes.candidates, probes=sizes.probes, exclude=choices.seen
    )
    windows = model.config.engagement.windows
    evidence = evidence_of(engagement, choices.users, found.rows, windows=windows)
    item = jax.tree.map(lambda column: column[jnp.maximum(found.rows, 0)], items)
    scored: Any = model.apply(
        variables, user, item, evidence, method="score", mutable="intermediates"
    )
    logits, told = scored
    (signals,) = told["intermediates"]["over_arch"]["evidence"]["signals"]
    tasks = logits.shape[2]
    same = jnp.repeat(signals.swapaxes(1, 2)[:, :, None], tasks, axis=2)
    bias = item.inputs["bias"][..., None]
    return Signals(
        logits=logits,
        columns=jnp.concatenate([same, bias], axis=-1),
        known=found.rows >= 0,
        chosen=found.rows == choices.chosen[:, None],
    )


def _moved(params: Any, change: Float[Array, "s tasks"], level: Float[Array, "tasks"]) -> Any:
    over_arch = params["over_arch"]
    evidence, bias = over_arch["evidence"], over_arch["item_bias"]
    evidence = {**evidence, "linear": evidence["linear"] + change[:-1]}
    bias = jax.tree.map(lambda column: column * (1.0 + change[-1]), bias)
    bias["bias"] = bias["bias"] + level
    return {**params, "over_arch": {**over_arch, "evidence": evidence, "item_bias": bias}}
