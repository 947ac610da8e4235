"""A catalogue, a model and its index, made up but shaped like real ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from experiments.services_study.study import (
    CATEGORIES,
    COUNTRIES,
    LANGUAGES,
    MOST_CATEGORIES,
    Study,
)
from silverjax.batch import Items, Users
from silverjax.engagement import ALIKE, Engagement
from silverjax.model import Model
from silverjax.model_index import index_catalogue
from silverjax.retriever import Retriever

# Topics hold clumps, clumps hold items: topics and clumps are spread by 1, items by 0.7.
_ITEMS_PER_TOPIC, _ITEMS_PER_CLUMP, _SPREAD = 20_000, 200, 0.7


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Filter features as integers; the values of the filter language are the same integers.

    Attributes:
        columns: By feature, int32 [n] or [n, several]; -1 is no value.
        clump: Which clump of the embedding space each item lies in, int32 [n].
    """

    columns: dict[str, np.ndarray]
    clump: np.ndarray

    def attributes(self) -> dict[str, list[Any]]:
        """As `build_index` wants them."""
        made: dict[str, list[Any]] = {}
        for name, column in self.columns.items():
            values = column.tolist()
            several = column.ndim == 2
            made[name] = [[v for v in row if v >= 0] for row in values] if several else values
        return made

    def items(self) -> Items:
        """As the item tower wants them."""
        coded = {name: jnp.asarray(self.columns[name] + 1) for name in ("language", "category")}
        return Items(id=jnp.arange(len(self.clump), dtype=jnp.int32), features=coded)

    def admitted(self, feature: str, value: int) -> np.ndarray:
        """Whether each item has the value, bool [n]."""
        column = self.columns[feature]
        return column == value if column.ndim == 1 else (column == value).any(axis=1)


def make_catalogue(study: Study) -> Catalogue:
    rng = np.random.default_rng(study.seed)
    n = study.items
    category = popular(rng, CATEGORIES, (n, MOST_CATEGORIES), steepness=1.0)
    category[np.arange(MOST_CATEGORIES) >= rng.integers(1, MOST_CATEGORIES + 1, n)[:, None]] = -1
    return Catalogue(
        {
            "language": popular(rng, LANGUAGES, n, steepness=1.5),
            "country": popular(rng, COUNTRIES, n, steepness=1.0),
            "category": category,
            "creator": rng.integers(0, study.creators, n).astype(np.int32),
        },
        clump=rng.integers(0, max(2, n // _ITEMS_PER_CLUMP), n).astype(np.int32),
    )


def popular(
    rng: np.random.Generator, values: int, size: int | tuple[int, ...], *, steepness: float
) -> np.ndarray:
    """Values of which the r-th is drawn in proportion to `r ** -steepness`."""
    chance = np.arange(1, values + 1) ** -steepness
    return rng.choice(values, size, p=chance / chance.sum()).astype(np.int32)


def make_variables(study: Study, catalogue: Catalogue) -> dict[str, Any]:
    """Parameters and index of a `Retriever`: initialised, with item vectors that lie in clumps."""
    rng = np.random.default_rng(study.seed + 1)
    schema, config = study.schema(), study.config()
    items = catalogue.items()
    few = jax.tree.map(lambda column: column[None, :2], items)
    init = jax.jit(Model(schema, config).init)  # compiled as one, an init of seconds, not a minute
    params = init(jax.random.key(study.seed), _nobody(study), few)["params"]
    params = _as_if_trained(params, catalogue, rng)
    index = index_catalogue(
        Retriever(schema, config),
        params,
        items,
        catalogue.attributes(),
        engagement=_engagement(study, rng),
    )
    return {"params": params, "index": {"items": index}}


def _as_if_trained(params: Any, catalogue: Catalogue, rng: np.random.Generator) -> Any:
    """Item vectors in topics and clumps, and a user tower that stays near what the user chose."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    rows, width = flat["items/id"].shape
    clumps = int(catalogue.clump.max()) + 1
    topics = rng.standard_normal((max(2, rows // _ITEMS_PER_TOPIC), width), np.float32)
    centres = rng.standard_normal((clumps, width), np.float32)
    centres += topics[rng.integers(0, len(topics), clumps)]
    table = _SPREAD * rng.standard_normal((rows, width), np.float32)
    table[:-1] += centres[catalogue.clump]
    flat["items/id"] = jnp.asarray(table / width**0.5)
    # At random, labels and attention drown what was chosen; trained, they add to it.
    flat["user_tower/label/kernel"] *= 0.05
    for name in flat:
        if name.startswith("user_tower/blocks_") and name.endswith("kernel"):
            flat[name] *= 0.3
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def _engagement(study: Study, rng: np.random.Generator) -> Engagement:
    sizes = study.config().engagement
    vectors = rng.standard_normal((study.items, ALIKE, sizes.width), np.float32)
    choices = rng.poisson(0.3, (sizes.days + 1, study.items)).astype(np.int32)
    totals = np.cumsum(choices, axis=0, dtype=np.int32)
    return Engagement.of(vectors / np.float32(sizes.width**0.5), totals, first_day=0)


def _nobody(study: Study) -> Users:
    length, schema = study.config().tower.history, study.schema()
    return Users(
        id=jnp.full(1, -1, jnp.int32),
        features={f.name: jnp.zeros(1, jnp.int32) for f in schema.user_features},
        history=jnp.full((1, length), -1, jnp.int32),
        history_labels=jnp.zeros((1, length, len(schema.tasks))),
    )
