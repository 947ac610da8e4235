"""A run small enough to train many times. `python -m tests.training.tiny FOLDER` trains it."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path

from silverjax.config import OverArchConfig, RetrieverConfig, TowerConfig
from silverjax.index_config import SearchConfig
from training.config import TrainConfig
from training.datasets.dataset import Dataset
from training.datasets.synthetic import generate
from training.loop import TrainResult, train

MODEL = RetrieverConfig(
    tower=TowerConfig(dim=8, width=8, history=6, layers=1, heads=1),
    over_arch=OverArchConfig(kind="cross", hidden=8, cross_layers=1, attention_heads=1),
    search=SearchConfig(k=5, candidates=16, probes=2),
)
# Refreshes of the index fall between checkpoints, and epochs end within batches.
CONFIG = TrainConfig(
    steps=24,
    refit=0.2,
    learning_rate=0.002,
    batch=16,
    warmup=2,
    in_batch=16,
    uniform=16,
    positions=2,
    mined=4,
    over_arch_uniform=4,
    refresh_every=5,
)
CHECKPOINT_EVERY = 4


@functools.cache
def dataset(seed: int = 0) -> Dataset:
    return generate(users=40, items=200, interactions=600, groups=4, seed=seed)[0]


def run(workdir: Path | None = None, *, seed: int = 0) -> TrainResult:
    config = dataclasses.replace(CONFIG, seed=seed)
    return train(
        dataset(), model=MODEL, config=config, workdir=workdir, checkpoint_every=CHECKPOINT_EVERY
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]))
