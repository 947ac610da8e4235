from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silverjax import RetrieverConfig, SearchConfig
from silverjax.batch import take_items
from silverjax.config import OverArchConfig, TowerConfig
from silverjax.engagement import no_engagement
from silverjax.model import Model
from silverjax.model_index import index_catalogue
from silverjax.quantize import dequantize, quantize
from silverjax.value_model import make_weights
from tests.compiled import apply, init, known_of
from training.datasets import Dataset, synthetic
from training.evaluate import Batch, batches
from training.rankers import items_of, rank_by_retriever, rank_by_towers, users_of
from training.splits import leave_last_out

CONFIG = RetrieverConfig(
    tower=TowerConfig(dim=16, width=16, history=6, layers=1, heads=1),
    over_arch=OverArchConfig(component_dim=8, user_components=2, item_components=2, hidden=8),
    search=SearchConfig(k=5, candidates=120, probes=2),
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.generate(users=40, items=200, interactions=600, groups=4)[0]


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> Model:
    return Model(dataset.schema, CONFIG)


@pytest.fixture(scope="module")
def batch(dataset: Dataset) -> Batch:
    """The last users, fewer than a batch, so that some rows are padding."""
    cases = leave_last_out(dataset.interactions).test
    *_, (at, last) = batches(cases, history=6, batch=16)
    assert 0 < len(at) < 16
    return last


@pytest.fixture(scope="module")
def params(dataset: Dataset, model: Model, batch: Batch) -> Any:
    pairs = jnp.zeros((len(batch.user), 1), jnp.int32)
    items = take_items(items_of(dataset), pairs)
    return init(model)(jax.random.key(0), users_of(dataset, batch), items)["params"]


def test_users_of_gives_each_user_the_own_profile(dataset: Dataset, batch: Batch) -> None:
    users = users_of(dataset, batch)
    known = batch.user >= 0
    for name, values in dataset.user_features.items():
        np.testing.assert_array_equal(
            np.asarray(users.features[name])[known], values[batch.user[known]]
        )
    np.testing.assert_array_equal(np.asarray(users.id), batch.user)


def test_rank_by_towers_sorts_by_inner_product(
    dataset: Dataset, model: Model, params: Any, batch: Batch
) -> None:
    ranked = np.asarray(rank_by_towers(model, params, dataset)(batch, 10))
    user: Any = apply(model, "embed_users")({"params": params}, users_of(dataset, batch))
    item: Any = apply(model, "embed_items")({"params": params}, items_of(dataset))
    scores = np.asarray(user.embedding, np.float64) @ np.asarray(item.embedding, np.float64).T
    for row, seen in zip(range(len(batch.user)), batch.exclude):
        own = scores[row].copy()
        own[seen[seen >= 0]] = -np.inf
        # By score, not by place: float32 may swap what is equal in six digits.
        np.testing.assert_allclose(own[ranked[row]], np.sort(own)[::-1][:10], rtol=1e-4, atol=1e-6)


def test_rank_by_retriever_sorts_all_candidates_by_value(
    dataset: Dataset, model: Model, params: Any, batch: Batch
) -> None:
    """With room for every item among the candidates, the ranking is OverArch's own."""
    config = dataclasses.replace(CONFIG, search=SearchConfig(k=5, candidates=512, probes=64))
    index = index_catalogue(model, params, items_of(dataset), dataset.attributes)
    weights = make_weights({"watched": 1.0}, dataset.schema.tasks)
    variables = {"params": params, "index": {"items": index}}
    ranker = rank_by_retriever(dataset.schema, config, variables, dataset, weights=weights)
    ranked = np.asarray(ranker(batch, 10))

    every = jnp.broadcast_to(jnp.arange(200), (len(batch.user), 200))
    items = take_items(items_of(dataset), every)
    users, variables = users_of(dataset, batch), {"params": params}
    user: Any = apply(model, "embed_users")(variables, users)
    item: Any = apply(model, "embed_items")(variables, items)
    user, item = (  # as the search compares them
        dataclasses.replace(side, embedding=dequantize(*quantize(side.embedding)))
        for side in (user, item)
    )
    nobody = no_engagement(200, CONFIG.engagement)
    evidence = known_of(nobody, users, every, windows=CONFIG.engagement.windows)
    logits: Any = apply(model, "score")(variables, user, item, evidence)
    values = np.asarray(jax.nn.sigmoid(logits[..., 0]), np.float64)
    for row, seen in zip(range(len(batch.user)), batch.exclude):
        own = values[row].copy()
        own[seen[seen >= 0]] = -np.inf
        assert len(set(ranked[row])) == 10
        np.testing.assert_allclose(own[ranked[row]], np.sort(own)[::-1][:10], rtol=1e-4)


def test_rank_by_retriever_probes_further_where_k_asks_for_it(
    dataset: Dataset, model: Model, params: Any, batch: Batch
) -> None:
    config = dataclasses.replace(CONFIG, search=SearchConfig(k=5, candidates=5, probes=1))
    index = index_catalogue(model, params, items_of(dataset), dataset.attributes)
    k = index.slots_per_cluster + 1  # more than one cluster can hold
    variables = {"params": params, "index": {"items": index}}
    weights = make_weights({"watched": 1.0}, dataset.schema.tasks)
    ranked = rank_by_retriever(dataset.schema, config, variables, dataset, weights=weights)(
        batch, k
    )
    assert ranked.shape == (len(batch.user), k)
    assert (np.asarray(ranked) >= 0).all()
