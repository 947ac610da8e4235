"""Queries per second under filters at equal recall, a filter of its own for each query.

    python -m experiments.filter_bench --threads 2                   # 400,000 GloVe vectors
    python -m experiments.filter_bench --threads 2 --data mixture    # 1,000,000 synthetic ones

This project has one setting for all filters and is never told what share of the items they admit;
it compiles the filters from text within every call. The peers are tuned to each share to reach the
recall that this project reached, and have a bitmap of each filter ready.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import silverjax
from experiments.command import run_command
from experiments.results import FOLDER, fingerprint, write_result
from experiments.search import data
from experiments.search.cores import use_cores
from experiments.search.filtered import (
    KINDS,
    SHARES,
    Exact,
    Faiss,
    Filters,
    Peer,
    Run,
    Silver,
    Terms,
    draw_filters,
    faiss_index,
    recall,
    wanted,
)
from experiments.search.rounds import queries_per_second
from experiments.search.store import Store, load_item_index, save_item_index
from experiments.search.systems import BUILDER
from training.datasets.fetch import cache_folder


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        data: `glove`, 400,000 real vectors of 50 dimensions padded to 64, or `mixture`.
        items: Items of the mixture.
        threads: Cores that every method may use.
        clusters: Of this project's index.
        peer_clusters: Sizes tried of each inverted file of faiss.
        k: Neighbours per query.
        probes: Clusters that this project visits first.
        filtered_recall: What this project is asked for.
        filters: Queries whose recall is measured, and filters, of each share.
        batches: Queries per call.
        rounds: Turns of each method per figure.
        turn: Seconds of a turn.
        cache: Folder of built indexes.
        seed: Picks queries and filters, and seeds k-means.
    """

    data: str = "glove"
    items: int = 1_000_000
    threads: int = 2
    clusters: int = 2_048
    peer_clusters: tuple[int, ...] = (1_024, 4_096)
    k: int = 100
    probes: int = 32
    filtered_recall: float = 0.98
    filters: int = 64
    batches: tuple[int, ...] = (1, 32)
    rounds: int = 7
    turn: float = 0.2
    cache: pathlib.Path = dataclasses.field(default_factory=lambda: cache_folder() / "filter-bench")
    seed: int = 0


def main(study: Study) -> None:
    use_cores(study.threads)
    console = Console()
    rng = np.random.default_rng(study.seed)
    with console.status("making the data"):
        corpus = data.load(
            study.data, items=study.items, queries=study.filters, asked=1, k=study.k,
            seed=study.seed,
        )  # fmt: skip
        terms = Terms.draw(corpus.items, rng)
    with console.status("building the indexes") as status:
        ours, peers = systems(study, corpus, terms, status.update)
    figures = []
    cases = [(kind, share) for kind in KINDS for share in SHARES]
    for kind, share in track(cases, "searching", console=console):
        filters = draw_filters(terms, kind, share, study.filters, rng)
        figures += compare(study, corpus, filters, kind, ours, peers)
    print_figures(study, figures, console)
    path = write_result(
        FOLDER / f"filter-bench-{corpus.name}-{study.threads}-threads.json",
        study="experiments.filter_bench",
        settings=dataclasses.asdict(study),
        figures={"items": len(corpus.items), "runs": figures},
        headline=headline(study, figures, corpus.name),
    )
    console.print(f"written to {path}")


def systems(
    study: Study, corpus: data.Corpus, terms: Terms, told: Callable[[str], None]
) -> tuple[Silver, list[Peer]]:
    """This project's side, and everyone else's; indexes are kept on disk."""
    import faiss

    store = Store(study.cache, told)
    config = silverjax.IndexConfig(
        clusters=study.clusters, seed=study.seed, columns=sum(map(len, terms.has.values()))
    )
    index = store.get(
        f"silverjax-{fingerprint(corpus.items, *terms.has.values(), config, *BUILDER)}",
        lambda: silverjax.build_index(corpus.items, terms.attributes(), config),
        save=save_item_index,
        load=load_item_index,
    )
    ours = Silver(index, k=study.k, probes=study.probes, filtered_recall=study.filtered_recall)
    write: Callable[[Any, str], None] = faiss.write_index
    peers: list[Peer] = [Exact(corpus.items, k=study.k, threads=study.threads)]
    for clusters in study.peer_clusters:
        for kind in ("SQ8", "Flat"):
            built = store.get(
                f"{corpus.name}-{kind}-{clusters}.faiss",
                functools.partial(faiss_index, corpus.items, clusters, codes=kind == "SQ8"),
                save=write,
                load=faiss.read_index,
            )
            name = f"faiss IVF-{kind} of {clusters}"
            peers.append(Faiss(name, built, k=study.k, clusters=clusters, threads=study.threads))
    return ours, peers


