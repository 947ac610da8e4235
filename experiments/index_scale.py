"""Building an index of a million items: seconds, peak memory, bytes, and no recompiles.

python -m experiments.index_scale            # 1,000,000 x 64, four features
python -m experiments.index_scale --items 100000
"""

from __future__ import annotations

import dataclasses
import resource
import time
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import silverjax
from experiments.command import run_command
from experiments.filter_corpus import attributes_of
from experiments.results import FOLDER, write_result
from experiments.search.data import mixture


@dataclasses.dataclass(frozen=True)
class Study:
    """What to build.

    Attributes:
        items: Items of the corpus.
        dim: Width of the embeddings.
        clusters: k-means clusters; 0 takes the default.
        filters: New filters searched one after the other.
        seed: Seeds corpus and k-means.
    """

    items: int = 1_000_000
    dim: int = 64
    clusters: int = 0
    filters: int = 1_000
    seed: int = 0


def corpus(study: Study) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """A mixture of noisy clumps, with the attributes of a catalogue."""
    rng = np.random.default_rng(study.seed)
    n = study.items
    points = mixture(n, study.dim, rng)
    return points, attributes_of(n, rng)


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(study: Study) -> None:
    console = Console()
    with console.status("making the corpus"):
        points, attributes = corpus(study)
    before = peak_gib()
    config = silverjax.IndexConfig(clusters=study.clusters or None, seed=study.seed)
    with console.status(f"building the index of {study.items:,} items"):
        start = time.perf_counter()
        index = silverjax.build_index(points, attributes, config)
        jax.block_until_ready(index)
        seconds = time.perf_counter() - start
    peak = peak_gib()
    compiles, search_ms = recompiles(index, points, study, console)
    sizes = index.nbytes()
    figures = {
        "build_seconds": seconds,
        "corpus_gib": before,
        "peak_gib": peak,
        "clusters": index.clusters,
        "slots_per_cluster": index.slots_per_cluster,
        "padding": index.padding(),
        "bytes_per_item": {name: size / study.items for name, size in sizes.items()},
        "filters": study.filters,
        "recompiles_over_filters": compiles,
        "search_ms_median": search_ms,
    }
    table = Table("figure", "value", title=f"Index of {study.items:,} x {study.dim}")
    table.add_row("build", f"{seconds:.1f} s")
    table.add_row("peak memory (corpus alone)", f"{peak:.2f} GiB ({before:.2f} GiB)")
    table.add_row("clusters x slots", f"{index.clusters} x {index.slots_per_cluster}")
    table.add_row("padding", f"{index.padding():.1%}")
    table.add_row("bytes per item", f"{sum(sizes.values()) / study.items:.0f}")
    table.add_row(f"recompiles over {study.filters:,} new filters", str(compiles))
    table.add_row("one filtered search (k=100, 32 probes)", f"{search_ms:.1f} ms")
    console.print(table)
    path = write_result(
        FOLDER / f"index-scale-{study.items}.json",
        study="experiments.index_scale",
        settings=dataclasses.asdict(study),
        figures=figures,
        headline={
            f"index of {study.items:,} x {study.dim} with four filter features": (
                f"{seconds:.1f} s, {peak:.2f} GiB peak ({before:.2f} of it the corpus), "
                f"{index.padding():.0%} padding"
            ),
            f"recompiles over {study.filters:,} new filters": str(compiles),
        },
    )
    console.print(f"written to {path}")


def recompiles(
    index: silverjax.ItemIndex, points: np.ndarray, study: Study, console: Console
) -> tuple[int, float]:
    """Searches with one new filter after the other; compilations beyond the first, and ms each."""
    rng = np.random.default_rng(study.seed + 1)
    traced = 0

    @jax.jit
    def serve(index, query, plan):  # type: ignore[no-untyped-def]
        nonlocal traced
        traced += 1
        probes = min(32, index.clusters)
        return silverjax.search(index, query, plan, k=100, probes=probes)

    times = []
    with console.status("searching with new filters"):
        for number in range(study.filters):
            category, creator = rng.integers(0, 1_000), rng.integers(0, 100_000)
            text = [
                f"language:l{number % 3} AND NOT category:{category}",
                f"creator:{creator} OR country:c{number % 200}",
                f"NOT (creator IN ({creator}, {creator + 1}) OR language:l1)",
            ][number % 3]
            start = time.perf_counter()
            plan = silverjax.compile_filters(index, [text])
            jax.block_until_ready(serve(index, points[number : number + 1], plan))
            times.append(1e3 * (time.perf_counter() - start))
    return traced - 1, float(np.median(times))


if __name__ == "__main__":
    run_command(main, Study, __doc__)
