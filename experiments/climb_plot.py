"""The trace of a climb: latency against the target, the batch limit, and every reason."""

from __future__ import annotations

import itertools
import pathlib
import textwrap
from collections.abc import Sequence

import numpy as np

from experiments.plots import BLUE, GREY, INK, save
from experiments.serving_sim import Run
from serving.hill_climb import Decision


def plot_climb(
    path: pathlib.Path,
    run: Run,
    trace: Sequence[tuple[float, Decision]],
    *,
    target: float,
    title: str,
) -> pathlib.Path:
    """Draws one run.

    Args:
        path: The PNG to write; replaced at once.
        run: What happened.
        trace: Decisions, with their time in seconds.
        target: Seconds, of the 99th percentile.
        title: Above all.
    """
    import matplotlib.figure  # no pyplot: no window system, no state to clean up

    figure = matplotlib.figure.Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, color=INK)
    rate, late, limit = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.4, 2])
    seconds = np.floor(run.arrivals).astype(int)
    rate.step(*_steps(np.bincount(seconds)), where="post", color=GREY)
    rate.set_ylabel("requests/s")
    rate.set_ylim(bottom=0)
    tail = [_p99(run.latencies[seconds == second]) for second in range(seconds.max() + 1)]
    late.step(*_steps(1e3 * np.array(tail)), where="post", color=BLUE)
    late.axhline(1e3 * target, color=INK, linewidth=0.8, linestyle="--")
    late.set_ylabel("p99, ms\n(dashed: target)")
    limit.step(
        [time for time, _ in trace], [d.batch_limit for _, d in trace], where="post", color=BLUE
    )
    limit.set_yscale("log", base=2)
    limit.set_ylabel("batch limit, rows")
    limit.set_xlabel("seconds")
    moves = [(0.0, trace[0][1]), *trace]
    moves = [b for a, b in itertools.pairwise(moves) if a[1].batch_limit != b[1].batch_limit]
    for number, (time, decision) in enumerate(moves, 1):
        limit.annotate(
            str(number), (time, decision.batch_limit), xytext=(3, 3), fontsize=8, color=INK,
            textcoords="offset points",
        )  # fmt: skip
    lines = [
        textwrap.fill(f"{n}. {time:.1f} s, to {d.batch_limit}: {d.reason}", 52)
        for n, (time, d) in enumerate(moves[:12], 1)
    ]
    limit.text(
        0.99, 0.03, "\n".join(lines), transform=limit.transAxes, fontsize=7, color=INK,
        ha="right", va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )  # fmt: skip
    for panel in (rate, late, limit):
        panel.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def _steps(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(values) + 1), np.append(values, values[-1])


def _p99(latencies: np.ndarray) -> float:
    """nan where too few were answered to speak of a tail."""
    answered = latencies[~np.isnan(latencies)]
    return float(np.quantile(answered, 0.99)) if len(answered) >= 20 else float("nan")
