"""The methods that `experiments.quality` compares, each from a split to a ranking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from silverjax.config import RetrieverConfig
from silverjax.model import Model
from silverjax.value_model import make_weights
from training.baselines import ALS, BPR, fit, popularity
from training.config import TrainConfig
from training.datasets import Dataset
from training.evaluate import Ranker, Result, evaluate
from training.loop import TrainResult, train
from training.rankers import rank_by_retriever, rank_by_towers
from training.splits import Cases, Split
from training.tuning import Trial, Tuned, tune

FACTORISATIONS = {"als": ALS, "bpr": BPR}

# How the rows of the table are called.
POPULARITY = "popularity"
TUNED = {"als": "ALS, tuned", "bpr": "BPR, tuned"}
TOWERS_ALONE = "two towers trained alone"
TOWERS = "two towers of the pipeline"
PIPELINE = "full pipeline"


@dataclasses.dataclass(frozen=True)
class Setup:
    """What every method is given.

    Attributes:
        dataset: All of it; methods learn from a part of its interactions only.
        split: Which part.
        model: Sizes of the model, the index and the search.
        train: Settings of a training run; the seed is set for each.
        weights: What the Value Model is asked for: weight by task.
    """

    dataset: Dataset
    split: Split
    model: RetrieverConfig
    train: TrainConfig
    weights: Mapping[str, float]

    def evaluated(self, ranker: Ranker, cases: Cases | None = None) -> Result:
        return evaluate(
            ranker,
            self.split.test if cases is None else cases,
            items=self.dataset.schema.items,
            history=self.model.tower.history,
        )


def run_popularity(setup: Setup) -> dict[str, Result]:
    """Nothing is random here, so one run says all."""
    ranker = popularity(setup.split.refit, items=setup.dataset.schema.items)
    return {POPULARITY: setup.evaluated(ranker)}


def tune_factorisation(
    setup: Setup, name: str, progress: Callable[[Trial], None] | None = None
) -> Tuned:
    schema = setup.dataset.schema
    method = FACTORISATIONS[name]
    return tune(method, setup.split, users=schema.users, items=schema.items, progress=progress)


def run_factorisation(
    setup: Setup, name: str, settings: Mapping[str, Any], seed: int
) -> dict[str, Result]:
    """Fits the tuned settings again on training and validation data together."""
    schema = setup.dataset.schema
    factors = fit(
        FACTORISATIONS[name],
        settings,
        setup.split.refit,
        users=schema.users,
        items=schema.items,
        seed=seed,
    )
    return {TUNED[name]: setup.evaluated(factors.ranker())}


def run_towers_alone(setup: Setup, seed: int) -> dict[str, Result]:
    """Two towers that never met an OverArch: its losses are left out of the training.

    With nothing held out there is nothing to begin again for: one schedule over all steps, which
    serves them better.
    """
    trained = _trained(setup, seed, positions=0, refit=0.0)
    return {TOWERS_ALONE: setup.evaluated(_towers(setup, trained))}


def run_pipeline(setup: Setup, seed: int) -> dict[str, Result]:
    """The whole, and its own towers without the rest."""
    trained = _trained(setup, seed)
    schema = setup.dataset.schema
    weights = make_weights(setup.weights, schema.tasks)
    pipeline = rank_by_retriever(
        schema, setup.model, trained.variables, setup.dataset, weights=weights
    )
    return {
        TOWERS: setup.evaluated(_towers(setup, trained)),
        PIPELINE: setup.evaluated(pipeline),
    }


def _trained(setup: Setup, seed: int, **changes: Any) -> TrainResult:
    """A model trained on training and validation data together, with its index."""
    dataset = dataclasses.replace(setup.dataset, interactions=setup.split.refit)
    config = dataclasses.replace(setup.train, seed=seed, **changes)
    return train(dataset, model=setup.model, config=config, progress=True)


def _towers(setup: Setup, trained: TrainResult) -> Ranker:
    model = Model(setup.dataset.schema, setup.model)
    return rank_by_towers(model, trained.variables["params"], setup.dataset)
