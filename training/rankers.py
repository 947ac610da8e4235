"""Trained models as rankers for `training.evaluate`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from silverjax.batch import Items, Users
from silverjax.config import RetrieverConfig
from silverjax.model import Model
from silverjax.model_index import embed_catalogue
from silverjax.retriever import Request, Retriever
from silverjax.schema import Schema
from silverjax.value_model import ValueWeights
from training.datasets.dataset import Dataset
from training.evaluate import Batch, Ranker, rank_by_scores


def users_of(dataset: Dataset, batch: Batch) -> Users:
    """What the model is told about the users of a batch: profile and history."""
    rows = np.maximum(batch.user, 0)
    return Users(
        id=jnp.asarray(batch.user),
        features={
            name: jnp.asarray(values[rows]) for name, values in dataset.user_features.items()
        },
        history=jnp.asarray(batch.history),
        history_labels=jnp.asarray(batch.history_labels),
        day=jnp.asarray(batch.day),
    )


def items_of(dataset: Dataset) -> Items:
    """The whole catalogue."""
    return Items(
        id=jnp.arange(dataset.schema.items),
        features={name: jnp.asarray(values) for name, values in dataset.item_features.items()},
    )


def rank_by_towers(model: Model, params: Any, dataset: Dataset) -> Ranker:
    """Ranks by the inner product of the two towers in float32: no index, no OverArch.

    What OverArch and the Value Model add is measured against this.
    """
    embeddings = embed_catalogue(model, params, items_of(dataset)).embedding

    def scores(batch: Batch) -> Array:
        return _inner_products(model, params, users_of(dataset, batch), embeddings)

    return rank_by_scores(scores)


def rank_by_retriever(
    schema: Schema,
    config: RetrieverConfig,
    variables: Any,
    dataset: Dataset,
    *,
    weights: ValueWeights,
) -> Ranker:
    """Ranks by the whole pipeline, index and all, as a server would.

    Args:
        schema: Of the model.
        config: Of the model; the number of items returned is set by the evaluation.
        variables: Parameters and index.
        dataset: Profiles of the users.
        weights: Of one request, float32 [1, tasks]; used for all.
    """

    slots = variables["index"]["items"].slots_per_cluster

    @functools.cache
    def compiled(k: int) -> Any:
        search = dataclasses.replace(
            config.search,
            k=k,
            candidates=max(k, config.search.candidates),
            # Where so few clusters are probed that k items may not lie in them, a few more.
            probes=max(config.search.probes, -(-k // slots)),
        )
        return jax.jit(Retriever(schema, dataclasses.replace(config, search=search)).apply)

    def ranker(batch: Batch, k: int) -> Array:
        size = len(batch.user)
        request = Request(
            users=users_of(dataset, batch),
            weights=jax.tree.map(lambda row: jnp.repeat(row, size, axis=0), weights),
            exclude=jnp.asarray(batch.exclude),
        )
        rows: Array = compiled(k)(variables, request).rows
        return rows

    return ranker


@functools.partial(jax.jit, static_argnums=0)
def _inner_products(
    model: Model, params: Any, users: Users, embeddings: Float[Array, "items dim"]
) -> Float[Array, "batch items"]:
    user: Any = model.apply({"params": params}, users, method="embed_users")
    # Accelerators would otherwise multiply in fewer bits.
    return jnp.matmul(user.embedding, embeddings.T, precision=jax.lax.Precision.HIGHEST)
