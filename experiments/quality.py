"""Is the pipeline better than popularity, tuned ALS and tuned BPR, and what does OverArch add?

    python -m experiments.quality --dataset movielens-100k --seeds 5
    python -m experiments.quality --dataset path/to/movietweetings --core 5 --split global-time

Every method learns from the same interactions and ranks the same catalogue. Hyper-parameters
are chosen on the validation part alone. A run that was stopped goes on where it stopped, unless
the data, the settings or the code have changed.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import rich.console
import tyro

from experiments import quality_methods as methods
from experiments.plots import plot_quality
from experiments.quality_report import Runs, gains, summarise, table, verdicts
from experiments.results import FOLDER, Cache, fingerprint, plain, write_result
from silverjax.config import RetrieverConfig
from training.config import TrainConfig
from training.datasets import load
from training.evaluate import Result
from training.splits import make_split
from training.tuning import Trial

_ROOT = pathlib.Path(__file__).parents[1]
_COLUMNS = ("recall@20", "recall@50", "ndcg@10", "ndcg@20", "coverage@20")
_JUDGED = ("recall@20", "ndcg@20")
_Method = Literal["popularity", "als", "bpr", "towers", "pipeline"]


@dataclasses.dataclass(frozen=True)
class Study:
    """One comparison.

    Attributes:
        dataset: `movielens-100k`, `synthetic`, or a folder.
        core: Keep users and items with at least so many interactions.
        split: How the test cases are cut off.
        seeds: Runs of every method; intervals need two, the published figures have five or more.
        methods: Which to run: all by default.
        weights: What the Value Model is asked for, as task=weight; the first task by default.
        out: Folder for the JSON and the plot.
        cache: Folder for finished seeds.
        fresh: Forget the finished seeds.
        model: Sizes of the model.
        train: Settings of its training.
    """

    dataset: str = "movielens-100k"
    core: int = 0
    split: Literal["leave-last-out", "global-time"] = "leave-last-out"
    seeds: int = 5
    methods: tuple[_Method, ...] = ("popularity", "als", "bpr", "towers", "pipeline")
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    out: pathlib.Path = FOLDER
    cache: pathlib.Path = pathlib.Path("runs/quality")
    fresh: bool = False
    model: RetrieverConfig = dataclasses.field(default_factory=RetrieverConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds} must be at least 1")
        if not self.methods:
            raise ValueError("no methods to compare; leave --methods out to run them all")


def run(study: Study, console: rich.console.Console) -> Runs:
    """Runs, or takes from the cache, every method and seed of a study."""
    dataset = load(study.dataset, core=study.core)
    split = make_split(study.split, dataset.interactions)
    weights = study.weights or {dataset.schema.tasks[0]: 1.0}
    setup = methods.Setup(dataset, split, study.model, study.train, weights)
    console.print(
        f"[bold]{dataset.name}[/], {study.split}: {len(split.refit):,} interactions to learn "
        f"from, {len(split.test):,} test cases, {dataset.schema.items:,} items"
    )
    name = f"{dataset.name}-core{study.core}-{study.split}"
    pieces = _Pieces(Cache(study.cache / f"{name}.json", fresh=study.fresh), console)
    seen = dataset.interactions
    data = fingerprint(seen.user, seen.item, seen.time, seen.labels, study.split)
    basis = fingerprint(data, *_source("splits", "evaluate", "baselines", "tuning"))
    runs: dict[str, list[Result]] = {}

    def add(results: Mapping[str, Result]) -> None:
        for row, result in results.items():
            runs.setdefault(row, []).append(result)

    for method in study.methods:
        if method == "popularity":
            add(pieces.results("popularity", basis, lambda: methods.run_popularity(setup)))
            continue
        if method in methods.FACTORISATIONS:
            settings = pieces.settings(method, basis, setup)
            marked = fingerprint(basis, settings)
        else:
            settings = {}
            marked = fingerprint(data, weights, study.model, study.train, *_packages())
        for seed in range(study.seeds):
            add(
                pieces.results(
                    f"{method}, seed {seed}", marked, _job(setup, method, settings, seed)
                )
            )
    return runs


def _job(
    setup: methods.Setup, method: str, settings: Mapping[str, Any], seed: int
) -> Callable[[], dict[str, Result]]:
    if method in methods.FACTORISATIONS:
        return lambda: methods.run_factorisation(setup, method, settings, seed)
    if method == "towers":
        return lambda: methods.run_towers_alone(setup, seed)
    return lambda: methods.run_pipeline(setup, seed)


class _Pieces:
    """Runs what the cache does not hold, and tells of it."""

    def __init__(self, cache: Cache, console: rich.console.Console) -> None:
        self._cache = cache
        self._console = console

    def results(
        self, name: str, marked: str, job: Callable[[], dict[str, Result]]
    ) -> dict[str, Result]:
        kept = self._cache.get(name, marked)
        if kept is None:
            self._console.print(f"[dim]running[/] {name}")
            # Through `plain` now as well, so that a result is the same from the cache and fresh.
            kept = plain(
                {
                    row: {
                        "metrics": result.metrics,
                        "per_case": {m: np.round(result.per_case[m], 6) for m in _JUDGED},
                    }
                    for row, result in job().items()
                }
            )
            self._cache.put(name, marked, kept)
        return {
            row: Result(one["metrics"], {m: np.asarray(v) for m, v in one["per_case"].items()})
            for row, one in kept.items()
        }

    def settings(self, method: str, marked: str, setup: methods.Setup) -> dict[str, Any]:
        """The tuned settings of a factorisation."""
        kept = self._cache.get(f"{method}, tuned", marked)
        if kept is None:
            with self._console.status(f"tuning {method}") as status:
                done: list[Trial] = []

                def progress(trial: Trial) -> None:
                    done.append(trial)
                    best = max(one.score for one in done)
                    status.update(
                        f"tuning {method}: {len(done)} fits, best validation ndcg@20 {best:.4f}"
                    )

                tuned = methods.tune_factorisation(setup, method, progress)
            if tuned.on_edge:
                self._console.print(
                    f"[yellow]{method}: best value on the grid's edge: {tuned.on_edge}"
                )
            kept = plain(tuned.best)
            self._cache.put(f"{method}, tuned", marked, kept)
        self._console.print(
            f"{method}: {_spelled(kept['settings'])} (validation ndcg@20 {kept['score']:.4f})"
        )
        settings: dict[str, Any] = kept["settings"]
        return settings


def _source(*names: str) -> list[pathlib.Path]:
    """Source files that a baseline's figures depend on."""
    return [_ROOT / "silverjax/metrics.py", *(_ROOT / f"training/{name}.py" for name in names)]


