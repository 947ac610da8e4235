"""What the study says: geometric means over the models, their table, report and chart."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from experiments.deeprecinfra.schedulers import OURS
from experiments.deeprecinfra.study import Cell
from experiments.plots import BLUE, GREY, INK, save

STATIC, PUBLISHED, ORACLE = "static", "DeepRecSched, published", "oracle"
# Read off the paper's main figure: DeepRecSched over static, geometric mean of the eight models.
PAPER = {
    "": {"low": 1.74, "medium": 2.05, "high": 2.6},
    "accelerator": {"low": 4.3, "medium": 5.2, "high": 5.8},
}
# Of a node, over one without an accelerator: in the paper's figure queries per second and queries
# per second and watt differ by 2.00 +- 0.03 for every model and target, so its power is a
# constant. It is a model, not a measurement.
POWER = {"": 1.0, "accelerator": 2.0}
_COLUMNS = ["scheduler", "over static", "met", "over published", "least", "of oracle", "spent"]
_COLUMNS += ["QPS/W"]


@dataclasses.dataclass(frozen=True)
class Line:
    """One scheduler at one target, with or without an accelerator.

    Attributes:
        accelerator: Its name; empty: cores alone.
        level: Of the target.
        scheduler: By name.
        over_static: Queries per second over the static scheduler on cores alone; geometric mean
            of the models, 0 where one is 0.
        carried: Models whose target it meets at all.
        models: All models.
        spent: Queries measured, geometric mean; 0 where none.
        of_published: Over DeepRecSched as published, geometric mean; None without it.
        least_of_published: The same of the model where it is least.
        of_oracle: Over the oracle, geometric mean; None without it.
        ceiling: What no scheduler can exceed, over static; geometric mean.
        per_watt: Queries per second and watt over static, by the paper's constant power.
        paper: What the paper's figure has for DeepRecSched over static.
    """

    accelerator: str
    level: str
    scheduler: str
    over_static: float
    carried: int
    models: int
    spent: float
    of_published: float | None
    least_of_published: float | None
    of_oracle: float | None
    ceiling: float
    per_watt: float
    paper: float


def geomean(values: Iterable[float]) -> float:
    """Geometric mean; 0 if any is 0."""
    found = list(values)
    return math.exp(float(np.mean(np.log(found)))) if found and min(found) > 0 else 0.0


def summary(cells: Sequence[Cell]) -> list[Line]:
    """A line per accelerator, level and scheduler."""
    by: dict[tuple[str, ...], Cell] = {
        (c.accelerator, c.level, c.scheduler, c.model): c for c in cells
    }
    lines = []
    for accelerator, level, scheduler, _ in dict.fromkeys((*key[:3], "") for key in by):
        own = [c for key, c in by.items() if key[:3] == (accelerator, level, scheduler)]
        kind = "accelerator" if accelerator else ""
        published, oracle, static = (
            _ratios(own, by, other, where)
            for other, where in ((PUBLISHED, accelerator), (ORACLE, accelerator), (STATIC, ""))
        )
        lines.append(
            Line(
                accelerator=accelerator,
                level=level,
                scheduler=scheduler,
                over_static=geomean(static),
                carried=sum(c.qps > 0 for c in own),
                models=len(own),
                spent=geomean(c.spent for c in own),
                of_published=geomean(published) if published else None,
                least_of_published=min(published, default=None),
                of_oracle=geomean(oracle) if oracle else None,
                ceiling=geomean(c.ceiling for c in own)
                / geomean(by["", level, STATIC, c.model].qps for c in own),
                per_watt=geomean(static) / POWER[kind],
                paper=PAPER[kind][level],
            )
        )
    return lines


def _over_published(lines: Sequence[Line]) -> str:
    """How far DeepRecSched as published is from the ceiling."""
    found = [x.over_static for x in lines if x.scheduler == PUBLISHED and x.over_static]
    return f", {lines[0].ceiling / found[0]:.2f} times {PUBLISHED}" if found else ""


def _ratios(
    own: Sequence[Cell], by: Mapping[tuple[str, ...], Cell], other: str, accelerator: str
) -> list[float]:
    """Queries per second over those of another scheduler, by model."""
    pairs = [(c, by.get((accelerator, c.level, other, c.model))) for c in own]
    return [c.qps / d.qps for c, d in pairs if d is not None and d.qps]


def headline(lines: Sequence[Line], machine: str) -> dict[str, str]:
    """For the table of all results."""
    found = {}
    for accelerator in dict.fromkeys(line.accelerator for line in lines):
        own = [x for x in lines if (x.accelerator, x.scheduler) == (accelerator, OURS)]
        if own:
            beside = f" and {accelerator}" if accelerator else ""
            found[
                f"DeepRecInfra, simulated {machine}{beside}: queries per second over static at "
                f"{' / '.join(x.level for x in own)} target"
            ] = (
                f"{' / '.join(f'{x.over_static:.2f}' for x in own)}; "
                f"{' / '.join(_number(x.of_published) for x in own)} x DeepRecSched, "
                f"{' / '.join(_number(x.of_oracle) for x in own)} of the oracle"
            )
    return found


def markdown(cells: Sequence[Cell], sources: Mapping[str, str], *, title: str) -> str:
    """The whole report."""
    lines = summary(cells)
    text = [f"# {title}", ""]
    text += [
        "Queries per second at which the 95th percentile of latency meets the target with 95 %",
        "confidence, simulated; geometric means over the models. A scheduler that cannot meet the",
        "target of a model at any rate has mean 0; how many it meets is in the column beside.",
        "`paper` is what the paper's figure shows of DeepRecSched on its own machines, over its",
        "own static one; `ceiling` is every device always busy with its best batches: where that",
        "is below the paper's figure, no scheduler can reach the figure on these times. QPS/W is",
        "by the paper's two levels of power, a node with an accelerator drawing twice as much as",
        "one without; nothing was measured.",
    ]
    for accelerator in dict.fromkeys(line.accelerator for line in lines):
        for level in dict.fromkeys(line.level for line in lines):
            own = [x for x in lines if (x.accelerator, x.level) == (accelerator, level)]
            if not own:
                continue
            beside = f"cores and {accelerator}" if accelerator else "cores alone"
            bounds = f"paper {own[0].paper:.2f}, ceiling {own[0].ceiling:.2f}{_over_published(own)}"
            text += ["", f"## {beside}, {level} target ({bounds})", ""]
            text += [
                f"| {' | '.join(_COLUMNS)} |",
                "|" + "---|" * len(_COLUMNS),
            ]
            text += [
                f"| {x.scheduler} | {x.over_static:.2f} | {x.carried}/{x.models} "
                f"| {_number(x.of_published)} | {_number(x.least_of_published)} "
                f"| {_number(x.of_oracle)} | {x.spent:,.0f} | {x.per_watt:.2f} |"
                for x in own
            ]
    text += ["", "## Each model", ""]
    schedulers = list(dict.fromkeys(c.scheduler for c in cells))
    text += [
        f"| model | target | accelerator | {' | '.join(schedulers)} |",
        "|" + "---|" * (3 + len(schedulers)),
    ]
    for key in dict.fromkeys((c.model, c.level, c.accelerator) for c in cells):
        rates = {c.scheduler: c.qps for c in cells if (c.model, c.level, c.accelerator) == key}
        shown = " | ".join(f"{rates[name]:,.0f}" if name in rates else "-" for name in schedulers)
        text.append(f"| {key[0]} | {key[1]} | {key[2] or '-'} | {shown} |")
    text += ["", "## Where the times are from", ""]
    text += [f"- {what}: {source}" for what, source in sources.items()]
    return "\n".join(text) + "\n"


def plot(path: pathlib.Path, lines: Sequence[Line], *, title: str) -> pathlib.Path:
    """A panel per target, a bar per scheduler; pale with the accelerator's part on top."""
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    levels = list(dict.fromkeys(line.level for line in lines))
    names = list(dict.fromkeys(line.scheduler for line in lines))
    kinds = list(dict.fromkeys(line.accelerator for line in lines))
    figure = matplotlib.figure.Figure(
        figsize=(2 + 3.2 * len(levels), 1.5 + 0.4 * len(names)), layout="constrained"
    )
    figure.suptitle(title, color=INK)
    panels = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    height = 0.8 / len(kinds)
    for panel, level in zip(panels, levels):
        for number, kind in enumerate(kinds):
            own = {x.scheduler: x for x in lines if (x.level, x.accelerator) == (level, kind)}
            values = [own[name].over_static for name in names]
            places = np.arange(len(names)) + (number - (len(kinds) - 1) / 2) * height
            colours = [BLUE if name == OURS else GREY for name in names]
            panel.barh(places, values, height, color=colours, alpha=1.0 if kind else 0.6)
            for place, value in zip(places, values):
                panel.annotate(
                    f"{value:.2f}" + (f" with {kind}" if kind else ""), (value, place),
                    xytext=(3, 0), textcoords="offset points", va="center", fontsize=6, color=INK,
                )  # fmt: skip
        panel.set_yticks(np.arange(len(names)), names)
        panel.set_title(f"{level} target", color=INK, fontsize=10)
        panel.margins(x=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    return save(figure, path)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
