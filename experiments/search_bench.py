"""Queries per second at equal recall: `silverjax.search` against faiss and hnswlib.

    python -m experiments.search_bench                                # GloVe, one thread
    python -m experiments.search_bench --data mixture --threads 2     # 1,000,000 hard vectors

Every method runs at its own best: of all its variants (clusters, links, candidates refined) the
cheapest setting that reaches the recall is found by bisection, and the fastest of these is taken
for each batch size. Then the methods take turns; a figure is the median of the rounds. Searches
with filters are compared in `experiments.filter_bench`.

Below each table stand the parts of two ceilings that this project reached: the bytes it had to read
over the machine's copy bandwidth, and its int8 operations over what registers alone could do.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import statistics

import numpy as np
from rich.console import Console
from rich.progress import Progress

from experiments.command import run_command
from experiments.results import FOLDER, write_result
from experiments.search import data, machine
from experiments.search.cores import use_cores
from experiments.search.machine import Machine, Work
from experiments.search.peers import Peers
from experiments.search.report import Figure, headline, plot_frontier, print_figures
from experiments.search.rounds import queries_per_second
from experiments.search.store import Store
from experiments.search.systems import Variant, silver_variants
from experiments.search.tuning import Setting, Tuner, fastest
from training.datasets.fetch import cache_folder

_QUICK = (3, 0.02)  # rounds, and seconds a turn, to choose between variants of one method


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        data: `glove`, 400,000 real vectors of 50 dimensions padded to 64, or `mixture`,
            synthetic vectors of 64.
        items: Items of the mixture.
        threads: Cores that every method may use.
        clusters: Sizes tried of each inverted file.
        k: Neighbours per query.
        recalls: Recall@k to reach.
        batches: Queries per call.
        queries: Queries whose recall is measured.
        rounds: Turns of each method per figure.
        turn: Seconds of a turn.
        peers: Also measure the peers; without them, this project's side alone.
        cache: Folder of built indexes; the graphs take minutes to build.
        seed: Picks queries, and seeds k-means.
    """

    data: str = "glove"
    items: int = 1_000_000
    threads: int = 1
    clusters: tuple[int, ...] = (1_024, 2_048, 4_096)
    k: int = 100
    recalls: tuple[float, ...] = (0.90, 0.95, 0.99)
    batches: tuple[int, ...] = (1, 32, 256)
    queries: int = 512
    rounds: int = 7
    turn: float = 0.1
    peers: bool = True
    cache: pathlib.Path = dataclasses.field(default_factory=lambda: cache_folder() / "search-bench")
    seed: int = 0

    def __post_init__(self) -> None:
        available = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= available:
            raise ValueError(f"threads={self.threads} must be from 1 to the {available} cores here")
        if self.rounds < 5:
            raise ValueError(f"rounds={self.rounds} must be at least 5: fewer have no median")


def main(study: Study) -> None:
    use_cores(study.threads)
    console = Console()
    with console.status("making the data"):
        corpus = data.load(
            study.data,
            items=study.items,
            queries=max(study.queries, 8 * max(study.batches)),
            asked=study.queries,
            k=study.k,
            seed=study.seed,
        )
    variants = all_variants(study, corpus, console)
    with console.status("measuring what the machine can do"):
        ceilings = machine.measure(study.threads)
    figures = measure(study, corpus, variants, ceilings, console)
    print_figures(figures, study.batches, corpus.name, study.threads, console)
    name = f"search-bench-{corpus.name}-{study.threads}-threads"
    path = write_result(
        FOLDER / f"{name}.json",
        study="experiments.search_bench",
        settings=dataclasses.asdict(study),
        figures={"items": len(corpus.items), "machine": ceilings, "runs": figures},
        headline=headline(figures, study.batches, corpus.name, study.threads),
    )
    plot_frontier(path.with_suffix(".png"), figures, title=f"{corpus.name}, {study.threads} thread")
    console.print(f"written to {path} and its .png")


def all_variants(study: Study, corpus: data.Corpus, console: Console) -> list[Variant]:
    """Every variant of every method, its index built or loaded."""
    with console.status("loading the indexes") as status:
        store = Store(study.cache, status.update)
        clusters, k = study.clusters, study.k
        found = list(silver_variants(corpus, store, clusters=clusters, k=k, seed=study.seed))
        if study.peers:
            peers = Peers(corpus, store, clusters=clusters, k=k, threads=study.threads)
            found += peers.variants()
        return found


def measure(
    study: Study,
    corpus: data.Corpus,
    variants: list[Variant],
    ceilings: Machine,
    console: Console,
) -> list[Figure]:
    """The figures of all methods at every recall and batch size."""
    tuner = Tuner(corpus)
    figures: list[Figure] = []
    with Progress(console=console) as progress:
        tuned = progress.add_task("tuning", total=len(study.recalls) * len(variants))
        timed = progress.add_task("timing", total=len(study.recalls) * len(study.batches))
        for target in study.recalls:
            settings: list[Setting] = []
            for variant in variants:
                if (setting := tuner.cheapest(variant, target)) is not None:
                    settings.append(setting)
                progress.advance(tuned)
            for batch in study.batches:
                figures += compare(study, corpus, settings, target, batch, ceilings)
                progress.advance(timed)
            reaching = {setting.variant.method for setting in settings}
            for method in dict.fromkeys(variant.method for variant in variants):
                if method not in reaching:
                    best = tuner.best_recall(v for v in variants if v.method == method)
                    figures.append(Figure.missed(method, target, best))
    return figures


def compare(
    study: Study,
    corpus: data.Corpus,
    settings: list[Setting],
    target: float,
    batch: int,
    ceilings: Machine,
) -> list[Figure]:
    """Queries per second of each method at its best setting for this batch size."""
    rounds, turn = _QUICK
    best = fastest(settings, corpus.queries, batch, rounds=rounds, turn=turn)
    runs = [one.run for one in best.values()]
    speeds = queries_per_second(runs, corpus.queries, batch, rounds=study.rounds, turn=study.turn)
    return [
        Figure.of(
            one,
            target,
            batch,
            np.asarray(speed),
            shares=roofline(one, corpus.queries, batch, float(np.median(speed)), ceilings),
        )
        for one, speed in zip(best.values(), speeds, strict=True)
    ]


def roofline(
    setting: Setting, queries: np.ndarray, batch: int, speed: float, ceilings: Machine
) -> tuple[float, float | None] | None:
    """Parts of the machine's two ceilings that a search of `speed` queries per second reached."""
    if setting.variant.work is None:
        return None
    parts = [queries[at : at + batch] for at in range(0, 8 * batch, batch)]
    works = [setting.variant.work(setting.value, part) for part in parts]
    mean = Work(
        statistics.fmean(work.bytes for work in works),
        statistics.fmean(work.operations for work in works),
    )
    return ceilings.shares(mean, batch / speed)


if __name__ == "__main__":
    run_command(main, Study, __doc__)
