"""The training loop: `train(dataset)` gives a model with its index."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from rich.console import Console

from silverjax.ann_search import search
from silverjax.batch import Items, Users
from silverjax.config import RetrieverConfig
from silverjax.index_builder import build_index
from silverjax.item_index import ItemIndex
from silverjax.model import Model
from silverjax.model_index import embed_catalogue, index_catalogue
from silverjax.retriever import Retriever
from silverjax.schema import Schema
from training.checkpoints import Checkpoints, settings_of
from training.config import TrainConfig
from training.datasets.dataset import Dataset, Interactions
from training.engagement import engagement_of, with_co_choices
from training.head_fit import Choices, choices_to_fit, with_fitted_head
from training.held_out import for_towers
from training.input_pipeline import training_batches
from training.metric_log import MetricLog
from training.rankers import items_of
from training.report import DivergedError, Report
from training.train_step import Corpus, TrainState, make_optimizer, make_train_step
from training.warm_start import warm_started


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """A trained model.

    Attributes:
        model: The whole, for `model.apply(variables, request)`.
        variables: `{"params": ..., "index": {"items": ItemIndex}}`.
        metrics: Of the last step; empty if the run had ended before.
    """

    model: Retriever
    variables: dict[str, Any]
    metrics: dict[str, float]


def train(
    dataset: Dataset,
    *,
    model: RetrieverConfig = RetrieverConfig(),  # noqa: B008 (frozen)
    config: TrainConfig = TrainConfig(),  # noqa: B008 (frozen)
    workdir: Path | None = None,
    checkpoint_every: int = 100,
    progress: bool | Console = False,
) -> TrainResult:
    """Trains on all interactions of a data set, and builds the index of the result.

    The result is a function of `dataset`, `model` and `config` alone. With a `workdir`, a run
    that was killed at any moment goes on from its last checkpoint, and ends with the very bits
    of one that never stopped. (On a GPU both hold where XLA is told to be deterministic:
    `XLA_FLAGS=--xla_gpu_deterministic_ops=true`.)

    Args:
        dataset: What to learn from: give one side of a split, to evaluate on the other.
        model: Sizes of the model, the index and the search.
        config: How to train.
        workdir: Folder for checkpoints and metrics; `None` writes nothing.
        checkpoint_every: Steps between two checkpoints; there is always one at the end.
        progress: Show loss, speed and time left, if the terminal (or this `Console`) can.
    Raises:
        CheckpointMismatchError: `workdir` holds a run of other settings or other data.
        DivergedError: The loss or another metric became NaN or infinite.
    """
    if checkpoint_every < 1:
        raise ValueError(f"{checkpoint_every=} must be at least 1")
    seen, items = dataset.interactions, items_of(dataset)
    frequency = np.bincount(seen.item, minlength=dataset.schema.items) / len(seen)
    # Nothing of the held-out choices but their number may reach the towers or the vectors. At the
    # end the co-choices are those of all interactions: OverArch knows what such are worth.
    kept = for_towers(seen, config.kept_from_towers)
    engagement = engagement_of(dataset, model.engagement)
    learned_from = with_co_choices(engagement, kept, dataset.schema, model.engagement)
    corpus = Corpus(items, jnp.asarray(frequency, jnp.float32), learned_from)
    pipeline = training_batches(
        dataset,
        length=model.tower.history,
        batch=config.batch,
        seed=config.seed,
        held_out=config.kept_from_towers,
    )
    state = _initial_state(dataset, kept, model, config, next(iter(pipeline)).users, items)
    batches = iter(pipeline)
    with contextlib.ExitStack() as cleanup:
        checkpoints = log = None
        if workdir is not None:
            checkpoints = Checkpoints(workdir, settings_of(dataset, model, config))
            cleanup.callback(checkpoints.close)
            state = checkpoints.restore(state, batches)
            log = MetricLog(workdir, step=int(state.step))
            cleanup.callback(log.close)
        report = Report(steps=config.steps, done=int(state.step), log=log, progress=progress)
        cleanup.enter_context(report)
        to_fit = functools.partial(
            choices_to_fit,
            dataset,
            config,
            history=model.tower.history,
            excluded=model.search.excluded,
        )
        run = _Run(model, config, dataset.schema, corpus, to_fit, batches, report, log, checkpoints)
        state = run.to_the_end(state, checkpoint_every)
    params = state.ema if config.ema else state.params
    retriever = Retriever(dataset.schema, model)
    index = index_catalogue(retriever, params, items, dataset.attributes, engagement=engagement)
    return TrainResult(retriever, {"params": params, "index": {"items": index}}, report.last)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What the steps of one run share."""

    model: RetrieverConfig
    config: TrainConfig
    schema: Schema
    corpus: Corpus
    to_fit: Callable[[], Choices | None]
    batches: grain.DatasetIterator
    report: Report
    log: MetricLog | None
    checkpoints: Checkpoints | None

    def to_the_end(self, state: TrainState, checkpoint_every: int) -> TrainState:
        """All steps that are left. What happens when depends on the number of the step alone."""
        config = dataclasses.replace(self.config, seed=0)
        try:
            for step in range(int(state.step), config.steps):
                phase = config if step < config.refit_from else config.for_refit()
                if step == config.refit_from:
                    state = self._over_arch_at_rest(state, phase)
                state = self._refreshed(state, step)
                batch = next(self.batches)
                train_step = _compiled_step(self.schema, self.model, phase)
                state, metrics = train_step(state, batch, self.corpus)
                self.report.add(step + 1, metrics, examples=int(np.sum(batch.targets >= 0)))
                if step + 1 == self.config.steps or (step + 1) % checkpoint_every == 0:
                    self._save(state)
        except DivergedError as error:
            raise DivergedError(f"{error}; {self._advice()}") from None
        return state

    def _refreshed(self, state: TrainState, step: int) -> TrainState:
        """With the index of its own items, where it is time for one and OverArch still learns."""
        due = step > 0 and step % self.config.refresh_every == 0
        if not due or state.index is None or step >= self.config.refit_from:
            return state
        self.report.read()  # a NaN is better reported than indexed
        index = _own_index(self.schema, self.model, state.params, self.corpus.items)
        return dataclasses.replace(state, index=index)

    def _over_arch_at_rest(self, state: TrainState, phase: TrainConfig) -> TrainState:
        """With OverArch as it will stay, and an optimiser for what follows."""
        params, ema = state.params, state.ema
        choices = self.to_fit()
        if choices is not None:
            self.report.read()  # a NaN is better reported than fitted
            index = _own_index(self.schema, self.model, params, self.corpus.items)
            model, ridge = Model(self.schema, self.model), self.config.fit_ridge
            params = with_fitted_head(model, params, index, self.corpus, choices, ridge=ridge)
            # It was fitted to the rest of this OverArch, not to that of their mean.
            ema = {**ema, "over_arch": jax.tree.map(jnp.copy, params["over_arch"])}
        opt_state = make_optimizer(phase).init(params)
        return dataclasses.replace(state, params=params, ema=ema, opt_state=opt_state)

    def _save(self, state: TrainState) -> None:
        self.report.read()  # so that no checkpoint holds a NaN
        if self.checkpoints is not None and self.log is not None:
            self.log.sync()
            self.checkpoints.save(state, self.batches)

    def _advice(self) -> str:
        last = self.checkpoints and self.checkpoints.last()
        return (
            f"the last checkpoint is {last or 'none'}. Lower learning_rate="
            f"{self.config.learning_rate} or clip={self.config.clip}, or lengthen warmup="
            f"{self.config.warmup}, and train anew in another folder"
        )


