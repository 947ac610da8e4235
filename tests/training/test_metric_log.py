"""The files that metrics go to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from training.metric_log import METRICS, TENSORBOARD, MetricLog


def write(folder: Path, *, after: int, steps: range) -> None:
    log = MetricLog(folder, step=after)
    for step in steps:
        log.write(step, {"loss": 1.0 / step})
    log.sync()
    log.close()


def steps_in(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / METRICS).read_text().splitlines()]


def events(folder: Path) -> list[Event]:
    """Records of TensorBoard's files: length (8 bytes), checksum (4), data, checksum (4)."""
    found = []
    for path in sorted((folder / TENSORBOARD).iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def test_lines_hold_step_and_metrics(tmp_path: Path) -> None:
    write(tmp_path, after=0, steps=range(1, 3))
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]


def test_resumed_log_has_each_step_once(tmp_path: Path) -> None:
    write(tmp_path, after=0, steps=range(1, 9))
    write(tmp_path, after=5, steps=range(6, 11))
    assert steps_in(tmp_path) == list(range(1, 11))


@pytest.mark.parametrize("end", ['{"step": 4, "lo', "{", '{"step": 4, "loss": 1.0}', "[]\n", "4\n"])
def test_line_cut_short_is_dropped(tmp_path: Path, end: str) -> None:
    write(tmp_path, after=0, steps=range(1, 4))
    with (tmp_path / METRICS).open("a") as file:
        file.write(end)
    write(tmp_path, after=4, steps=range(5, 6))
    assert steps_in(tmp_path) == [1, 2, 3, 5]


def test_run_without_checkpoint_starts_anew(tmp_path: Path) -> None:
    write(tmp_path, after=0, steps=range(1, 4))
    write(tmp_path, after=0, steps=range(1, 3))
    assert steps_in(tmp_path) == [1, 2]


def test_tensorboard_forgets_steps_done_again(tmp_path: Path) -> None:
    write(tmp_path, after=0, steps=range(1, 4))
    write(tmp_path, after=2, steps=range(3, 5))
    found = events(tmp_path)
    values = [
        (event.step, value.tag, value.simple_value)
        for event in found
        for value in event.summary.value
    ]
    assert (2, "loss", 0.5) in values
    assert (4, "loss", 0.25) in values
    starts = [event.step for event in found if event.session_log.status == SessionLog.START]
    assert starts == [3]


def test_rejects_nan(tmp_path: Path) -> None:
    log = MetricLog(tmp_path, step=0)
    with pytest.raises(ValueError, match="JSON compliant"):
        log.write(1, {"loss": float("nan")})
    log.close()
    assert steps_in(tmp_path) == []
