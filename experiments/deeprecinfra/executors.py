"""Real executors: processes that run batches of a model, each on cores of its own.

Request-level parallelism is many workers of one core each, which run different batches at the
same time. Batch-level parallelism is one worker whose XLA splits every batch over its cores.
Both run the same programs, compiled before the first query; a batch is padded to the next size
of `LADDER`. Each worker has its own copy of the tables.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import multiprocessing
import multiprocessing.connection
import os
import select
import time
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from jaxtyping import Float

from experiments.deeprecinfra.model_config import ModelConfig
from experiments.deeprecinfra.profiles import Profile, noise_of
from experiments.deeprecinfra.simulator import Setting, parts, take
from serving.load.workload import LARGEST, Schedule
from silverjax.machine import usable_cores

# MLPerf's sizes of queries, their halves, and small ones.
LADDER = (16, 32, 64, 100, 150, 200, 250, 300, 350, 400, 500, 600, 700, LARGEST)
_POOL = 4 * LARGEST  # items that inputs are taken from in turn, so that no batch repeats the last
_START_S = 600.0  # for tables and programs of one worker


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the cores of a machine are divided.

    Attributes:
        workers: Processes; batches that run at the same time.
        threads: Cores of each, over which XLA splits a batch.
    """

    workers: int
    threads: int

    def __str__(self) -> str:
        return f"{self.workers} x {self.threads}"


