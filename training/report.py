"""What a run says while it trains: progress on the terminal, metrics in files, alarm on NaN."""

from __future__ import annotations

import contextlib
import math
import time
from types import TracebackType
from typing import Any

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from training.metric_log import MetricLog

_READ_EVERY = 20  # steps; to read metrics is to wait for the device, so not after each


class DivergedError(ArithmeticError):
    """A metric became NaN or infinite."""


class Report:
    """Collects the metrics of each step and passes them on a few steps at a time.

    A context manager, for the progress bar.

    Attributes:
        last: Metrics of the last step that was read.
    """

    def __init__(
        self,
        *,
        steps: int,
        done: int = 0,
        log: MetricLog | None = None,
        progress: bool | Console = False,
    ) -> None:
        """Starts the clock.

        Args:
            steps: Steps of the whole run.
            done: Steps of it that earlier processes did.
            log: Where to write; `None` writes nothing.
            progress: Show a progress bar, on standard error or this console; only a terminal
                gets one.
        """
        self.last: dict[str, float] = {}
        self._pending: list[tuple[int, dict[str, jax.Array], int]] = []
        self._log = log
        console = progress if isinstance(progress, Console) else Console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=progress is False or not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=done, figures="")
        self._since = time.perf_counter()

    def __enter__(self) -> Report:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After ctrl-C the steps since the last reading are worth having; an error of their own
        # must not hide the one that ended the run.
        with contextlib.suppress(DivergedError) if error else contextlib.nullcontext():
            self.read()
        self._bar.stop()

    def add(self, step: int, metrics: dict[str, jax.Array], examples: int) -> None:
        """Takes the metrics of a step, which the device may still be computing.

        Args:
            step: Its number, from 1.
            metrics: Scalars.
            examples: Targets that the step learned from.
        """
        self._pending.append((step, metrics, examples))
        if len(self._pending) >= _READ_EVERY:
            self.read()

    def read(self) -> None:
        """Waits for the device and passes on what has come in.

        Raises:
            DivergedError: A metric is NaN or infinite; the steps before are passed on.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        figures: list[Any] = jax.device_get([metrics for _, metrics, _ in pending])
        now = time.perf_counter()
        rate = sum(examples for *_, examples in pending) / (now - self._since)
        self._since = now
        for (step, *_), values in zip(pending, figures):
            metrics = {name: float(value) for name, value in sorted(values.items())}
            wrong = [f"{k} is {v}" for k, v in metrics.items() if not math.isfinite(v)]
            if wrong:
                raise DivergedError(f"{' and '.join(wrong)} at step {step}")
            self.last = metrics
            if self._log is not None:
                self._log.write(step, {**metrics, "examples_per_second": rate})
        if self._log is not None:
            self._log.flush()
        shown = f"loss {self.last['loss']:.3f}  {rate:,.0f} examples/s"
        self._bar.update(self._task, completed=pending[-1][0], figures=shown)
