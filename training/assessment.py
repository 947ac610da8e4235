"""The proof of a snapshot: quality against comparators, and the index against brute force."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np

from silverjax.model import Model
from silverjax.snapshot import Snapshot
from silverjax.value_model import ValueWeights, make_weights
from training.baselines import ALS, BPR, fit, popularity
from training.datasets import Dataset
from training.evaluate import Ranker, batches, evaluate
from training.index_check import (
    IndexLoss,
    index_searcher,
    measure_index_loss,
    representative_filters,
)
from training.rankers import rank_by_retriever, rank_by_towers, users_of
from training.splits import Split

# Settings that the grid of `training.tuning` chose on MovieLens 100K; the studies tune afresh.
TUNED_ALS = {"factors": 128, "regularization": 10.0, "alpha": 2.0, "iterations": 16}
TUNED_BPR = {"factors": 128, "regularization": 0.002, "learning_rate": 0.003, "iterations": 320}


@dataclasses.dataclass(frozen=True)
class Assessment:
    """Figures of one snapshot.

    Attributes:
        quality: Metrics by method.
        index_loss: By setting of the search, then `plain` or the share a filter admits.
    """

    quality: dict[str, dict[str, float]]
    index_loss: dict[str, dict[str, IndexLoss]]


def assess(
    snapshot: Snapshot,
    dataset: Dataset,
    split: Split,
    *,
    comparators: bool = True,
    told: Callable[[str], None] = lambda step: None,
) -> Assessment:
    """Evaluates on what the split held back.

    Args:
        snapshot: Published from a run on the split's own training side.
        dataset: With the interactions that the model learned from.
        split: Gives the cases.
        comparators: Also fit popularity and, where `implicit` is installed, ALS and BPR.
        told: Called with the name of each step as it begins.
    """
    quality = {}
    for name, ranker in _rankers(snapshot, dataset, comparators):
        told(f"evaluating {name}")
        result = evaluate(
            ranker(),
            split.test,
            items=dataset.schema.items,
            history=snapshot.config.tower.history,
        )
        quality[name] = result.metrics
    told("comparing the index with brute force")
    return Assessment(quality, losses(snapshot, dataset, split))


def default_weights(snapshot: Snapshot) -> ValueWeights:
    """Engagement alone, which is what ranking metrics ask for."""
    return make_weights({snapshot.schema.tasks[0]: 1.0}, snapshot.schema.tasks)


def losses(
    snapshot: Snapshot, dataset: Dataset, split: Split, *, k: int = 100
) -> dict[str, dict[str, IndexLoss]]:
    """What the index loses of the exact top k: quantisation alone, and with few clusters probed."""
    index = snapshot.variables["index"]["items"]
    items = len(snapshot.catalogue.item_ids)
    embeddings = np.asarray(index.cache.embeddings)[:items]
    queries = user_embeddings(snapshot, dataset, split)
    filters = representative_filters(dataset.attributes, per_share=8)
    sizes = snapshot.config.search.fitted(index.clusters, index.slots_per_cluster)
    k = min(k, items, sizes.probes * index.slots_per_cluster)
    settings = {
        "all clusters": (index.clusters, None),
        "all clusters, rescored": (index.clusters, 1.5),
        f"{sizes.probes} of {index.clusters} clusters": (sizes.probes, None),
    }
    return {
        name: measure_index_loss(
            index_searcher(index, k=k, probes=probes, rescore=rescore),
            embeddings,
            queries,
            filters,
            k=k,
        )
        for name, (probes, rescore) in settings.items()
    }


def user_embeddings(snapshot: Snapshot, dataset: Dataset, split: Split) -> np.ndarray:
    """User-tower outputs of the split's test cases, float32 [cases, dim]."""
    model = Model(snapshot.schema, snapshot.config)
    params = {"params": snapshot.variables["params"]}
    parts = []
    for at, batch in batches(split.test, history=snapshot.config.tower.history):
        users = users_of(dataset, batch)
        state = model.apply(params, users, method="embed_users")
        parts.append(np.asarray(state.embedding)[: len(at)])  # type: ignore[union-attr]
    return np.concatenate(parts)


def _rankers(
    snapshot: Snapshot, dataset: Dataset, comparators: bool
) -> Iterator[tuple[str, Callable[[], Ranker]]]:
    model = Model(snapshot.schema, snapshot.config)
    schema, chosen = snapshot.schema, dataset.interactions
    if comparators:
        yield "popularity", lambda: popularity(chosen, items=schema.items)
        if importlib.util.find_spec("implicit"):
            for name, method, settings in (("ALS", ALS, TUNED_ALS), ("BPR", BPR, TUNED_BPR)):
                yield (
                    name,
                    lambda method=method, settings=settings: fit(  # type: ignore[misc]
                        method,
                        settings,
                        chosen,
                        users=schema.users,
                        items=schema.items,
                        seed=0,
                    ).ranker(),
                )
    params = snapshot.variables["params"]
    yield "two towers", lambda: rank_by_towers(model, params, dataset)
    yield (
        "full pipeline",
        lambda: rank_by_retriever(
            schema,
            snapshot.config,
            snapshot.variables,
            dataset,
            weights=default_weights(snapshot),
        ),
    )
