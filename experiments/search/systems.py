"""The project's own side of the search benchmark, and what every side looks like to it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import silverjax
from experiments.results import fingerprint
from experiments.search.data import Corpus
from experiments.search.machine import Work
from experiments.search.store import Store, load_item_index, save_item_index
from silverjax.ann_search import affinities
from silverjax.item_index import ItemCache, ItemIndex

Run = Callable[[np.ndarray], np.ndarray]  # queries [batch, dim] -> rows [batch, k]

OURS = "silverjax"
_RESCORE = 1.2  # candidates per item returned, ranked again by float32
_SOURCE = Path(silverjax.__file__).parent
# An index of older code is not found again.
BUILDER = [
    _SOURCE / f"{name}.py"
    for name in (
        "bloom_filter",
        "index_builder",
        "index_config",
        "item_index",
        "kmeans",
        "quantize",
    )
]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A method with all settings made but one, the knob: more of it finds more and costs more.

    Attributes:
        method: Such as `faiss IVF-SQ8`.
        label: What tells it from other variants of the method.
        knob: Name of the setting that is left.
        least: Its lowest value.
        most: Its highest value.
        run: Makes the search of one value of the knob.
        bytes: Of the index, in memory.
        work: What a call with these queries cannot do without at a value of the knob, where that
            is known.
    """

    method: str
    label: str
    knob: str
    least: int
    most: int
    run: Callable[[int], Run]
    bytes: int
    work: Callable[[int, np.ndarray], Work] | None = None


def silver_variants(
    corpus: Corpus, store: Store, *, clusters: tuple[int, ...], k: int, seed: int
) -> Iterator[Variant]:
    """`silverjax.search` by int8 codes alone, and with the best candidates scored in float32."""
    embeddings = None
    for count in clusters:
        config = silverjax.IndexConfig(clusters=count, seed=seed)
        index = store.get(
            f"silverjax-{count}-{fingerprint(corpus.items, config, *BUILDER)}",
            functools.partial(silverjax.build_index, corpus.items, None, config),
            save=save_item_index,
            load=load_item_index,
        )
        yield _variant(index, f"{count} clusters", k, None)
        if embeddings is None:
            embeddings = jnp.asarray(corpus.items)
        kept = dataclasses.replace(index, cache=ItemCache(embeddings))
        yield _variant(kept, f"{count} clusters, rescored", k, _RESCORE)


def _variant(index: ItemIndex, label: str, k: int, rescore: float | None) -> Variant:
    def run(probes: int) -> Run:
        def search(queries: np.ndarray) -> np.ndarray:
            found = silverjax.search(index, queries, k=k, probes=probes, rescore=rescore)
            return np.asarray(found.rows)

        return search

    return Variant(
        method=OURS,
        label=label,
        knob="probes",
        least=math.ceil(k * (rescore or 1.0) / index.slots_per_cluster),
        most=index.clusters,
        run=run,
        bytes=sum(index.nbytes().values()),
        work=functools.partial(_work, index, k, rescore),
    )


def _work(
    index: ItemIndex, k: int, rescore: float | None, probes: int, queries: np.ndarray
) -> Work:
    """Codes and scales of the probed clusters once each, all centroids, and what is rescored."""
    live = np.asarray(index.rows >= 0).sum(axis=1)
    affinity = np.asarray(affinities(index, jnp.asarray(queries))[2])
    probed = np.argpartition(-affinity, probes - 1, axis=1)[:, :probes]
    width = index.codes.shape[2]
    moved = live[np.unique(probed)].sum() * (width + index.scales.dtype.itemsize)
    moved += index.centroids.nbytes + index.centroid_scales.nbytes + index.radii.nbytes
    if rescore is not None:
        moved += len(queries) * round(k * rescore) * queries.itemsize * queries.shape[1]
    return Work(bytes=float(moved), operations=2.0 * width * float(live[probed].sum()))