def layouts(cores: int) -> tuple[Layout, ...]:
    """All ways to divide cores evenly, from one batch a core to one batch on all."""
    return tuple(
        Layout(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0
    )


class Executors:
    """Workers of one model, ready for queries; a context manager that ends them.

    Args:
        config: Of the model.
        layout: Workers and their cores.
        ladder: Sizes that programs are compiled for, ascending.

    Raises:
        ValueError: More cores than this process may use.
        RuntimeError: A worker did not start; says why.
    """

    def __init__(
        self, config: ModelConfig, layout: Layout, *, ladder: Sequence[int] = LADDER
    ) -> None:
        usable, need = usable_cores(), layout.workers * layout.threads
        if need > len(usable):
            raise ValueError(f"{layout} cores exceed the {len(usable)} that this process may use")
        self.config, self.layout, self.ladder = config, layout, tuple(ladder)
        context = multiprocessing.get_context("spawn")
        self._pipes: list[multiprocessing.connection.Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []
        for worker in range(layout.workers):
            here, there = context.Pipe()
            cores = usable[worker * layout.threads : (worker + 1) * layout.threads]
            process = context.Process(
                target=_serve, args=(there, cores, config, self.ladder, worker), daemon=True
            )
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __enter__(self) -> Executors:
        try:
            for pipe in self._pipes:
                said = pipe.recv() if pipe.poll(_START_S) else f"not ready in {_START_S:g} s"
                if said is not None:
                    raise RuntimeError(f"a worker of {self.config.name} did not start: {said}")
        except (EOFError, RuntimeError):
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(0)
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.terminate()

    def times(self, rows: int, *, workers: int, seconds: float) -> Float[np.ndarray, " n"]:
        """Times of batches, from sent to answered, while so many workers run the same."""
        found, start = list[float](), time.perf_counter()
        pipes = self._pipes[:workers]
        began = dict.fromkeys(pipes, 0.0)
        for pipe in pipes:
            began[pipe] = time.perf_counter()
            pipe.send(rows)
        while len(found) < 5 * workers or time.perf_counter() - start < seconds:
            for pipe in select.select(pipes, [], [])[0]:
                pipe.recv_bytes()
                found.append(time.perf_counter() - began[pipe])
                began[pipe] = time.perf_counter()
                pipe.send(rows)
        for pipe in pipes:
            pipe.recv_bytes()
        return np.array(found[workers:])  # the first of each is a warm-up

    def profile(self, *, seconds: float = 0.2) -> Profile:
        """Of one worker, with the slowdown while all work.

        Args:
            seconds: For each size of the ladder.
        """
        workers = self.layout.workers
        samples = [self.times(rows, workers=workers, seconds=seconds) for rows in self.ladder]
        together = np.array([np.median(one) for one in samples])
        alone = together
        if workers > 1:
            alone = np.array(
                [np.median(self.times(r, workers=1, seconds=seconds)) for r in self.ladder]
            )
        slower = max(1.0, float(np.exp(np.log(together / alone).mean())))
        return Profile(
            model=self.config.name,
            device=f"{self.layout.threads} cores of this machine",
            kind="measured",
            source=f"{self.config.preset} sizes, {self.layout} executors on this machine",
            batches=self.ladder,
            seconds=tuple((together / slower).tolist()),
            noise=noise_of(samples),
            workers=(1, workers) if workers > 1 else (1,),
            slowdown=(1.0, slower) if workers > 1 else (1.0,),
            padded=True,
        )

    def run(
        self,
        schedule: Schedule,
        setting: Setting,
        *,
        target: float = math.inf,
        most: int | None = None,
    ) -> Float[np.ndarray, " n"]:
        """Latencies in seconds, from when a query was due, in order of arrival.

        Args:
            schedule: When queries come, from now on, and their items.
            setting: Batch, workers and fill; without an accelerator.
            target: Seconds, beyond which a query is late.
            most: The run ends once more are late, and what is left counts as never answered
                (infinite); absent, it goes on.

        Raises:
            ValueError: A setting for an accelerator or for more workers than there are.
        """
        if setting.workers > self.layout.workers or setting.threshold or setting.pulls:
            raise ValueError(f"{setting} does not fit {self.layout} executors without accelerator")
        free = self._pipes[: setting.workers]
        busy = dict[multiprocessing.connection.Connection, list[int]]()
        queue = collections.deque[tuple[int, float, int]]()
        start = time.perf_counter() + 0.02
        due, sizes = (schedule.times + start).tolist(), schedule.sizes.tolist()
        due.append(math.inf)
        ends, at, late = np.full(len(sizes), math.inf), 0, set[int]()
        while at < len(sizes) or queue or busy:
            if most is not None and len(late) > most:
                break
            while due[at] <= time.perf_counter():
                cut = parts(sizes[at], setting.batch, even=setting.even)
                queue += [(at, due[at], items) for items in cut]
                at += 1
            while free and queue:
                pipe = free.pop()
                which, items = take(queue, math.inf, 0 if free else setting.fill)
                pipe.send(items)
                busy[pipe] = which
            wait = due[at] - time.perf_counter()
            ready = select.select([*busy], [], [], None if wait == math.inf else max(wait, 0.0))
            for pipe in ready[0]:
                pipe.recv_bytes()
                which = busy.pop(pipe)
                ends[which] = time.perf_counter()
                late.update(one for one in which if ends[one] - due[one] > target)
                free.append(pipe)
        for pipe, which in busy.items():
            pipe.recv_bytes()
            ends[which] = math.inf
        ends[[which for which, _, _ in queue]] = math.inf
        return ends - np.array(due[:-1])


def _serve(
    pipe: multiprocessing.connection.Connection,
    cores: list[int],
    config: ModelConfig,
    ladder: tuple[int, ...],
    seed: int,
) -> None:
    """A worker: answers a number of items with their probabilities, until it is 0."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before JAX starts its threads
    try:
        import jax

        from experiments.deeprecinfra.models import Inputs, init, predict, random_inputs

        variables = init(config)
        pool = jax.tree.map(np.asarray, random_inputs(config, _POOL + LARGEST, seed=seed))
        programs = {
            batch: predict.lower(
                config, variables, jax.tree.map(lambda one, n=batch: one[:n], pool)
            ).compile()
            for batch in ladder
        }
    except (MemoryError, ValueError, RuntimeError) as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    at, sizes = 0, np.asarray(ladder)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while rows := pipe.recv():
            batch = int(sizes[np.searchsorted(sizes, rows)])
            padded = [np.zeros((batch, one.shape[1]), one.dtype) for one in pool]
            for here, one in zip(padded, pool):
                here[:rows] = one[at : at + rows]
            at = (at + rows) % _POOL
            found = programs[batch](variables, Inputs(*jax.device_put(padded)))
            pipe.send_bytes(np.asarray(found)[:rows].tobytes())
