"""From a trained model and a catalogue to the model's own index."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from silverjax.attributes import Attributes
from silverjax.batch import Items, take_items
from silverjax.engagement import Engagement, check_engagement, no_engagement
from silverjax.index_builder import build_index
from silverjax.index_config import IndexConfig
from silverjax.item_index import ItemCache, ItemIndex
from silverjax.model import ItemState, Model

_AT_ONCE = 4_096  # items embedded in one call; the last call is padded to it


def index_catalogue(
    model: Model,
    params: Any,
    items: Items,
    attributes: Attributes | None = None,
    config: IndexConfig | None = None,
    *,
    engagement: Engagement | None = None,
) -> ItemIndex:
    """Runs the item tower over a catalogue and builds the index with its cache filled.

    The cache (SilverTorch's embedding cache) holds each item's embedding and its side of the
    OverArch, so the item tower never runs at request time.

    Args:
        model: A `Model` or a `Retriever`.
        params: Its parameters.
        items: The catalogue, leading axis n.
        attributes: Filter features, as for `build_index`.
        config: Sizes of the index; `None` takes the model's own.
        engagement: Of the items, by row; `None` is that nobody has chosen any.

    Raises:
        ValueError: The engagement is of other items or other sizes than the model's.
    """
    config = config or model.config.index
    if engagement is not None:
        check_engagement(engagement, model.config.engagement, items=np.shape(items.id)[0])
    state = embed_catalogue(model, params, items)
    index = build_index(np.asarray(state.embedding), attributes, config)

    def room(column: jax.Array) -> jax.Array:
        widths = [(0, index.capacity - column.shape[0])] + [(0, 0)] * (column.ndim - 1)
        return jnp.pad(column, widths)

    if engagement is None:
        engagement = no_engagement(index.capacity, model.config.engagement)
    engagement = Engagement(
        vectors=room(engagement.vectors),
        scales=room(engagement.scales),
        totals=room(engagement.totals.T).T,
        first_day=engagement.first_day,
    )
    inputs = {name: room(part) for name, part in state.inputs.items()}
    cache = ItemCache(room(state.embedding), inputs, engagement)
    return dataclasses.replace(index, cache=cache)


def embed_catalogue(model: Model, params: Any, items: Items) -> ItemState:
    """Item-tower outputs and OverArch inputs of every item."""
    n = np.shape(items.id)[0]
    parts = []
    for start in range(0, n, _AT_ONCE):
        # Past the end the last item is embedded again, so that every call has one shape.
        rows = jnp.minimum(jnp.arange(start, start + min(_AT_ONCE, n)), n - 1)
        parts.append(_embed(model, params, take_items(items, rows)))
    return jax.tree.map(lambda *columns: jnp.concatenate(columns)[:n], *parts)


@functools.partial(jax.jit, static_argnums=0)
def _embed(model: Model, params: Any, items: Items) -> ItemState:
    state: Any = model.apply({"params": params}, items, method="embed_items")
    return state  # type: ignore[no-any-return]
