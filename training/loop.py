"""The training loop: `train(dataset)` gives a model with its index."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
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
from silverjax.config import RetrieverConfig
from silverjax.index_builder import build_index
from silverjax.index_config import SearchConfig
from silverjax.item_index import ItemIndex
from silverjax.model import Model
from silverjax.model_index import embed_catalogue, index_catalogue
from silverjax.retriever import Retriever
from silverjax.schema import Schema
from training.checkpoints import Checkpoints, settings_of
from training.config import TrainConfig
from training.datasets.dataset import Dataset
from training.input_pipeline import training_batches
from training.metric_log import MetricLog
from training.rankers import items_of
from training.report import Report
from training.train_step import Corpus, TrainBatch, TrainState, make_optimizer, make_train_step

_REPORT_EVERY = 20  # steps; to read metrics is to wait for the device, so not after each


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
    items = items_of(dataset)
    frequency = np.bincount(dataset.interactions.item, minlength=dataset.schema.items)
    corpus = Corpus(items, jnp.asarray(frequency / frequency.sum(), jnp.float32))
    programs = _compiled(dataset.schema, model, dataclasses.replace(config, seed=0))
    batches = iter(
        training_batches(
            dataset, length=model.tower.history, batch=config.batch, seed=config.seed
        )
    )
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(batches.close)
        state = programs.start(batches, corpus, config.seed)
        checkpoints = log = None
        if workdir is not None:
            checkpoints = Checkpoints(workdir, settings_of(dataset, model, config))
            cleanup.callback(checkpoints.close)
            state = checkpoints.restore(state, batches)
            log = MetricLog(workdir, step=int(state.step))
            cleanup.callback(log.close)
        report = cleanup.enter_context(
            Report(steps=config.steps, done=int(state.step), log=log, progress=progress)
        )
        state = _run(
            programs, state, batches, corpus, report, checkpoints, config, checkpoint_every
        )
    params = state.ema if config.ema else state.params
    retriever = Retriever(dataset.schema, model)
    index = index_catalogue(retriever, params, items, dataset.attributes)
    return TrainResult(
        retriever, {"params": params, "index": {"items": index}}, report.last
    )
