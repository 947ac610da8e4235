"""Whole runs: the same bits every time, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

import training.loop
import training.report
from silverjax.batch import Users
from silverjax.retriever import Request
from silverjax.value_model import make_weights
from tests.compiled import apply
from tests.training.tiny import CHECKPOINT_EVERY, CONFIG, MODEL, dataset, run
from training.checkpoints import FOLDER, CheckpointMismatchError
from training.loop import TrainResult, train
from training.metric_log import METRICS
from training.report import DivergedError, Report
from training.windows import Windows

KILLS = 3
FAST = {
    "jax_compilation_cache_dir": "",
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_disable_most_optimizations": True,
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compiles fast, once for all processes: these tests wait for little else."""
    folder = tmp_path_factory.mktemp("compiled")
    before = {name: jax.config.values[name] for name in FAST}
    compilation_cache.reset_cache()
    for name, value in {**FAST, "jax_compilation_cache_dir": str(folder)}.items():
        jax.config.update(name, value)
    # Optax multiplies Python floats by integer arrays, which strict promotion does not allow.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield folder
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, Path]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return run(folder), folder


def assert_same_bits(one: Any, other: Any) -> None:
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    assert str(structure) == str(other_structure)
    for a, b in zip(leaves, others, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def lines(folder: Path) -> list[dict[str, float]]:
    text = (folder / METRICS).read_text()
    return [json.loads(line) for line in text.splitlines()]


def assert_same_lines(folder: Path, other: Path) -> None:
    """Every step once, in order, with the same figures; only the speed may differ."""
    found, expected = lines(folder), lines(other)
    assert [line["step"] for line in found] == list(range(1, CONFIG.steps + 1))
    for line in (*found, *expected):
        assert line.pop("examples_per_second") > 0
    assert found == expected


def test_result_answers_requests(uninterrupted: tuple[TrainResult, Path]) -> None:
    result, _ = uninterrupted
    schema = dataset().schema
    users = Users(
        id=np.arange(2, dtype=np.int32),  # type: ignore[arg-type]
        features={k: v[:2] for k, v in dataset().user_features.items()},  # type: ignore[misc]
        history=np.full((2, 6), -1, np.int32),  # type: ignore[arg-type]
        history_labels=np.zeros((2, 6, len(schema.tasks)), np.float32),  # type: ignore[arg-type]
    )
    weights = jax.tree.map(
        lambda row: row.repeat(2, axis=0), make_weights({schema.tasks[0]: 1.0}, schema.tasks)
    )
    asked = jax.tree.map(jax.numpy.asarray, Request(users, weights))
    answer: Any = apply(result.model)(result.variables, asked)
    assert answer.rows.shape == (2, 5)
    assert (np.asarray(answer.rows) >= 0).all()


def test_training_lowers_the_loss(uninterrupted: tuple[TrainResult, Path]) -> None:
    losses = [line["loss"] for line in lines(uninterrupted[1])]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_same_seed_gives_the_same_bits(uninterrupted: tuple[TrainResult, Path]) -> None:
    expected = uninterrupted[0]
    again = run()
    assert_same_bits(again.variables, expected.variables)
    assert again.metrics == expected.metrics


def test_other_seed_gives_other_parameters(uninterrupted: tuple[TrainResult, Path]) -> None:
    with pytest.raises(AssertionError):
        assert_same_bits(run(seed=1).variables["params"], uninterrupted[0].variables["params"])


@pytest.mark.parametrize("steps", [1, 11, CONFIG.refit_from, CONFIG.refit_from + 1])
def test_interrupted_run_ends_with_the_same_bits(
    uninterrupted: tuple[TrainResult, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training.loop, "Report", stopping_at(steps + 1))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    expected, folder = uninterrupted
    assert len(lines(tmp_path)) == steps, "what was computed before ctrl-C is logged"
    assert_same_bits(run(tmp_path).variables, expected.variables)
    assert_same_lines(tmp_path, folder)


def stopping_at(last: int) -> Callable[..., Report]:
    class Stopping(Report):
        def add(self, step: int, metrics: dict[str, jax.Array], examples: int) -> None:
            if step == last:
                raise KeyboardInterrupt
            super().add(step, metrics, examples)

    return Stopping


def test_killed_run_ends_with_the_same_bits(
    uninterrupted: tuple[TrainResult, Path], tmp_path: Path, cache: Path
) -> None:
    rng = random.Random(0)
    folder = tmp_path / "run"
    for kill in range(1, KILLS + 1):
        # The steps take a few milliseconds and a checkpoint many: this hits both.
        _train_and_kill(folder, cache, after=kill * CHECKPOINT_EVERY, wait=0.1 * rng.random())
    assert len(lines(folder)) < CONFIG.steps, "killed too late to show anything"
    expected, other = uninterrupted
    assert_same_bits(run(folder).variables, expected.variables)
    assert_same_lines(folder, other)


def _train_and_kill(folder: Path, cache: Path, *, after: int, wait: float) -> None:
    """Kills a training process a moment after it logged step `after`."""
    command = [sys.executable, "-m", "tests.training.tiny", str(folder)]
    root = str(Path(__file__).parents[2])
    fast = {**FAST, "jax_compilation_cache_dir": str(cache)}
    settings = {name.upper(): str(value) for name, value in fast.items()} | {"PYTHONPATH": root}
    process = subprocess.Popen(command, cwd=root, env={**os.environ, **settings})
    try:
        deadline = time.monotonic() + 300
        while not _has_logged(folder, after):
            assert process.poll() is None, f"ended by itself with {process.returncode}"
            assert time.monotonic() < deadline, f"did not reach step {after}"
            time.sleep(0.001)
        time.sleep(wait)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _has_logged(folder: Path, step: int) -> bool:
    path = folder / METRICS
    return path.exists() and path.read_bytes().count(b"\n") >= step


def test_finished_run_is_not_trained_again(
    uninterrupted: tuple[TrainResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, folder = uninterrupted
    monkeypatch.setattr(training.loop, "Report", stopping_at(CONFIG.steps))
    again = run(folder)
    assert again.metrics == {}
    assert_same_bits(again.variables, expected.variables)
    assert len(lines(folder)) == CONFIG.steps


def test_folder_of_another_run_is_refused(uninterrupted: tuple[TrainResult, Path]) -> None:
    _, folder = uninterrupted
    before = (folder / METRICS).read_bytes()
    with pytest.raises(CheckpointMismatchError, match="train.seed is 0 there and 1 now"):
        run(folder, seed=1)
    assert (folder / METRICS).read_bytes() == before


@pytest.mark.parametrize("folder", [True, False])
def test_nan_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool) -> None:
    bad = 7  # the step whose labels are NaN
    calls = itertools.count()  # one batch is taken for its shapes
    take = Windows.take

    def poisoned(self: Windows, windows: np.ndarray) -> tuple[np.ndarray, ...]:
        *before, labels, days, held_out = take(self, windows)
        if next(calls) == bad:
            labels = np.full_like(labels, np.nan)
        return *before, labels, days, held_out

    monkeypatch.setattr(Windows, "take", poisoned)
    with pytest.raises(DivergedError) as caught:
        run(tmp_path if folder else None)
    message = str(caught.value)
    assert f"loss is nan and task_loss is nan at step {bad};" in message
    assert "Lower learning_rate=0.002 or clip=1.0" in message
    if folder:
        assert [line["step"] for line in lines(tmp_path)] == list(range(1, bad))
        last = tmp_path / FOLDER / "4"
        assert f"the last checkpoint is {last}." in message
    else:
        assert "the last checkpoint is none." in message


def test_over_arch_rests_while_the_towers_refit() -> None:
    """Up to the refit both runs are one, so it is what the refit did that is compared."""
    config = dataclasses.replace(CONFIG, steps=6, refit=0.5, fit_choices=0)
    before = dataclasses.replace(CONFIG, steps=3, refit=0.0)
    assert config.refit_from == before.steps
    one, other = (
        train(dataset(), model=MODEL, config=c).variables["params"] for c in (before, config)
    )
    assert_same_bits(one["over_arch"], other["over_arch"])
    for name in ("items", "user_tower", "item_tower"):
        with pytest.raises(AssertionError):
            assert_same_bits(one[name], other[name])


def test_towers_alone_need_no_index_to_train() -> None:
    config = dataclasses.replace(CONFIG, steps=2, positions=0, ema=0.9)
    result = train(dataset(), model=MODEL, config=config)
    assert set(result.metrics) == {"gradient_norm", "loss", "tower_loss"}
    assert int(result.variables["index"]["items"].live_items) == dataset().schema.items


def test_progress_shows_loss_and_speed() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with Report(steps=10, progress=console) as report:
        report.add(1, {"loss": jax.numpy.float32(1.25)}, examples=7)
    written: Any = console.file
    assert "1/10 loss 1.250" in written.getvalue()
    assert "examples/s" in written.getvalue()


@pytest.mark.parametrize("progress", [False, True])
def test_progress_is_silent_without_terminal(
    progress: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with Report(steps=1, progress=progress) as report:
        report.add(1, {"loss": jax.numpy.float32(1.0)}, examples=1)
    assert capfd.readouterr() == ("", "")


def test_rejects_interval_below_one() -> None:
    with pytest.raises(ValueError, match="checkpoint_every=0 must be at least 1"):
        train(dataset(), model=MODEL, config=CONFIG, checkpoint_every=0)
