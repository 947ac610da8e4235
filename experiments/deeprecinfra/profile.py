"""Measures how long batches of the models take on this machine.

python -m experiments.deeprecinfra.profile --table-scale 0.05 --cores 4
python -m experiments.deeprecinfra.profile --models ncf wnd --preset paper

On a processor each worker has a core of its own, as in DeepRecSys, and with several cores it is
also measured how much slower a batch is while all of them work. On an accelerator the time
includes bringing the inputs there. The file can be used by the study: `--profiles FILE`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import multiprocessing.synchronize
import os
import pathlib
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.progress import track

from experiments.command import run_command
from experiments.deeprecinfra.model_config import MODELS, model_config
from experiments.deeprecinfra.profiles import Profile, noise_of, save
from experiments.results import FOLDER
from silverjax.machine import usable_cores

BATCHES = (1, 4, 16, 64, 128, 256, 512, 1024)
_SLOWDOWN_BATCH = 256
_together: multiprocessing.synchronize.Barrier  # of the workers of one pool; set in each


@dataclasses.dataclass(frozen=True)
class Measuring:
    """What to measure.

    Attributes:
        models: Of the eight.
        preset: `repo` or `paper`.
        table_scale: Share of the rows of tables.
        cores: Workers at a time, for the slowdown; of a processor only.
        seconds: Spent on each batch size, beside compilation.
        path: Of the file that is written.
    """

    models: tuple[str, ...] = MODELS
    preset: str = "repo"
    table_scale: float = 1.0
    cores: int = 1
    seconds: float = 1.0
    path: pathlib.Path = FOLDER / "deeprecinfra-profiles.json"


def sample(
    call: Callable[[], object], *, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> np.ndarray:
    """Times of single calls, at least five; the first is a warm-up and not among them."""
    call()
    times, start = list[float](), clock()
    while len(times) < 5 or clock() - start < seconds:
        before = clock()
        call()
        times.append(clock() - before)
    return np.array(times)


def times_of(measuring: Measuring, model: str, batches: tuple[int, ...]) -> list[np.ndarray]:
    """Samples by batch size, on this process's devices."""
    import jax  # after the process has been bound to its core

    from experiments.deeprecinfra.models import init, predict, random_inputs

    config = model_config(model, measuring.preset, table_scale=measuring.table_scale)
    variables = init(config)
    found = []
    for batch in batches:
        inputs = jax.tree.map(np.asarray, random_inputs(config, batch))

        def call(inputs: object = inputs) -> object:
            return np.asarray(predict(config, variables, jax.device_put(inputs)))

        found.append(sample(call, seconds=measuring.seconds))
    return found


def _alone(measuring: Measuring, model: str) -> tuple[str, str, list[np.ndarray]]:
    import jax

    device = jax.devices()[0]
    return device.platform, device.device_kind, times_of(measuring, model, BATCHES)


def _bind(cores: multiprocessing.Queue[int], start: multiprocessing.synchronize.Barrier) -> None:
    """Before JAX starts its threads: they stay on the core of the process."""
    global _together
    _together = start
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})


def _beside(measuring: Measuring, model: str) -> float:
    """Median time of a batch while the other workers run the same."""
    times_of(dataclasses.replace(measuring, seconds=0.0), model, (_SLOWDOWN_BATCH,))
    _together.wait()
    return float(np.median(times_of(measuring, model, (_SLOWDOWN_BATCH,))[0]))


def workers(count: int) -> concurrent.futures.ProcessPoolExecutor:
    """Processes that have not touched JAX yet, each on a core of its own."""
    context = multiprocessing.get_context("spawn")
    cores: multiprocessing.Queue[int] = context.Queue()
    usable = usable_cores()
    for one in range(count):
        cores.put(usable[one % len(usable)])
    return concurrent.futures.ProcessPoolExecutor(
        count, mp_context=context, initializer=_bind, initargs=(cores, context.Barrier(count))
    )


def measure(measuring: Measuring, model: str) -> Profile:
    """Runs in processes of its own, one a core."""
    with workers(1) as pool:
        platform, kind, samples = pool.submit(_alone, measuring, model).result()
        alone = pool.submit(_beside, measuring, model).result() if measuring.cores > 1 else 1.0
    busy: tuple[int, ...] = (1,)
    slowdown: tuple[float, ...] = (1.0,)
    if measuring.cores > 1 and platform == "cpu":
        with workers(measuring.cores) as pool:
            waiting = [pool.submit(_beside, measuring, model) for _ in range(measuring.cores)]
            beside = float(np.mean([one.result() for one in waiting]))
        busy, slowdown = (1, measuring.cores), (1.0, max(1.0, beside / alone))
    return Profile(
        model=model,
        device=kind,
        kind="measured",
        source=f"{measuring.preset} sizes, tables x {measuring.table_scale:g}, this machine",
        batches=BATCHES,
        seconds=tuple(float(np.median(one)) for one in samples),
        noise=noise_of(samples),
        workers=busy,
        slowdown=slowdown,
    )


def main(measuring: Measuring) -> None:
    console = Console()
    for model in measuring.models:  # before anything is measured
        model_config(model, measuring.preset, table_scale=measuring.table_scale)
    usable = len(usable_cores()) if hasattr(os, "sched_setaffinity") else 1
    if not 1 <= measuring.cores <= usable:
        raise ValueError(f"cores={measuring.cores} must be from 1 to the {usable} of this process")
    found = [measure(measuring, model) for model in track(measuring.models, "measuring")]
    for profile in found:
        shown = ", ".join(f"{b}: {1e3 * s:.3g}" for b, s in zip(profile.batches, profile.seconds))
        console.print(f"{profile.model}: ms by batch {shown}; slowdown {profile.slowdown[-1]:.2f}")
    save(measuring.path, found)
    console.print(f"written to {measuring.path}")


if __name__ == "__main__":
    run_command(main, Measuring, __doc__)
