"""Where accelerators begin to pay, how large queries are, and how schedulers find their way.

    python -m experiments.deeprecinfra.figures
    python -m experiments.deeprecinfra.figures --model rmc1 --profiles experiments/results/gpu.json

Crossover: the smallest batch that an accelerator runs sooner than one core. Sizes: how many
queries are how large, and what part of all items is in the largest quarter of queries. Trace: the
rate of each measurement of a scheduler over the queries it has spent.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
from rich.console import Console

from experiments.command import run_command
from experiments.deeprecinfra.bench import Bench, sustained
from experiments.deeprecinfra.model_config import MODELS
from experiments.deeprecinfra.plans import Plan
from experiments.deeprecinfra.profiles import Machine, Profile, load
from experiments.deeprecinfra.published import published_machine
from experiments.deeprecinfra.schedulers import SCHEDULERS
from experiments.deeprecinfra.workload import latency_target
from experiments.plots import BLUE, GREY, INK, save
from experiments.results import FOLDER, write_result
from serving.load.workload import LARGEST, draw_sizes

_SIZES = ("mlperf", "kairos", "lognormal")
_TRACED = ("DeepRecSched, published", "Hercules-like", "ours")
_QUERIES = 200_000


@dataclasses.dataclass(frozen=True)
class Figures:
    """What to draw.

    Attributes:
        model: Whose climb is traced.
        level: Of its target.
        accelerator: Published accelerator: `1080ti` or `t4` (of five models).
        profiles: Measured profiles of an accelerator instead.
        seed: Of everything random.
        folder: Where results are written.
    """

    model: str = "wnd"
    level: str = "medium"
    accelerator: str = "1080ti"
    profiles: pathlib.Path | None = None
    seed: int = 1
    folder: pathlib.Path = FOLDER


class Traced(Bench):
    """A bench that notes each measurement.

    Attributes:
        trace: Queries spent so far, and the rate.
    """

    def __init__(self, machine: Machine, target: float, *, seed: int = 0) -> None:
        super().__init__(machine, target, seed=seed)
        self.trace: list[tuple[int, float]] = []

    def late(self, plan: Plan, rate: float, count: int, *, most: int | None = None) -> int:
        found = super().late(plan, rate, count, most=most)
        self.trace.append((self.spent, rate))
        return found


def crossover(core: Profile, accelerator: Profile) -> int | None:
    """Items of the smallest batch that the accelerator runs sooner; None: there is none."""
    sooner = np.flatnonzero(accelerator.by_rows()[1:] < core.by_rows()[1:])
    return int(sooner[0]) + 1 if len(sooner) else None


def accelerators(asked: Figures) -> dict[str, tuple[Profile, Profile]]:
    """Core and accelerator, by model."""
    measured = load(asked.profiles) if asked.profiles else None
    found = {}
    for model in MODELS if measured is None else measured:
        machine = published_machine(model, accelerator=None if measured else asked.accelerator)
        beside = machine.accelerator if measured is None else measured[model]
        assert beside is not None  # asked for above
        found[model] = (machine.cpu, beside)
    return found


def size_figures(name: str, seed: int) -> dict[str, float]:
    """Mean, percentiles, and the share of all items that is in the largest quarter of queries."""
    sizes = np.sort(draw_sizes(name, _QUERIES, np.random.default_rng(seed)))
    percentiles = {f"p{q}": float(np.percentile(sizes, q)) for q in (50, 75, 95, 99)}
    quarter = float(sizes[3 * len(sizes) // 4 :].sum() / sizes.sum())
    return {"mean": float(sizes.mean()), **percentiles, "items in the largest quarter": quarter}


def trace(asked: Figures, scheduler: str) -> dict[str, object]:
    """Every measurement, and what the choice carries in the end."""
    machine = published_machine(asked.model)
    target = latency_target(asked.model, asked.level)
    bench = Traced(machine, target, seed=asked.seed)
    plan = SCHEDULERS[scheduler](bench)
    return {"measurements": bench.trace, "carries": sustained(machine, plan, target)}


def main(asked: Figures) -> dict[str, Mapping[str, object]]:
    """Computes, draws, and writes JSON and a chart."""
    console = Console()
    pairs = accelerators(asked)
    found: dict[str, Mapping[str, object]] = {
        "crossover": {model: crossover(*pair) for model, pair in pairs.items()},
        "sizes": {name: size_figures(name, asked.seed) for name in _SIZES},
        "trace": {name: trace(asked, name) for name in _TRACED},
        "sources": {model: f"{two.kind}: {two.source}" for model, (_, two) in pairs.items()},
    }
    console.print_json(data={name: found[name] for name in ("crossover", "sizes")})
    write_result(
        asked.folder / "deeprecinfra-figures.json",
        study="experiments.deeprecinfra.figures",
        settings=dataclasses.asdict(asked),
        figures=found,
    )
    path = plot(asked.folder / "deeprecinfra-figures.png", asked, pairs, found["trace"])
    console.print(f"written to {asked.folder}/deeprecinfra-figures.json and {path.name}")
    return found


def plot(
    path: pathlib.Path,
    asked: Figures,
    pairs: Mapping[str, tuple[Profile, Profile]],
    traces: Mapping[str, object],
) -> pathlib.Path:
    """A panel for each of the three."""
    import matplotlib
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    figure = matplotlib.figure.Figure(figsize=(14, 4.2), layout="constrained")
    speed, sizes, climb = figure.subplots(1, 3)
    shades = matplotlib.colormaps["viridis"]
    rows = np.arange(1, LARGEST + 1)
    for place, (model, (core, beside)) in enumerate(pairs.items()):
        ratio = core.by_rows()[1:] / beside.by_rows()[1:]
        speed.loglog(rows, ratio, color=shades(place / len(pairs)), label=model)
    speed.axhline(1.0, color=INK, linewidth=0.8)
    speed.set_title(f"{next(iter(pairs.values()))[1].device} over one core", color=INK, fontsize=10)
    speed.set_xlabel("items of a batch")
    for name, colour in zip(_SIZES, (BLUE, INK, GREY)):
        drawn = np.sort(draw_sizes(name, _QUERIES, np.random.default_rng(asked.seed)))
        sizes.step(drawn, 1 - np.arange(_QUERIES) / _QUERIES, color=colour, label=name)
    sizes.set_title("queries of so many items or more", color=INK, fontsize=10)
    sizes.set_xlabel("items of a query")
    for (name, one), colour in zip(traces.items(), (GREY, INK, BLUE)):
        assert isinstance(one, dict)  # as `trace` makes them
        spent, rates = zip(*one["measurements"])
        climb.semilogx(spent, rates, color=colour, marker=".", linewidth=0.8, label=name)
        climb.axhline(one["carries"], color=colour, linestyle=":")
    climb.set_title(f"{asked.model}, {asked.level} target: rates tried", color=INK, fontsize=10)
    climb.set_xlabel("queries spent (dotted: what the choice carries)")
    for panel in (speed, sizes, climb):
        panel.legend(frameon=False, fontsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


if __name__ == "__main__":
    run_command(main, Figures, __doc__)
