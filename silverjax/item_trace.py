"""One request and one item: what the stages make of that item, whether or not it is returned."""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from pallas_kernels.bloom_probe.api import BLOCK, bloom_probe
from pallas_kernels.int8_search.api import int8_search
from silverjax.ann_search import affinities, slots_of
from silverjax.item_index import ItemIndex
from silverjax.retriever import Request, Retriever
from silverjax.value_model import value


@flax.struct.dataclass
class ItemTrace:
    """All that is needed to say which stage kept or dropped an item.

    Notation: C clusters; one item a row of the batch.

    Attributes:
        cluster: Where the item lies, -1 if the index does not have it.
        affinity: Of the user to all clusters.
        admitted: Slots of each cluster that the words of the filter admit.
        probed: Live items that were searched, as in `Funnel`.
        similarity: Of the item to the user, as the int8 search computes it.
        probabilities: Of the item, by task.
        value: Of the item.
        candidates: Rows that the search handed to the OverArch, -1 past the last.
        similarities: Of the candidates.
        values: Of the candidates, -inf past the last.
    """

    cluster: Int[Array, "batch"]
    affinity: Float[Array, "batch C"]
    admitted: Int[Array, "batch C"]
    probed: Int[Array, "batch"]
    similarity: Float[Array, "batch"]
    probabilities: Float[Array, "batch tasks"]
    value: Float[Array, "batch"]
    candidates: Int[Array, "batch n"]
    similarities: Float[Array, "batch n"]
    values: Float[Array, "batch n"]


def trace_item(retriever: Retriever, request: Request, rows: Int[Array, "batch"]) -> ItemTrace:
    """The stages of `Retriever.__call__`, and beside them one item a request.

        trace = jax.jit(functools.partial(retriever.apply, method=trace_item))
        trace(variables, request, rows)

    The candidates are computed by the same calls in the same shapes as there.

    Args:
        request: With a plan (`compile_filters` admits all by `""`).
        rows: Catalogue rows of the items.
    """
    if request.plan is None:
        raise ValueError("plan is None; compile the empty filter to admit all")
    index: ItemIndex = retriever.get_variable("index", "items")
    user = retriever.embed_users(request.users)
    found = retriever.candidates(user, request)
    worth = value(jax.nn.sigmoid(retriever.logits(user, request, found)), request.weights)
    codes, query_scales, affinity, _ = affinities(index, user.embedding)
    probe = jax.tree.map(jnp.asarray, request.plan.probe)
    cluster, alone = _place(index, rows)
    scores, _ = int8_search(
        index.codes, index.scales, codes, query_scales, cluster[:, None], alone[:, None], k=1
    )
    item = dataclasses.replace(found, rows=rows[:, None], scores=scores)
    probabilities = jax.nn.sigmoid(retriever.logits(user, request, item))
    return ItemTrace(
        cluster=cluster,
        affinity=affinity,
        admitted=jnp.sum(
            jax.lax.population_count(bloom_probe(index.words, probe, None)), axis=2, dtype=jnp.int32
        ),
        probed=found.probed,
        similarity=scores[:, 0],
        probabilities=probabilities[:, 0],
        value=value(probabilities, request.weights)[:, 0],
        candidates=found.rows,
        similarities=found.scores,
        values=jnp.where(found.rows < 0, -jnp.inf, worth),
    )


def _place(
    index: ItemIndex, rows: Int[Array, "batch"]
) -> tuple[Int[Array, "batch"], UInt32[Array, "batch W"]]:
    """The cluster of each item, and words that admit the item alone; -1 where there is none."""
    slots = slots_of(index, rows[:, None])[:, 0]
    cluster = jnp.where(slots < 0, -1, slots // index.slots_per_cluster)
    position = slots % index.slots_per_cluster
    word = jnp.arange(index.words.shape[2]) == (position // BLOCK)[:, None]
    bit = jnp.left_shift(jnp.uint32(1), (position % BLOCK).astype(jnp.uint32))
    return cluster, jnp.where(word, bit[:, None], jnp.uint32(0))
