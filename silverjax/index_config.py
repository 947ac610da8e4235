"""Sizes of the item index and of a search through it."""

from __future__ import annotations

import dataclasses
import math

from pallas_kernels.bloom_probe.api import BLOCK

LANES = 16  # int8 codes are padded to a multiple of this many dimensions
_LARGEST_PADDING = 0.2


@dataclasses.dataclass(frozen=True)
class IndexConfig:
    """How `build_index` lays an index out.

    Two indexes built with the same configuration, capacity, embedding width and filter features
    have the same shapes, so the second takes the place of the first without recompiling. The
    exceptions are `terms` and `vocabulary` left at `None`: both double until the data fits.

    Attributes:
        clusters: k-means clusters; `None` takes about `sqrt(n)`, at least 64 items each.
        capacity: Catalogue rows the index has room for; `None` takes the number of items.
        slack: Room in each cluster beyond the mean, as a share of it. Bounds how uneven
            clusters may be, and leaves room for fresh items.
        iterations: Lloyd iterations.
        sample_per_cluster: Items per cluster on which k-means is trained.
        columns: Exact bit columns, given to the most frequent terms.
        bloom_bits: Width of the Bloom signature that holds all other terms, per item.
        hashes: Bits that one term sets in the signature.
        terms: Entries of the exact term lists; `None` starts at 8 per row.
        vocabulary: Distinct terms there is room for; `None` starts at a quarter of the capacity.
        keep_embeddings: Keep float32 embeddings, for `search(..., rescore=...)`.
        seed: Seeds k-means.
    """

    clusters: int | None = None
    capacity: int | None = None
    slack: float = 0.1
    iterations: int = 10
    sample_per_cluster: int = 128
    columns: int = 63
    bloom_bits: int = 64
    hashes: int = 4
    terms: int | None = None
    vocabulary: int | None = None
    keep_embeddings: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "clusters": (1, 2**20),
            "capacity": (1, 2**30),
            "iterations": (1, 1_000),
            "sample_per_cluster": (1, 2**20),
            "columns": (0, 4_096),
            "bloom_bits": (32, 4_096),
            "hashes": (1, 16),
            "terms": (1, 2**31 - 1),
            "vocabulary": (1, 2**31 - 1),
        }
        for name, (low, high) in bounds.items():
            given = getattr(self, name)
            if given is not None and not low <= given <= high:
                raise ValueError(f"IndexConfig.{name}={given} must be from {low} to {high}")
        if self.bloom_bits % 32:
            raise ValueError(
                f"IndexConfig.bloom_bits={self.bloom_bits} must be a multiple of 32, "
                f"for example {-(-self.bloom_bits // 32) * 32}"
            )
        if not 0 <= self.slack <= 1:
            raise ValueError(f"IndexConfig.slack={self.slack} must be from 0 to 1")


def default_clusters(items: int) -> int:
    """About `sqrt(items)`, a power of two, with at least 64 items in each cluster."""
    if items < 128:
        return 1
    return int(min(2 ** round(math.log2(math.sqrt(items))), 2 ** int(math.log2(items / 64))))


def slots_per_cluster(capacity: int, clusters: int, slack: float) -> int:
    """Slots of one cluster: the mean and the slack, rounded up to the widest unit that fits.

    Whole eligibility words (32 slots) are tried first, then 16, then 8, so that rounding
    alone does not push the padding over 20 %.
    """
    wanted = math.ceil(capacity / clusters * (1 + slack))
    for unit in (BLOCK, 16, 8):
        slots = -(-wanted // unit) * unit
        if 1 - capacity / (clusters * slots) < _LARGEST_PADDING:
            break
    return slots


def doubled_to_fit(floor: int, needed: int) -> int:
    """The first of `floor, 2 * floor, 4 * floor, ...` that holds `needed`."""
    while floor < needed:
        floor *= 2
    return floor


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """How far a request goes into the index.

    Attributes:
        k: Items returned.
        candidates: Items the int8 search hands to the OverArch.
        probes: Clusters visited first; a request with a filter visits more.
        filtered_recall: Share of the nearest candidates that a filter admits which the search is
            expected to find.
        excluded: Most seen items that one request may name.
    """

    k: int = 20
    candidates: int = 256
    probes: int = 8
    filtered_recall: float = 0.98
    excluded: int = 1_024

    def __post_init__(self) -> None:
        for name in ("k", "candidates", "probes", "excluded"):
            if getattr(self, name) < 1:
                raise ValueError(f"SearchConfig.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.filtered_recall <= 1:
            raise ValueError(
                f"SearchConfig.filtered_recall={self.filtered_recall} must be from 0 to 1"
            )
        if self.k > self.candidates:
            raise ValueError(
                f"SearchConfig.k={self.k} exceeds candidates={self.candidates}: what is returned "
                "is chosen among the candidates"
            )

    def fitted(self, clusters: int, slots: int) -> SearchConfig:
        """The same, with `probes` and `candidates` cut to an index of `clusters` x `slots`."""
        probes = min(self.probes, clusters)
        candidates = min(self.candidates, probes * slots)
        return dataclasses.replace(
            self, probes=probes, candidates=candidates, k=min(self.k, candidates)
        )
