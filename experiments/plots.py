"""Charts of results, as PNG files."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence

from silverjax.metrics import Estimate
from silverjax.tuning import Point

INK, GREY, BLUE = "#22303c", "#9aa5b1", "#2a7f9e"


def plot_quality(
    path: pathlib.Path,
    estimates: Mapping[str, Mapping[str, Estimate]],
    metrics: Sequence[str],
    *,
    title: str,
    ours: Sequence[str] = (),
) -> pathlib.Path:
    """One panel per metric, one bar per method, whiskers for the confidence interval.

    Args:
        path: The PNG to write; replaced at once.
        estimates: By method, then metric.
        metrics: Panels, from left to right.
        title: Above all panels.
        ours: Methods to set off by colour.
    """
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    methods = list(estimates)
    figure = matplotlib.figure.Figure(
        figsize=(1.4 + 3.2 * len(metrics), 1.2 + 0.42 * len(methods)), layout="constrained"
    )
    figure.suptitle(title, color=INK)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, metrics):
        means = [estimates[method][metric].mean for method in methods]
        errors = [_whisker(estimates[method][metric]) for method in methods]
        colours = [BLUE if method in ours else GREY for method in methods]
        panel.barh(methods, means, xerr=errors, color=colours, ecolor=INK, capsize=3)
        for row, (mean, error) in enumerate(zip(means, errors)):
            panel.annotate(
                f"{mean:.3f}", (mean + error, row), xytext=(4, 0), va="center", color=INK,
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
        panel.set_title(metric, color=INK, fontsize=10)
        panel.margins(x=0.18)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    return save(figure, path)


def plot_services(
    path: pathlib.Path,
    rates: Mapping[str, Sequence[float]],
    times: Mapping[str, Mapping[str, float]],
    *,
    title: str,
) -> pathlib.Path:
    """Requests per second, and what the time of a batch is made of.

    Args:
        path: The PNG to write; replaced at once.
        rates: By way of running, one figure a round; bars are medians, whiskers the range.
        times: By side, milliseconds of each part.
        title: Above both panels.
    """
    import matplotlib
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    figure = matplotlib.figure.Figure(figsize=(11, 3.4), layout="constrained")
    figure.suptitle(title, color=INK)
    left, right = figure.subplots(1, 2)
    for row, (name, rounds) in enumerate(rates.items()):
        middle = statistics.median(rounds)
        reach = [[middle - min(rounds)], [max(rounds) - middle]]
        colour = BLUE if name.startswith("one function") else GREY
        left.barh(name, middle, xerr=reach, color=colour, ecolor=INK, capsize=3)
        left.annotate(
            f"{middle:,.0f}", (max(rounds), row), xytext=(4, 0), va="center", color=INK,
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    left.set_title("requests per second", color=INK, fontsize=10)
    shades = matplotlib.colormaps["YlGnBu"]
    longest = max(sum(parts.values()) for parts in times.values())
    for side, parts in times.items():
        start = 0.0
        for place, (part, took) in enumerate(parts.items()):
            shade = shades(0.25 + 0.6 * place / max(len(parts) - 1, 1))
            right.barh(side, took, left=start, color=shade)
            if took > 0.06 * longest:
                right.annotate(
                    part,
                    (start + took / 2, side),
                    ha="center",
                    va="center",
                    fontsize=7,
                    rotation=20,
                    color="white" if 2 * place >= len(parts) else INK,
                )
            start += took
    right.set_title("milliseconds of one batch alone", color=INK, fontsize=10)
    for panel in (left, right):
        panel.margins(x=0.18)
        panel.spines[["top", "right"]].set_visible(False)
        panel.invert_yaxis()
    return save(figure, path)


def plot_tuning(
    path: pathlib.Path, points: Sequence[Point], chosen: Point, *, batch: int
) -> pathlib.Path:
    """Requests per second over recall, the chosen number of clusters set off.

    Args:
        path: The PNG to write; replaced at once.
        points: As measured by `silverjax.tuning.frontier`.
        batch: Requests in the batch that was timed.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    speeds = {point: 1e3 * batch / point.latency_ms for point in points}
    panel.plot([p.recall for p in points], list(speeds.values()), color=GREY, marker="o")
    panel.plot([chosen.recall], [speeds[chosen]], color=BLUE, marker="o", markersize=10)
    for point, speed in speeds.items():
        panel.annotate(
            f"{point.probes}", (point.recall, speed), xytext=(4, 4),
            textcoords="offset points", fontsize=8, color=INK,
        )  # fmt: skip
    panel.set_title(f"Clusters visited: recall and speed, batch of {batch}", color=INK, fontsize=10)
    panel.set_xlabel("recall against brute force")
    panel.set_ylabel("requests per second")
    panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def _whisker(estimate: Estimate) -> float:
    return estimate.half_width if estimate.values > 1 else 0.0


def save(figure: object, path: pathlib.Path) -> pathlib.Path:
    """Writes a figure as a PNG; a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        aside = pathlib.Path(folder) / path.name
        figure.savefig(aside, dpi=150)  # type: ignore[attr-defined]
        aside.replace(path)
    return path
