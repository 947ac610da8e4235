"""The exact filter: each slot's own list of terms, for what bit rows cannot decide."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from pallas_kernels.bloom_probe.plan import evaluate

_DATA = ("spans", "terms", "leaf_terms", "negated", "decided")


@functools.partial(jax.tree_util.register_dataclass, data_fields=_DATA, meta_fields=())
@dataclasses.dataclass(frozen=True)
class Exact:
    """What the leaves of a `Plan` mean, and which terms each slot has.

    Attributes:
        spans: int32 [C, S, 2]; start and length of the slot's list in `terms`. Lists in the order
            of the slots are read fastest: what a search checks lies in few clusters.
        terms: int32 [T], ascending within a list.
        leaf_terms: int32 [B, L]; the term of each leaf of the plan; -1 is in no list.
        negated: bool [B, L]; the leaf is true where the list lacks its term.
        decided: bool [B]; the bit rows alone decide this plan, no list need be read.
    """

    spans: jax.Array
    terms: jax.Array
    leaf_terms: jax.Array
    negated: jax.Array
    decided: jax.Array


def admits(exact: Exact, program: jax.Array, slots: jax.Array) -> jax.Array:
    """bool [B, n]: which of `slots` int32 [B, n] pass; false where a slot is -1."""
    spans = exact.spans.reshape(-1, 2)[jnp.maximum(slots, 0)]

    def leaf(at: jax.Array) -> jax.Array:
        term = jnp.take_along_axis(exact.leaf_terms, at[:, None], axis=1)
        has = _has_term(exact.terms, spans, term)
        return has != jnp.take_along_axis(exact.negated, at[:, None], axis=1)

    return (evaluate(program, leaf) | exact.decided[:, None]) & (slots >= 0)


def _has_term(terms: jax.Array, spans: jax.Array, term: jax.Array) -> jax.Array:
    """Binary search for `term` [B, 1] in the ascending lists at `spans` [B, n, 2]."""
    start, length = spans[..., 0], spans[..., 1]
    end = start + length

    def halve(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = state
        middle = (low + high) // 2
        below = terms[jnp.minimum(middle, terms.shape[0] - 1)] < term
        searching = low < high
        return (
            jnp.where(searching & below, middle + 1, low),
            jnp.where(searching & ~below, middle, high),
        )

    low, _ = jax.lax.while_loop(lambda s: jnp.any(s[0] < s[1]), halve, (start, end))
    found = terms[jnp.minimum(low, terms.shape[0] - 1)] == term
    return found & (low < end)
