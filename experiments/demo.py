"""`silverjax demo`: from raw ratings to filtered, ranked recommendations, with the proof."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from serving.engine import Engine
from serving.query import Query
from serving.stage_times import StageTimes, stage_times
from silverjax import report
from silverjax.snapshot import Snapshot, load_snapshot
from training.assessment import Assessment, assess
from training.run import Run, finish, publish_run

METRICS = ("recall@20", "ndcg@20", "coverage@20")
SHOWN = (
    Query(user="42", k=5),
    Query(
        user="42", where="language:en AND NOT genre:horror", weights="liked=1,disliked=-0.5", k=5
    ),
    Query(user="42", where="country:fr OR country:it", k=5),
    Query(where="decade:1990s AND genre IN (thriller, mystery)", k=5),
)


def run_demo(folder: Path, *, path: Path | None, steps: int | None, seed: int) -> None:
    """Trains, publishes, recommends and evaluates; prints what a newcomer wants to see."""
    console = report.console
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        console.rule(f"[bold]{step}", align="left")
        start = time.perf_counter()
        yield
        seconds[step] = time.perf_counter() - start

    run = Run(path=str(path) if path else None, seed=seed, steps=steps)
    with timed("1 data"):
        dataset, split = run.data()
        console.print(report.data_summary(dataset))
    assert split is not None  # the demo always holds something back
    with timed("2 train"):
        finish(run, folder / "run", progress=True)
    with timed("3 build the index and publish"):
        published = publish_run(folder / "run", folder / "snapshots")
        snapshot = load_snapshot(published)
        console.print(f"Published {published}")
    with timed("4 recommend"):
        engine = Engine(snapshot, buckets=(1, 64))
        for query in SHOWN:
            console.print(_shown(engine, query))
    with timed("5 prove"):
        with console.status("evaluating") as status:
            figures = assess(snapshot, dataset, split, told=lambda step: status.update(step))
            users = snapshot.catalogue.user_ids[:64]
            times = stage_times(engine, [Query(user=u, where="language:en") for u in users])
        console.print(report.quality(figures.quality, METRICS, "Next film, full catalogue"))
        console.print(index_losses(figures))
        console.print(stages(times))
        console.print(memory(snapshot))
    console.print(report.figures("Time", {step: f"{took:.1f} s" for step, took in seconds.items()}))
    console.print(
        f"Now try: silverjax recommend {folder / 'snapshots'} --user 7 --where genre:drama"
    )


def _shown(engine: Engine, query: Query) -> object:
    if query.user is not None and query.user not in engine.snapshot.catalogue.user_ids:
        query = Query(engine.snapshot.catalogue.user_ids[0], query.where, query.weights, k=query.k)
    who = f"user {query.user}" if query.user else "somebody unknown"
    title = f"For {who}" + (f", where {query.where}" if query.where else "")
    title += f", weights {query.weights}" if query.weights else ""
    reply = engine.recommend([query])[0]
    return report.recommendations(reply, engine.snapshot.catalogue, query.where, title)


def index_losses(figures: Assessment) -> report.Table:
    """Share of the exact top 100 that the index lost."""
    kinds = list(next(iter(figures.index_loss.values())))
    made = report.table(
        "Index loss: share of the exact top 100 lost, unfiltered and where a filter admits so many",
        "search",
        *kinds,
    )
    for name, by_kind in figures.index_loss.items():
        made.add_row(name, *(f"{by_kind[kind].loss:.4f}" for kind in kinds))
    return made


def stages(times: StageTimes) -> report.Table:
    """Milliseconds of each stage."""
    rows = {stage: f"{took:.2f} ms" for stage, took in times.stages.items()}
    rows["2-7 as one function"] = (
        f"{times.total:.2f} ms ({1e3 * times.batch / times.total:,.0f} requests/s)"
    )
    return report.figures(f"Time of a batch of {times.batch} filtered requests", rows)


def memory(snapshot: Snapshot) -> report.Table:
    """Bytes of the model and of the index."""
    index = snapshot.variables["index"]["items"]
    params = sum(leaf.nbytes for leaf in jax.tree.leaves(snapshot.variables["params"]))
    sizes = index.nbytes()
    cached = sum(size for name, size in sizes.items() if name.startswith("cache"))
    return report.figures(
        "Memory",
        {
            "parameters": report.megabytes(params),
            "index": report.megabytes(sum(sizes.values()) - cached),
            "cache of embeddings and OverArch inputs": report.megabytes(cached),
            "padding of the index": f"{index.padding():.1%}",
            "peak of this process": report.megabytes(
                1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ),
        },
    )
