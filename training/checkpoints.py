"""Checkpoints of a run by Orbax: all it takes to go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from silverjax.config import RetrieverConfig
from training.config import TrainConfig
from training.datasets.dataset import Dataset
from training.train_step import TrainState

FOLDER = "checkpoints"
_KEEP = 3  # an older one is of use where the newest turns out to be of a run gone wrong


class CheckpointMismatchError(ValueError):
    """The checkpoints of a folder belong to another run."""


class Checkpoints:
    """The checkpoints of one run.

    One checkpoint holds the `TrainState`, the place in the input pipeline, and the settings of
    the run with digests of its data. Orbax writes it aside and renames it, so whatever kills the
    run leaves whole checkpoints only. It writes in the background: the run goes on meanwhile.
    """

    def __init__(self, workdir: Path, settings: dict[str, Any]) -> None:
        """Opens the checkpoints below `workdir`.

        Args:
            workdir: Folder of the run.
            settings: From `settings_of`; a checkpoint of any others is refused.
        """
        self._settings = settings
        self._folder = (workdir / FOLDER).resolve()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=_KEEP, create=True, cleanup_tmp_directories=True
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "batches": grain.checkpoint.CheckpointHandler(),
                "settings": ocp.JsonCheckpointHandler(),
            },
        )

    def save(self, state: TrainState, batches: grain.DatasetIterator) -> None:
        """Saves the run after `state.step` steps."""
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_plain(state)),
                batches=grain.checkpoint.CheckpointSave(batches),
                settings=ocp.args.JsonSave(self._settings),
            ),
            force=True,
        )

    def restore(self, state: TrainState, batches: grain.DatasetIterator) -> TrainState:
        """Goes back to the last checkpoint, if there is one.

        Args:
            state: Any state of this run, for its structure; the answer if there is no checkpoint.
            batches: Is moved to the place it had.
        Raises:
            CheckpointMismatchError: The checkpoint is of other settings or other data.
        """
        step = self._manager.latest_step()
        if step is None:
            return state
        # First, alone: a state of other shapes would fail with a message about arrays.
        settings = self._manager.restore(
            step, args=ocp.args.Composite(settings=ocp.args.JsonRestore())
        ).settings
        _refuse_other(self._folder / str(step), settings, self._settings)
        like = jax.tree.map(ocp.utils.to_shape_dtype_struct, _plain(state))
        found = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like),
                batches=grain.checkpoint.CheckpointRestore(batches),
            ),
        )
        # Orbax ties arrays to a device; those of a new state are free. Programs would be compiled
        # again for the difference.
        restored: TrainState = jax.tree.map(lambda array: jnp.array(np.asarray(array)), found.state)
        return dataclasses.replace(restored, key=jax.random.wrap_key_data(restored.key))

    def last(self) -> Path | None:
        """The newest checkpoint that is complete, or none."""
        self._manager.wait_until_finished()
        step = self._manager.latest_step()
        return None if step is None else self._folder / str(step)

    def close(self) -> None:
        """Waits until everything is on the disk."""
        self._manager.close()


def settings_of(dataset: Dataset, model: RetrieverConfig, config: TrainConfig) -> dict[str, Any]:
    """What a run depends on, as flat JSON: settings by dotted name, data by digest."""
    seen = dataset.interactions
    columns = {
        "dataset.interactions": [seen.user, seen.item, seen.time, seen.labels],
        "dataset.user_features": [v for _, v in sorted(dataset.user_features.items())],
        "dataset.item_features": [v for _, v in sorted(dataset.item_features.items())],
    }
    return {
        **_flat("train", dataclasses.asdict(config)),
        **_flat("model", dataclasses.asdict(model)),
        **_flat("dataset.schema", json.loads(dataset.schema.to_json())),
        **{name: _digest(arrays) for name, arrays in columns.items()},
    }


def _plain(state: TrainState) -> TrainState:
    """The same with the random key as integers, which is what can be stored."""
    return dataclasses.replace(state, key=jax.random.key_data(state.key))


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {
        k: v for name, part in value.items() for k, v in _flat(f"{prefix}.{name}", part).items()
    }


def _digest(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return f"sha256 {digest.hexdigest()[:16]}"


def _refuse_other(path: Path, there: dict[str, Any], now: dict[str, Any]) -> None:
    names = [name for name in {**there, **now} if there.get(name) != now.get(name)]
    if names:
        changed = "; ".join(
            f"{name} is {there.get(name)!r} there and {now.get(name)!r} now" for name in names
        )
        raise CheckpointMismatchError(
            f"{path} is a checkpoint of another run: {changed}. Use another folder, or the "
            "settings and data of that run"
        )
