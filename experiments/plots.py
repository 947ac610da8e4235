"""Charts of results, as PNG files."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from silverjax.metrics import Estimate

INK, GREY, OURS = "#22303c", "#9aa5b1", "#2a7f9e"


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
        colours = [OURS if method in ours else GREY for method in methods]
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
