"""Metrics of a run on disk: one JSON object per step, and TensorBoard event files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class MetricLog:
    """Appends to the metrics of a run from a given step on.

    What was logged after that step is dropped: a run that was killed and goes on from its last
    checkpoint does those steps again. So the JSON lines hold every step once. The event files
    keep their past; TensorBoard is told to forget what lies after the step.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        """Opens the logs of a run.

        Args:
            folder: Holds `metrics.jsonl` and `tensorboard/`.
            step: Steps done so far.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / METRICS
        if path.exists():
            os.truncate(path, _bytes_up_to(path, step))
        self._lines = path.open("a", encoding="utf-8")
        self._events = SummaryWriter(
            str(folder / TENSORBOARD),
            purge_step=step + 1 if step else None,
            filename_suffix=f".{step}",  # files of one second would overwrite one another
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs one step; the values must be finite, as JSON has no other numbers."""
        self._lines.write(json.dumps({"step": step, **metrics}, allow_nan=False) + "\n")
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Shows what was written to other processes; it then survives the death of this one."""
        self._lines.flush()
        self._events.flush()

    def sync(self) -> None:
        """Forces the lines to the disk. Comes before a checkpoint, which must not be ahead."""
        self.flush()
        os.fsync(self._lines.fileno())

    def close(self) -> None:
        self._lines.close()
        self._events.close()


def _bytes_up_to(path: Path, step: int) -> int:
    """Where the first line that is cut short or belongs to a later step begins."""
    kept = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                later = json.loads(line)["step"] > step
            except (ValueError, KeyError, TypeError):
                break
            if later or not line.endswith(b"\n"):
                break
            kept += len(line)
    return kept
