"""What the runs of `experiments.quality` say, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rich.table

from experiments import quality_methods as methods
from silverjax.metrics import Estimate, mean_and_interval
from training.evaluate import Result, compare

# By row of the table, one result per seed.
Runs = Mapping[str, Sequence[Result]]
Summary = Mapping[str, Mapping[str, Estimate]]


def summarise(runs: Runs) -> dict[str, dict[str, Estimate]]:
    """Mean and 95 % interval over the seeds, by method and metric."""
    return {
        row: {
            metric: mean_and_interval([one.metrics[metric] for one in results])
            for metric in results[0].metrics
        }
        for row, results in runs.items()
    }


def table(summary: Summary, *, columns: Sequence[str]) -> rich.table.Table:
    """The best mean of each column in bold; narrow enough for a terminal of 80 columns."""
    drawn = rich.table.Table(title="mean, and ± half of the 95 % interval over seeds")
    drawn.add_column("method")
    best = {column: max(row[column].mean for row in summary.values()) for column in columns}
    for column in columns:
        drawn.add_column(column, justify="right", no_wrap=True)
    drawn.add_column("runs", justify="right", no_wrap=True)
    for name, row in summary.items():
        cells = []
        for column in columns:
            mean = f"{row[column].mean:.4f}"
            cell = f"[bold]{mean}[/]" if row[column].mean == best[column] else mean
            # A single run has no interval.
            half = f"\n±{row[column].half_width:.4f}" if row[column].values > 1 else ""
            cells.append(cell + half)
        drawn.add_row(name, *cells, str(row[columns[0]].values))
    return drawn


def verdicts(summary: Summary, *, judged: Sequence[str]) -> Iterator[str]:
    """One sentence per comparison of the pipeline with another method and metric."""
    ours = summary.get(methods.PIPELINE)
    if ours is None:
        return
    for name, row in summary.items():
        if name == methods.PIPELINE:
            continue
        for metric in judged:
            gain = ours[metric].mean / row[metric].mean - 1 if row[metric].mean else float("inf")
            yield (
                f"{methods.PIPELINE} against {name}: {metric} {gain:+.1%}, "
                f"intervals {relation(ours[metric], row[metric])}"
            )


def relation(one: Estimate, other: Estimate) -> str:
    """How two intervals lie. Where only the other is a single run, it has no randomness."""
    if one.values == 1:
        return "unknown (a single seed)"
    low, high = (other.low, other.high) if other.values > 1 else (other.mean, other.mean)
    return "apart" if one.low > high or one.high < low else "overlapping"


def gains(runs: Runs, metric: str) -> dict[str, tuple[float, float]]:
    """The pipeline's gain over each other method, as a 95 % interval over users.

    Each user's value is the mean over the seeds. The interval over seeds says what another
    training run would change; this one, what other users would.
    """
    if methods.PIPELINE not in runs:
        return {}
    per_user = {
        row: Result({}, {metric: np.mean([one.per_case[metric] for one in results], axis=0)})
        for row, results in runs.items()
    }
    against = compare(per_user, metric)[methods.PIPELINE]
    return {row: interval for row, interval in against.items() if row != methods.PIPELINE}