def compare(
    study: Study, corpus: data.Corpus, filters: Filters, kind: str, ours: Silver,
    peers: list[Peer],
) -> list[dict[str, Any]]:  # fmt: skip
    """Figures of every method under filters of one kind and share."""
    truth = wanted(corpus.items, corpus.queries, filters, study.k)
    runs: dict[str, tuple[Run, float]] = {}
    run = ours.run(filters)
    target = recall(run(corpus.queries, 0), truth)
    runs[ours.name] = run, target
    for peer in peers:
        if (found := cheapest(peer, filters, corpus.queries, truth, target)) is not None:
            runs[peer.name] = found
    speeds = {batch: speed(study, corpus.queries, runs, batch) for batch in study.batches}
    return [
        {"method": name, "kind": kind, "share": filters.share, "recall": reached}
        | {"queries_per_second": {str(b): round(speeds[b][name]) for b in study.batches}}
        for name, (_, reached) in runs.items()
    ]


def cheapest(
    peer: Peer, filters: Filters, queries: np.ndarray, truth: list[np.ndarray], target: float
) -> tuple[Run, float] | None:
    """The run of least effort that reaches the target; None where nothing does."""
    for effort in peer.efforts():
        run = peer.run(filters, effort)
        if (reached := recall(run(queries, 0), truth)) >= target:
            return run, reached
    return None


def speed(
    study: Study, queries: np.ndarray, runs: dict[str, tuple[Run, float]], batch: int
) -> dict[str, float]:
    """Median queries per second of each; the query itself tells which filter it has."""
    numbers = np.arange(max(len(queries), batch), dtype=np.float32)[:, None]
    numbered = [
        lambda part, run=run: run(queries[part[:, 0].astype(int) % len(queries)], int(part[0, 0]))
        for run, _ in runs.values()
    ]
    turns = queries_per_second(numbered, numbers, batch, rounds=study.rounds, turn=study.turn)
    return {name: float(np.median(turn)) for name, turn in zip(runs, turns, strict=True)}


def lead(figures: list[dict[str, Any]], batch: int) -> float:
    """How many times as fast as the best peer the first of the figures is."""
    own, *others = (figure["queries_per_second"][str(batch)] for figure in figures)
    return float(own / max(others))


def groups(figures: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The figures of each kind and share, this project's first."""
    starts = [i for i, figure in enumerate(figures) if figure["method"] == Silver.name]
    return [figures[a:b] for a, b in zip(starts, [*starts[1:], len(figures)], strict=True)]


def headline(study: Study, figures: list[dict[str, Any]], name: str) -> dict[str, str]:
    """For the README: recall without being told the share, and the lead, per share."""
    lines = {}
    for group in groups(figures):
        own = group[0]
        leads = ", ".join(f"{lead(group, b):.1f}x at batch {b}" for b in study.batches)
        what = f"{name}, {own['kind']} filters of {own['share']:.2%}, {study.threads} threads"
        lines[what] = f"recall@{study.k} {own['recall']:.3f}; {leads} of the best peer"
    return lines


def print_figures(study: Study, figures: list[dict[str, Any]], console: Console) -> None:
    columns = (f"batch {batch}" for batch in study.batches)
    table = Table("filters", "admit", "method", f"recall@{study.k}", *columns)
    for group in groups(figures):
        for figure in group:
            cells = [f"{figure['queries_per_second'][str(b)]:,}" for b in study.batches]
            table.add_row(
                figure["kind"], f"{figure['share']:.2%}", figure["method"],
                f"{figure['recall']:.3f}", *cells,
            )  # fmt: skip
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    run_command(main, Study, __doc__)
