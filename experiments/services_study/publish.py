"""Tables, a JSON file and a chart."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from experiments.plots import plot_services
from experiments.results import write_result
from experiments.services_study.one_function import SEARCH
from experiments.services_study.study import Study
from silverjax.report import table


def summary(
    speed: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """The best of each side, by the median of its rounds, and their ratios."""
    medians = {name: float(np.median(each)) for name, each in speed.items()}

    def best(side: str) -> str:
        return max((name for name in medians if name.startswith(side)), key=medians.__getitem__)

    ours, theirs = best("one function"), best("services")
    per_round = np.array(speed[ours]) / np.array(speed[theirs])
    return {
        "best": [ours, theirs],
        "ratio": medians[ours] / medians[theirs],
        "ratio_of_cpu": float(np.median(cpu[theirs]) / np.median(cpu[ours])),
        "ratio_of_rounds": [float(per_round.min()), float(per_round.max())],
    }


def publish(
    study: Study, figures: dict[str, Any], folder: pathlib.Path, console: Console
) -> pathlib.Path:
    """Prints, and writes `services-<items>.json` and `.png`."""
    speed, times = figures["requests_per_second"], figures["milliseconds_of_a_batch"]
    stages = times["one function"]
    figures["share_of_search"] = stages[SEARCH] / sum(stages.values())
    rows = table(
        f"{study.items:,} items, batches of {study.batch}", "", "requests/s", "rounds", "CPU ms"
    )
    for name, each in speed.items():
        cost = f"{np.median(figures['cpu_milliseconds'][name]):.2f}"
        rows.add_row(name, f"{np.median(each):,.0f}", f"{min(each):,.0f} to {max(each):,.0f}", cost)
    console.print(rows)
    low, high = figures["ratio_of_rounds"]
    console.print(
        f"{figures['ratio']:.2f} x the throughput of the services (rounds: {low:.2f} to "
        f"{high:.2f}); they use {figures['ratio_of_cpu']:.2f} x the CPU time of a request"
    )
    rows = table("Search at equal recall", "", "probes", "recall", "share of the clusters")
    for name, found in figures["search"].items():
        share = f"{found['probes'] / found['clusters']:.1%}"
        rows.add_row(name, f"{found['probes']:.0f}", f"{found['recall']:.4f}", share)
    console.print(rows)
    for name, parts in times.items():
        rows = table(f"Milliseconds of one batch: {name}", "", "ms", "share")
        whole = sum(parts.values())
        for part, took in parts.items():
            rows.add_row(part, f"{took:.2f}", f"{took / whole:.0%}")
        console.print(rows)
    path = write_result(
        folder / f"services-{study.items}.json",
        study="experiments.services_study",
        settings=dataclasses.asdict(study),
        figures=figures,
        headline={
            f"seven stages, {study.items:,} items, batches of {study.batch}": (
                f"{figures['ratio']:.2f}x the requests/s of three services over gRPC, "
                f"{figures['ratio_of_cpu']:.2f}x less CPU each"
            )
        },
    )
    plot_services(
        path.with_suffix(".png"),
        {name: list(each) for name, each in speed.items()},
        times,
        title=f"One function and three services: {study.items:,} items, batches of {study.batch}",
    )
    console.print(f"written to {path} and {path.with_suffix('.png').name}")
    return path
