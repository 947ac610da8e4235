"""What the search benchmark says: figures, their table and their chart."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.plots import BLUE, GREY, INK, save
from experiments.search.systems import OURS
from experiments.search.tuning import Setting


@dataclasses.dataclass(frozen=True)
class Figure:
    """One method at one recall and batch size.

    Attributes:
        method: Name of the method.
        target: Recall that was asked for.
        recall: Recall that it reached; where it missed the target, the best it can.
        batch: Queries per call; None where it missed the target.
        setting: Variant and knob.
        queries_per_second: Median of the rounds.
        low: Lower quartile of the rounds.
        high: Upper quartile.
        bytes: Of the index.
        bandwidth: Part of the machine's copy bandwidth that the bytes it must read came to, where
            they are known.
        int8: Part of the machine's int8 operations, likewise.
    """

    method: str
    target: float
    recall: float
    batch: int | None = None
    setting: str = ""
    queries_per_second: float | None = None
    low: float | None = None
    high: float | None = None
    bytes: int | None = None
    bandwidth: float | None = None
    int8: float | None = None

    @classmethod
    def of(
        cls,
        setting: Setting,
        target: float,
        batch: int,
        speeds: np.ndarray,
        *,
        shares: tuple[float, float | None] | None = None,
    ) -> Figure:
        """From the queries per second of each round, and the parts of the machine's ceilings."""
        variant = setting.variant
        low, median, high = np.percentile(speeds, (25, 50, 75)).tolist()
        bandwidth, int8 = shares or (None, None)
        return cls(
            method=variant.method,
            target=target,
            recall=setting.recall,
            batch=batch,
            setting=f"{variant.label}, {setting.value} {variant.knob}",
            queries_per_second=median,
            low=low,
            high=high,
            bytes=variant.bytes,
            bandwidth=bandwidth,
            int8=int8,
        )

    @classmethod
    def missed(cls, method: str, target: float, recall: float) -> Figure:
        """Of a method that does not reach the target."""
        return cls(method, target, recall)


def lead(figures: Iterable[Figure], target: float, batch: int) -> float | None:
    """Our queries per second over those of the best peer; None where there is nobody to compare."""
    here = {
        one.method: one.queries_per_second
        for one in figures
        if one.target == target and one.batch == batch and one.queries_per_second
    }
    peers = [speed for method, speed in here.items() if method != OURS]
    return here[OURS] / max(peers) if OURS in here and peers else None


def headline(
    figures: Sequence[Figure], batches: Sequence[int], name: str, threads: int
) -> dict[str, str]:
    """One line per recall: queries per second, and how many times the best peer's they are."""
    lines = {}
    for target in dict.fromkeys(one.target for one in figures):
        own = {one.batch: one for one in figures if one.method == OURS and one.target == target}
        speeds = [own[batch].queries_per_second if batch in own else None for batch in batches]
        leads = [lead(figures, target, batch) for batch in batches]
        what = (
            f"search of {name}, {_threads(threads)}, recall {target:.2f}: queries per second "
            f"at batch {' / '.join(map(str, batches))}"
        )
        lines[what] = (
            f"{' / '.join('-' if x is None else f'{x:,.0f}' for x in speeds)}; "
            f"{' / '.join('-' if x is None else f'{x:.1f}' for x in leads)} x the best peer"
        )
    return lines


def print_figures(
    figures: Sequence[Figure], batches: Sequence[int], name: str, threads: int, console: Console
) -> None:
    """One table per recall: methods by batch sizes, the best of each in bold."""
    for target in dict.fromkeys(one.target for one in figures):
        title = f"{name}, {_threads(threads)}, recall {target}: queries per second"
        table = Table("method", *(f"batch {batch}" for batch in batches), title=title)
        here = [one for one in figures if one.target == target]
        best = {
            batch: max(one.queries_per_second or 0.0 for one in here if one.batch == batch)
            for batch in batches
        }
        for method in dict.fromkeys(one.method for one in here):
            own = {one.batch: one for one in here if one.method == method}
            if None in own:
                table.add_row(method, f"not reached: {own[None].recall:.3f}")
                continue
            cells = []
            for batch in batches:
                speed = own[batch].queries_per_second or 0.0
                cells.append(Text(f"{speed:,.0f}", "bold" if speed == best[batch] else ""))
            table.add_row(method, *cells)
        leads = [lead(here, target, batch) for batch in batches]
        table.add_section()
        table.add_row("ours / best peer", *("-" if x is None else f"{x:.2f}" for x in leads))
        own = {one.batch: one for one in here if one.method == OURS}
        table.add_row("copy bandwidth", *(_share(own, batch, "bandwidth") for batch in batches))
        table.add_row("int8 peak", *(_share(own, batch, "int8") for batch in batches))
        console.print(table)


def _share(own: dict[int | None, Figure], batch: int, ceiling: str) -> str:
    share = getattr(own[batch], ceiling) if batch in own else None
    return "-" if share is None else f"{share:.0%}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def plot_frontier(path: pathlib.Path, figures: Sequence[Figure], *, title: str) -> pathlib.Path:
    """Queries per second over recall, one panel per batch size, one line per method."""
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    batches = sorted({one.batch for one in figures if one.batch is not None})
    figure = matplotlib.figure.Figure(figsize=(1 + 4 * len(batches), 4), layout="constrained")
    figure.suptitle(f"{title}: queries per second at recall", color=INK)
    panels = figure.subplots(1, len(batches), squeeze=False)[0]
    methods = list(dict.fromkeys(one.method for one in figures if one.batch is not None))
    for panel, batch in zip(panels, batches):
        for number, method in enumerate(methods):
            points = sorted(
                (one.recall, one.queries_per_second)
                for one in figures
                if one.method == method and one.batch == batch and one.queries_per_second
            )
            ours = method == OURS
            panel.plot(
                *zip(*points),
                marker="os^DvPX<>"[number % 9],
                color=BLUE if ours else GREY,
                linewidth=2.5 if ours else 1.0,
                label=method,
            )
        panel.set_yscale("log")
        panel.set_title(f"batch {batch}", color=INK, fontsize=10)
        panel.set_xlabel("recall")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=7, frameon=False)
    return save(figure, path)
