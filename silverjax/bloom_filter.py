"""Stage 4, eligibility: terms to bit rows at index build.

A term of the signature sets `hashes` of its item's `bloom_bits` bits, so a reader of those bits
sees every item that has the term and a few that have not. The few are found out by reading the
item's own term list (`pallas_kernels.filtered_search`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int, UInt32

from pallas_kernels.bloom_probe.api import BLOCK

# splitmix64: steps from the seed, for as many hashes as `IndexConfig` allows; and what is shifted
# and multiplied in each round.
_STEPS = np.arange(1, 17, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_HALF = np.uint64(32)
_FLAGS = 1 << 28  # bytes that `pack_rows` may take at a time


def bloom_rows(
    digests: UInt32[np.ndarray, "*terms 4"], bits: int, hashes: int
) -> Int[np.ndarray, "*terms hashes"]:
    """Signature bits of each term, drawn independently (so two may be the same).

    Double hashing would be shorter, but a narrow signature has few different walks: of 32 bits,
    two terms in 250 shared all theirs, many times the false positives of the formula. The
    numbers are those of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    halves = digests.astype(np.uint64)
    seed = halves[..., 0] << _HALF | halves[..., 1]
    x = seed[..., None] + _STEPS[:hashes]
    for shift, factor in _ROUNDS:
        x ^= x >> shift
        x *= factor
    x ^= x >> np.uint64(31)
    x >>= _HALF
    x *= np.uint64(bits)
    x >>= _HALF
    return x.astype(np.int64)


def false_positive_rate(terms: int, bits: int, hashes: int) -> float:
    """Chance that an item of `terms` signature terms seems to have one that it has not.

    `(1 - (1 - 1 / bits) ** (hashes * terms)) ** hashes` (Bloom, CACM 1970).
    """
    return float((1 - (1 - 1 / bits) ** (hashes * terms)) ** hashes)


def pack_rows(
    slots: Int[np.ndarray, "items"],
    parts: Iterable[tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]],
    *,
    clusters: int,
    slots_per_cluster: int,
    rows: int,
) -> UInt32[np.ndarray, "rows clusters words"]:
    """Sets bits of items: one run of bits per row, cluster after cluster.

    Args:
        slots: Slot of each item.
        parts: Items, and for each the bit row to set; pairs may occur more than once.
        clusters: Clusters of the index.
        slots_per_cluster: Slots of each.
        rows: Bit rows.
    """
    width = -(-slots_per_cluster // BLOCK)
    words = np.zeros((rows, clusters * width), np.uint32)
    size = clusters * width * BLOCK
    cluster, position = np.divmod(slots, slots_per_cluster)
    bit = cluster * width * BLOCK + position
    bits = [bit[items] + bit_rows * size for items, bit_rows in parts]
    # A byte for each bit, packed afterwards: many times as fast as setting bits one by one.
    at_once = max(1, _FLAGS // size)
    for start in range(0, rows, at_once):
        some = words[start : start + at_once]
        flags = np.zeros(len(some) * size, np.bool_)
        for one in bits:
            here = one - start * size
            if len(some) < rows:
                here = here[(here >= 0) & (here < len(flags))]
            flags[here] = True
        some.view(np.uint8).reshape(-1)[:] = np.packbits(flags, bitorder="little")
    return words.reshape(rows, clusters, width)
