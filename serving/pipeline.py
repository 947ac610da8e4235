"""Two threads between the event loop and the device, so that neither waits for the other.

The dispatch thread puts a batch together and starts its program; the reaper waits for the answer
and brings it to the host. While one batch is on the device the next can be made ready, and the
event loop, which decides what runs, never calls JAX.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Sequence

from serving.engine import Engine, Piece
from serving.recompiles import RecompileCounter
from silverjax.retriever import Answer


@dataclasses.dataclass(eq=False)
class Job:
    """One batch on its way.

    Attributes:
        engine: Which answers it.
        pieces: Its rows.
        answer: NumPy arrays, once it is done.
        error: What went wrong instead.
        busy_s: How long it kept the device from the next batch.
    """

    engine: Engine
    pieces: Sequence[Piece]
    answer: Answer | None = None
    error: Exception | None = None
    busy_s: float = 0.0


class Pipeline:
    """Runs jobs in order.

    Args:
        done: Called by the reaper's thread for every job, after its answer or error is set.
        recompiles: Counts what the two threads compile.
    """

    def __init__(self, done: Callable[[Job], None], recompiles: RecompileCounter) -> None:
        self._done = done
        self._recompiles = recompiles
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: queue.SimpleQueue[tuple[Job, Answer | None, float] | None] = (
            queue.SimpleQueue()
        )
        self._threads = [
            threading.Thread(target=self._dispatch, name="silverjax-dispatch", daemon=True),
            threading.Thread(target=self._reap, name="silverjax-reaper", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Hands over a job; the caller bounds how many are on their way."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Ends both threads after the jobs that were submitted."""
        self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _dispatch(self) -> None:
        self._recompiles.watch_this_thread()
        while (job := self._jobs.get()) is not None:
            started, answer = time.perf_counter(), None
            try:
                answer = job.engine.run(job.pieces)
            except Exception as error:
                job.error = error
            self._running.put((job, answer, started))
            del job, answer  # a thread that waits must not keep a replaced snapshot in memory
        self._running.put(None)
        self._recompiles.leave_this_thread()

    def _reap(self) -> None:
        self._recompiles.watch_this_thread()
        free_since = time.perf_counter()
        while (entry := self._running.get()) is not None:
            job, answer, started = entry
            try:
                if answer is not None:
                    job.answer = job.engine.fetch(answer)
            except Exception as error:  # the device's errors come with the answer
                job.error = error
            now = time.perf_counter()
            job.busy_s, free_since = now - max(started, free_since), now
            del answer, entry  # must not outlive the job: it holds the device's memory
            self._done(job)
            del job
        self._recompiles.leave_this_thread()
