"""Stage 4, eligibility: terms to bit rows at index build, plans to eligibility at request time.

A term of the signature sets `hashes` of its item's `bloom_bits` bits, so a reader of those bits
sees every item that has the term and a few that have not: a false positive with probability
`(1 - (1 - 1 / bits) ** (hashes * terms)) ** hashes` (Bloom, CACM 1970). The few are found out
by `admits`, which reads the item's own term list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from pallas_kernels.bloom_probe.api import bloom_probe, evaluate
from silverjax.index_config import BLOCK
from silverjax.item_index import LIVE_ROW, ItemIndex

if TYPE_CHECKING:
    from silverjax.filter_plan import FilterPlan


def bloom_rows(
    digests: UInt32[np.ndarray, "*terms 4"], bits: int, hashes: int
) -> Int[np.ndarray, "*terms hashes"]:
    """Signature bits of each term, all different, by double hashing (Kirsch and Mitzenmacher).

    `bits` is a multiple of 32 and the stride is odd, so the first 32 bits of a walk differ.
    """
    first = digests[..., 0].astype(np.int64)
    stride = digests[..., 1].astype(np.int64) | 1
    return (first[..., None] + np.arange(hashes) * stride[..., None]) % bits


def false_positive_rate(terms: float, bits: int, hashes: int) -> float:
    """Chance that an item of `terms` signature terms seems to have one that it has not."""
    return float((1 - (1 - 1 / bits) ** (hashes * terms)) ** hashes)


def pack_rows(
    slots: Int[np.ndarray, "pairs"],
    bit_rows: Int[np.ndarray, "pairs"],
    *,
    clusters: int,
    slots_per_cluster: int,
    rows: int,
) -> UInt32[np.ndarray, "clusters rows words"]:
    """Sets bit `bit_rows[i]` of slot `slots[i]`, bit-sliced by cluster."""
    width = -(-slots_per_cluster // BLOCK)
    words = np.zeros(clusters * rows * width, np.uint32)
    cluster, position = np.divmod(slots, slots_per_cluster)
    at = (cluster * rows + bit_rows) * width + position // BLOCK
    np.bitwise_or.at(words, at, np.uint32(1) << (position % BLOCK).astype(np.uint32))
    return words.reshape(clusters, rows, width)


def eligibility(
    index: ItemIndex,
    plan: FilterPlan | None,
    clusters: Int[Array, "batch probes"],
    *,
    backend: str | None = None,
) -> UInt32[Array, "batch probes words"]:
    """Eligibility words of the probed clusters: a superset of what the filter admits.

    Args:
        clusters: Clusters to look at; -1 gives zeros.
        plan: `None` admits every live item.
    """
    if plan is None:
        live = index.words[jnp.maximum(clusters, 0), LIVE_ROW]
        return jnp.where(clusters[..., None] < 0, jnp.uint32(0), live)
    return bloom_probe(index.words, plan.probe, clusters, backend=backend)


def admits(
    index: ItemIndex, plan: FilterPlan, slots: Int[Array, "batch n"]
) -> Bool[Array, "batch n"]:
    """The exact filter, from the items' own term lists; false where `slots` is -1."""
    rows = index.rows.reshape(-1)[jnp.maximum(slots, 0)]
    spans = index.spans[jnp.maximum(rows, 0)]
    terms, negated = jnp.asarray(plan.terms), jnp.asarray(plan.negated)

    def leaf(at: Int[Array, "batch"]) -> Bool[Array, "batch n"]:
        term = jnp.take_along_axis(terms, at[:, None], axis=1)
        has = _has_term(index, spans, term)
        return has != jnp.take_along_axis(negated, at[:, None], axis=1)

    return evaluate(plan.probe.program, leaf) & (slots >= 0)


def _has_term(
    index: ItemIndex, spans: Int[Array, "batch n 2"], term: Int[Array, "batch 1"]
) -> Bool[Array, "batch n"]:
    """Binary search for `term` in each item's ascending term list."""
    start, length = spans[..., 0], spans[..., 1]
    end = start + length

    def halve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = state
        middle = (low + high) // 2
        below = index.terms[jnp.minimum(middle, index.terms.shape[0] - 1)] < term
        searching = low < high
        return (
            jnp.where(searching & below, middle + 1, low),
            jnp.where(searching & ~below, middle, high),
        )

    low, _ = jax.lax.while_loop(lambda s: jnp.any(s[0] < s[1]), halve, (start, end))
    found = index.terms[jnp.minimum(low, index.terms.shape[0] - 1)] == term
    return found & (low < end)
