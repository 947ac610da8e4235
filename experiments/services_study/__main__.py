"""Measures, prints and publishes; see the package."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from experiments import services_study
from experiments.command import run_command
from experiments.results import FOLDER
from experiments.services_study.corpus import make_catalogue, make_variables
from experiments.services_study.measure import (
    check_answers,
    exact_truth,
    fewest_probes,
    least_asked,
    rates,
    tune,
)
from experiments.services_study.one_function import OneFunction
from experiments.services_study.publish import publish, summary
from experiments.services_study.requests import Ask, make_asks
from experiments.services_study.services import Services
from experiments.services_study.storage import save_all
from experiments.services_study.study import ASKED, Study

_IN_FLIGHT = (1, 2, 4)
_TUNING = 2  # batches that recall is measured on


def run(study: Study, console: Console) -> dict[str, Any]:
    """The figures of a study."""
    with console.status(f"making {study.items:,} items and their index"):
        catalogue = make_catalogue(study)
        variables = make_variables(study, catalogue)
    asks = make_asks(study, catalogue, study.batch * (study.batches + _TUNING))
    batches = [asks[at : at + study.batch] for at in range(0, len(asks), study.batch)]
    tuning, stream = batches[:_TUNING], batches[_TUNING:]
    index = variables["index"]["items"]
    with Progress(console=console, transient=True) as progress:
        ours = OneFunction(study, variables)
        queries = ours.embeddings(tuning)
        items = np.asarray(index.cache.embeddings)
        truth = exact_truth(catalogue, items, queries, tuning, study.candidates, progress)
        probes, _ = fewest_probes(
            lambda probes: truth.recall(functools.partial(ours.rows_at, probes, ASKED)),
            study.recall,
            most=index.clusters,
        )
        asked, reached = least_asked(
            lambda asked: truth.recall(functools.partial(ours.rows_at, probes, asked)), study.recall
        )
        ours.compile(probes, asked, tuning[0])
        with tempfile.TemporaryDirectory(prefix="services-study-") as folder:
            save_all(pathlib.Path(folder), study, catalogue, variables)
            waiting = progress.add_task("starting the services", total=None)
            with Services(study, pathlib.Path(folder)) as services:
                progress.remove_task(waiting)
                searches = tune(services, truth, study, progress)
                agreement = check_answers(ours, services, truth)
                sides: dict[str, OneFunction | Services] = {
                    "one function": ours,
                    "services": services,
                }
                runs = {
                    f"{name}, {lanes} in flight": functools.partial(side.answers, in_flight=lanes)
                    for name, side in sides.items()
                    for lanes in _IN_FLIGHT
                }
                speed = rates(
                    runs, stream, services.cpu_seconds, rounds=study.rounds, progress=progress
                )
                called = services.milliseconds(stream)
                chosen = services.kind
        stages = ours.stage_times(stream, repeats=max(1, study.rounds // 2))
    return {
        **dataclasses.asdict(speed),
        **summary(speed.requests_per_second, speed.cpu_milliseconds),
        "search": {
            "one function": {
                "clusters": index.clusters,
                "probes": probes,
                "filtered_recall": asked,
                "recall": reached,
            },
            **searches,
        },
        "faiss_index_used": chosen,
        "share_admitted": _shares(asks[: len(truth.allowed)], truth.allowed),
        "agreement": agreement,
        "milliseconds_of_a_batch": {"one function": stages, "services": called},
    }


def _shares(asks: Sequence[Ask], allowed: Sequence[np.ndarray]) -> dict[str, float]:
    """Share of the items that filters of each kind admit, median."""
    shares: dict[str, list[float]] = {}
    for ask, mask in zip(asks, allowed, strict=True):
        shares.setdefault(ask.kind, []).append(float(mask.mean()))
    return {kind: float(np.median(each)) for kind, each in sorted(shares.items())}


def main(study: Study, *, folder: pathlib.Path = FOLDER) -> pathlib.Path:
    """Runs the study; prints tables and writes a JSON file and a chart to `folder`."""
    console, study = Console(), study.sized()
    return publish(study, run(study, console), folder, console)


if __name__ == "__main__":
    run_command(main, Study, services_study.__doc__)