def _packages() -> list[pathlib.Path]:
    """Source that the model's figures depend on; not the datasets, whose outcome is known."""
    training = (_ROOT / "training").glob("*.py")
    return [_ROOT / "silverjax", _ROOT / "pallas_kernels", *sorted(training)]


def _spelled(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def main(arguments: list[str] | None = None) -> None:
    console = rich.console.Console()
    study = tyro.cli(Study, args=arguments, description=__doc__)
    runs = run(study, console)
    summary = summarise(runs)
    console.print(table(summary, columns=_COLUMNS))
    for line in verdicts(summary, judged=_JUDGED):
        console.print(line, soft_wrap=True)
    name = f"quality-{pathlib.Path(study.dataset).name}-{study.split}"
    figures = {
        "methods": {
            row: {
                "estimates": summary[row],
                "seeds": {m: [one.metrics[m] for one in results] for m in results[0].metrics},
            }
            for row, results in runs.items()
        },
        "gain_interval_over_users": {m: gains(runs, m) for m in _JUDGED},
    }
    settings = dataclasses.asdict(study)
    for key in ("out", "cache", "fresh"):
        del settings[key]
    settings["dataset"] = pathlib.Path(study.dataset).name
    path = write_result(
        study.out / f"{name}.json", study="experiments.quality", settings=settings, figures=figures
    )
    plot = plot_quality(
        study.out / f"{name}.png",
        summary,
        _JUDGED,
        title=f"{settings['dataset']}, {study.split}: mean and 95 % interval over seeds",
        ours=(methods.TOWERS_ALONE, methods.TOWERS, methods.PIPELINE),
    )
    console.print(f"wrote {path} and {plot}", soft_wrap=True)


if __name__ == "__main__":
    main()
