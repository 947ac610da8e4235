"""From a trained model to a published snapshot: index, catalogue, one version."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from silverjax.batch import Users, pad_histories
from silverjax.catalogue import Catalogue
from silverjax.config import RetrieverConfig
from silverjax.model_index import index_catalogue
from silverjax.retriever import Retriever
from silverjax.snapshot import publish
from training.datasets.dataset import Dataset
from training.engagement import engagement_of
from training.rankers import items_of


def publish_model(
    root: Path,
    *,
    dataset: Dataset,
    config: RetrieverConfig,
    params: Any,
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Builds the model's index and publishes all of it as the next version.

    Args:
        root: Folder of the versions.
        dataset: The catalogue, the users, and the interactions that make their histories.
        config: Of the model.
        params: As trained.
        info: For the manifest.
    """
    retriever = Retriever(dataset.schema, config)
    engagement = engagement_of(dataset, config.engagement)
    index = index_catalogue(
        retriever, params, items_of(dataset), dataset.attributes, engagement=engagement
    )
    return publish(
        root,
        variables={"params": params, "index": {"items": index}},
        config=config,
        schema=dataset.schema,
        catalogue=catalogue_of(dataset, history=config.tower.history),
        info={"dataset": dataset.name, **(info or {})},
    )


def catalogue_of(dataset: Dataset, *, history: int) -> Catalogue:
    """Names, features and histories of a data set, as its interactions leave them."""
    chosen = dataset.interactions
    order = np.argsort(chosen.user, kind="stable")  # by user; within a user by time
    ends = np.searchsorted(chosen.user[order], np.arange(dataset.schema.users), side="right")
    runs = np.split(order, ends[:-1])
    rows, labels = pad_histories(
        [chosen.item[run].tolist() for run in runs],
        [chosen.labels[run] for run in runs],
        length=history,
        tasks=len(dataset.schema.tasks),
    )
    columns: dict[str, Any] = {
        "id": np.arange(dataset.schema.users, dtype=np.int32),
        "features": dict(dataset.user_features),
        "history": rows,
        "history_labels": labels,
    }
    return Catalogue(
        item_ids=dataset.item_ids.tolist(),
        titles=list(dataset.titles),
        attributes={name: [list(v) for v in values] for name, values in dataset.attributes.items()},
        items=items_of(dataset),
        user_ids=dataset.user_ids.tolist(),
        users=Users(**columns),
        # Each item once, where it was chosen last.
        seen=[list(dict.fromkeys(chosen.item[run].tolist()[::-1]))[::-1] for run in runs],
    )


def with_interactions(dataset: Dataset, interactions: Any) -> Dataset:
    """The same users and items with other interactions, such as one side of a split."""
    return dataclasses.replace(dataset, interactions=interactions)
