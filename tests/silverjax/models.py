"""A small untrained model with its index and catalogue, for tests of what surrounds it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from silverjax.batch import Items, Users
from silverjax.catalogue import Catalogue
from silverjax.config import RetrieverConfig, TowerConfig
from silverjax.engagement import ALIKE, Engagement, EngagementConfig
from silverjax.index_config import IndexConfig, SearchConfig
from silverjax.model import Model
from silverjax.model_index import index_catalogue
from silverjax.retriever import Retriever
from silverjax.schema import Feature, FeatureKind, Schema
from tests.compiled import init

ITEMS, USERS, BATCH = 300, 20, 4
SCHEMA = Schema(
    users=USERS,
    items=ITEMS,
    user_features=(Feature("age", FeatureKind.CATEGORICAL, 5),),
    item_features=(Feature("genre", FeatureKind.MULTI, 9, 3),),
    tasks=("chosen", "liked", "disliked"),
)
CONFIG = RetrieverConfig(
    tower=TowerConfig(dim=16, width=16, history=6, layers=1),
    index=IndexConfig(clusters=6),
    engagement=EngagementConfig(width=4, days=9, windows=(1, 3)),
    search=SearchConfig(k=7, candidates=40, probes=2, excluded=8),
)


def item_features(seed: int = 0) -> tuple[Items, dict[str, list[list[str]]]]:
    """Items with one to three genres, and the same as filter attributes."""
    genre = np.random.default_rng(seed).integers(0, 9, (ITEMS, 3)).astype(np.int32)
    items = Items(id=jnp.arange(ITEMS, dtype=jnp.int32), features={"genre": jnp.asarray(genre)})
    return items, {"genre": [sorted({str(g) for g in row} - {"0"}) for row in genre.tolist()]}


def users_of(ids: list[int], seed: int = 1) -> Users:
    """Users with histories of different lengths; the last one has none."""
    rng = np.random.default_rng(seed)
    history = rng.integers(0, ITEMS, (len(ids), 6)).astype(np.int32)
    history[1, :4] = -1
    history[-1] = -1
    ages = np.array([max(i, 0) % 5 for i in ids], np.int32)
    return Users(
        id=jnp.asarray(ids, jnp.int32),
        features={"age": jnp.asarray(ages)},
        history=jnp.asarray(history),
        history_labels=jnp.ones((len(ids), 6, 3), jnp.float32),
    )


def some_users() -> Users:
    """A batch with two known users and two strangers."""
    return users_of([3, 7, -1, -1])


def make_engagement(seed: int = 2) -> Engagement:
    """Random co-choices, and nine days of choices."""
    rng, sizes = np.random.default_rng(seed), CONFIG.engagement
    counts = rng.poisson(0.5, (sizes.days + 1, ITEMS))
    vectors = rng.normal(size=(ITEMS, ALIKE, sizes.width)).astype(np.float32)
    return Engagement.of(vectors, np.cumsum(counts, axis=0).astype(np.int32), first_day=100)


def make_variables() -> dict:
    """Random parameters, and the index of the catalogue under them."""
    items, attributes = item_features()
    candidates = jax.tree.map(lambda column: jnp.stack([column[:5]] * BATCH), items)
    params = init(Model(SCHEMA, CONFIG))(jax.random.key(0), some_users(), candidates)["params"]
    retriever, engagement = Retriever(SCHEMA, CONFIG), make_engagement()
    index = index_catalogue(retriever, params, items, attributes, engagement=engagement)
    return {"params": params, "index": {"items": index}}


def make_catalogue() -> Catalogue:
    items, attributes = item_features()
    users = users_of(list(range(USERS)))
    return Catalogue(
        item_ids=[f"i{row}" for row in range(ITEMS)],
        titles=[f"Item {row}" for row in range(ITEMS)],
        attributes=attributes,
        items=items,
        user_ids=[f"u{row}" for row in range(USERS)],
        users=users,
        seen=[[row for row in history if row >= 0] for history in users.history.tolist()],
    )