def _initial_state(
    dataset: Dataset,
    kept: Interactions,
    model: RetrieverConfig,
    config: TrainConfig,
    users: Users,
    items: Items,
) -> TrainState:
    """Random parameters, warm item ids, and the index of the items as they embed them."""
    schema, key = dataset.schema, jax.random.key(config.seed)
    one = jax.tree.map(lambda column: column[:1], users)
    params = _initial_params(Model(schema, model), key, one, jax.tree.map(_first, items))
    params = warm_started(
        params,
        kept,
        users=schema.users,
        items=schema.items,
        scale=config.warm_start,
    )
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=make_optimizer(config).init(params),
        ema=jax.tree.map(jnp.copy, params),
        # Only the OverArch learns from mined negatives.
        index=_own_index(schema, model, params, items) if config.positions else None,
        key=key,
    )


def _first(column: Array) -> Array:
    """[n, ...] -> [1, 1, ...]: one candidate of one user."""
    return column[:1][:, None]


@functools.partial(jax.jit, static_argnums=0)
def _initial_params(model: Model, key: Array, users: Users, items: Items) -> Any:
    return model.init(key, users, items)["params"]


@functools.lru_cache(maxsize=8)  # a study trains many seeds: it compiles once
def _compiled_step(
    schema: Schema, model: RetrieverConfig, config: TrainConfig
) -> Callable[..., Any]:
    def mined(index: ItemIndex, queries: Float[Array, "n dim"], k: int) -> Int[Array, "n k"]:
        probes = model.search.fitted(index.clusters, index.slots_per_cluster).probes
        return search(index, queries, k=k, probes=probes).rows

    return jax.jit(make_train_step(Model(schema, model), config, mined), donate_argnums=0)


def _own_index(schema: Schema, model: RetrieverConfig, params: Any, items: Items) -> ItemIndex:
    """The model's index as its item tower stands; always of the same shapes."""
    # Nobody filters here, so nothing is spent on attributes.
    sizes = dataclasses.replace(
        model.index, columns=0, bloom_bits=32, terms=1, vocabulary=1, keep_embeddings=False
    )
    embeddings = embed_catalogue(Model(schema, model), params, items).embedding
    # Copied because the step donates its state, and these arrays may be NumPy's memory.
    index: ItemIndex = jax.tree.map(jnp.copy, build_index(np.asarray(embeddings), None, sizes))
    return index
