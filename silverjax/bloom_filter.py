"""Stage 4, eligibility: terms to bit rows at index build.

A term of the signature sets `hashes` of its item's `bloom_bits` bits, so a reader of those bits
sees every item that has the term and a few that have not: a false positive with probability
`(1 - (1 - 1 / bits) ** (hashes * terms)) ** hashes` (Bloom, CACM 1970). The few are found out
by reading the item's own term list (`pallas_kernels.filtered_search`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt32

from pallas_kernels.bloom_probe.api import BLOCK


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
