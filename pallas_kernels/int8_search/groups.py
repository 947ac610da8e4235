"""What the GPU backends of `int8_search` share: who probes what, and the two passes.

A search in two passes reads each code once for all queries that probe its cluster, and writes next
to nothing. The first pass scores slots and keeps the best score of each *group*, at most 128 slots
that follow each other. The k best slots of a query lie in the k groups of the best maxima (a slot
elsewhere is beaten by k others, one from each); the second pass scores those once more, one by one.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

WORDS = 32  # words of a segment, at most: 1,024 slots, which one program of the first pass scores
GROUP = 128  # slots of a group, at most


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the slots of a cluster fall into segments and groups; all sizes are powers of two."""

    words: int  # of a segment
    group: int  # slots
    segments: int  # of a cluster

    @property
    def slots(self) -> int:
        """Slots of a segment."""
        return 32 * self.words

    @property
    def groups(self) -> int:
        """Groups of a cluster."""
        return self.segments * (self.slots // self.group)

    @classmethod
    def of(cls, capacity: int) -> Layout:
        words = min(WORDS, 1 << (-(-capacity // 32) - 1).bit_length())
        return cls(words, min(GROUP, 32 * words), -(-capacity // (32 * words)))


@dataclasses.dataclass(frozen=True)
class Runs:
    """The probes sorted by cluster: a run is all who probe one.

    Attributes:
        clusters: int32 [P], ascending where probes are shared; the number of clusters where a probe
            names none.
        probes: int32 [P]; where each was, of B * N.
        heads: int32 [G]; where each run begins, P where there is none. Runs that name no cluster
            may be left out.
    """

    clusters: jax.Array
    probes: jax.Array
    heads: jax.Array


def runs(clusters: jax.Array, count: int, *, alone: bool) -> Runs:
    """Of `clusters` int32 [B, N], `count` of them in the index; `alone`: each probe is a run."""
    flat = clusters.reshape(-1)
    flat = jnp.where((flat >= 0) & (flat < count), flat, count)
    at = jnp.arange(flat.size, dtype=jnp.int32)
    if alone:
        return Runs(flat, at, at)
    flat, probes = jax.lax.sort((flat, at), num_keys=1)
    if flat.size <= count:
        begins = jnp.concatenate([jnp.ones(1, bool), flat[1:] != flat[:-1]])
        return Runs(flat, probes, jnp.where(begins, at, flat.size))
    heads = jnp.full(count, flat.size, jnp.int32).at[flat].min(at, mode="drop")
    return Runs(flat, probes, heads)
