"""A training run on disk: its settings, its checkpoints, and the snapshot made of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from silverjax._plain import config_from_json
from silverjax.config import RetrieverConfig
from silverjax.replace_file import replace_text
from training.config import TrainConfig
from training.datasets import Dataset, load
from training.loop import train
from training.publish import publish_model, with_interactions
from training.splits import SPLITS, Split, make_split

_SETTINGS = "run.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """What makes a run the run it is; changed settings need a new folder.

    Attributes:
        source: Name of a data set, or a folder.
        path: Files of a named data set that already lie on this machine.
        core: Keep only users and items with at least so many interactions each.
        split: What to hold back for evaluation: `leave-last-out`, `global-time` or `none`.
        model: Sizes of the model, the index and the search.
        steps: Optimiser steps; `None` takes the default.
        seed: Same seed, same model.
    """

    source: str = "movielens-100k"
    path: str | None = None
    core: int = 0
    split: str = "leave-last-out"
    model: RetrieverConfig = RetrieverConfig()  # noqa: RUF009 (frozen)
    steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in (*SPLITS, "none"):
            raise ValueError(f"split={self.split!r} must be one of {', '.join(SPLITS)} or none")

    @property
    def train(self) -> TrainConfig:
        given = {} if self.steps is None else {"steps": self.steps}
        return TrainConfig(seed=self.seed, **given)

    def data(self) -> tuple[Dataset, Split | None]:
        """The data set with the interactions to learn from, and the split they come from."""
        dataset = load(self.source, path=self.path, core=self.core)
        if self.split == "none":
            return dataset, None
        split = make_split(self.split, dataset.interactions)
        return with_interactions(dataset, split.refit), split


def finish(run: Run, folder: Path, *, progress: bool = False) -> Any:
    """Trains to the end, from the last checkpoint if there is one; returns the `TrainResult`.

    Raises:
        ValueError: `folder` holds a run of other settings.
    """
    _keep(run, folder)
    dataset, _ = run.data()
    return train(dataset, model=run.model, config=run.train, workdir=folder, progress=progress)


def read_run(folder: Path) -> Run:
    """The settings of a run.

    Raises:
        ValueError: There is no run in this folder.
    """
    file = folder / _SETTINGS
    if not file.is_file():
        raise ValueError(f"{folder} holds no run; make one with: silverjax train --run {folder}")
    return config_from_json(Run, json.loads(file.read_text()))


def publish_run(folder: Path, snapshots: Path, *, progress: bool = False) -> Path:
    """Finishes a run and publishes its model, index and catalogue as the next version."""
    run = read_run(folder)
    dataset, _ = run.data()
    result = finish(run, folder, progress=progress)
    return publish_model(
        snapshots,
        dataset=dataset,
        config=run.model,
        params=result.variables["params"],
        info={"run": dataclasses.asdict(dataclasses.replace(run, path=None))},
    )


def _keep(run: Run, folder: Path) -> None:
    """Writes the settings, or compares them with those of the run already there."""
    file = folder / _SETTINGS
    if file.exists():
        there = read_run(folder)
        if there != run:
            changed = [
                f"{field.name}: {getattr(there, field.name)!r} there, {getattr(run, field.name)!r}"
                for field in dataclasses.fields(Run)
                if getattr(there, field.name) != getattr(run, field.name)
            ]
            raise ValueError(
                f"{folder} holds a run of other settings ({'; '.join(changed)} now); "
                "use another folder, or delete it"
            )
        return
    replace_text(file, json.dumps(dataclasses.asdict(run), indent=1))
