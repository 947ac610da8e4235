"""Checkpoints on their own: what they bring back, and what they refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.tiny import CONFIG, MODEL, dataset
from training.checkpoints import FOLDER, CheckpointMismatchError, Checkpoints, settings_of
from training.input_pipeline import training_batches
from training.train_step import TrainState


@pytest.fixture
def batches() -> Any:
    return iter(training_batches(dataset(), length=6, batch=16, seed=0))


def state_at(step: int) -> TrainState:
    return TrainState(
        step=jnp.int32(step),
        params={"w": jnp.arange(3.0) * step},
        opt_state=(jnp.ones(2) * step,),
        ema={"w": jnp.arange(3.0)},
        index=None,
        key=jax.random.key(step),
    )


def settings(**changes: Any) -> dict[str, Any]:
    return settings_of(dataset(), MODEL, dataclasses.replace(CONFIG, **changes))


def saved(folder: Path, batches: Any, steps: range) -> None:
    checkpoints = Checkpoints(folder, settings())
    for step in steps:
        next(batches)
        checkpoints.save(state_at(step), batches)
    checkpoints.close()


def test_restores_state_and_place_in_the_data(tmp_path: Path, batches: Any) -> None:
    saved(tmp_path, batches, range(1, 3))
    expected = next(batches)
    fresh = iter(training_batches(dataset(), length=6, batch=16, seed=0))
    checkpoints = Checkpoints(tmp_path, settings())
    found = checkpoints.restore(state_at(0), fresh)
    checkpoints.close()
    assert int(found.step) == 2
    np.testing.assert_array_equal(found.params["w"], [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(found.opt_state[0], [2.0, 2.0])
    np.testing.assert_array_equal(jax.random.bits(found.key), jax.random.bits(jax.random.key(2)))
    np.testing.assert_array_equal(next(fresh).targets, expected.targets)


def test_folder_without_checkpoints_leaves_the_state(tmp_path: Path, batches: Any) -> None:
    checkpoints = Checkpoints(tmp_path, settings())
    assert checkpoints.last() is None
    assert int(checkpoints.restore(state_at(7), batches).step) == 7
    checkpoints.close()


def test_keeps_the_last_few(tmp_path: Path, batches: Any) -> None:
    saved(tmp_path, batches, range(1, 7))
    kept = {path.name for path in (tmp_path / FOLDER).iterdir() if path.name.isdigit()}
    assert kept == {"4", "5", "6"}


def test_write_that_was_cut_short_is_no_checkpoint(tmp_path: Path, batches: Any) -> None:
    saved(tmp_path, batches, range(1, 3))
    left = tmp_path / FOLDER / "3.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    checkpoints = Checkpoints(tmp_path, settings())
    last = checkpoints.last()
    assert last is not None
    assert last.name == "2"
    checkpoints.save(state_at(3), batches)  # sweeps first
    checkpoints.close()
    assert not left.exists()


def test_rejects_other_settings(tmp_path: Path, batches: Any) -> None:
    saved(tmp_path, batches, range(1, 2))
    checkpoints = Checkpoints(tmp_path, settings(learning_rate=0.5))
    with pytest.raises(
        CheckpointMismatchError,
        match=r"1 is a checkpoint of another run: train.learning_rate is 0.002 there and 0.5 now\.",
    ):
        checkpoints.restore(state_at(0), batches)
    checkpoints.close()


def test_settings_tell_data_and_model_apart() -> None:
    def differing(**changes: Any) -> set[str]:
        given = {"dataset": dataset(), "model": MODEL, "config": CONFIG, **changes}
        other = settings_of(**given)
        return {name for name, value in settings().items() if other[name] != value}

    assert differing() == set()
    other = dataset(seed=1)
    assert "dataset.interactions" in differing(dataset=other)
    tower = dataclasses.replace(MODEL.tower, dropout=0.5)
    assert differing(model=dataclasses.replace(MODEL, tower=tower)) == {"model.tower.dropout"}
    labels = dataset().interactions.labels.copy()
    labels[3, 1] = 1 - labels[3, 1]
    seen = dataclasses.replace(dataset().interactions, labels=labels)
    changed = dataclasses.replace(dataset(), interactions=seen)
    assert differing(dataset=changed) == {"dataset.interactions"}
