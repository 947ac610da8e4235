"""The catalogue of this study as a snapshot: a large one to serve, climb and load.

    python -m experiments.services_study.snapshot --folder runs/synthetic/snapshots   # a minute
    silverjax serve runs/synthetic/snapshots

A million items, the default model and as many users as are asked for, with histories.
"""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import numpy as np
from rich.console import Console

from experiments.command import run_command
from experiments.services_study.corpus import make_catalogue, make_variables
from experiments.services_study.requests import form, make_asks
from experiments.services_study.study import Study
from experiments.services_study.tower import users_of
from silverjax.catalogue import Catalogue
from silverjax.snapshot import publish


@dataclasses.dataclass(frozen=True)
class Options:
    """What to publish.

    Attributes:
        folder: Of the versions; gets one more.
        items: Items of the catalogue.
        users: Who have a history.
        probes: Clusters that a query without a filter visits: 4 have recall 0.95.
        seed: Seeds everything.
    """

    folder: pathlib.Path = pathlib.Path("runs/synthetic/snapshots")
    items: int = 1_000_000
    users: int = 4_096
    probes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        # The study and its configuration refuse the rest, before a million items are made.
        Study(items=self.items).config(probes=self.probes)
        if self.users < 1:
            raise ValueError(f"users={self.users} must be at least 1")


def main(options: Options) -> pathlib.Path:
    """Publishes, and returns the version."""
    console, study = Console(), Study(items=options.items, seed=options.seed)
    with console.status(f"making {options.items:,} items, their index and a model"):
        made = make_catalogue(study)
        variables = make_variables(study, made)
        asks = make_asks(study, made, options.users)
    item_ids = [str(row) for row in range(options.items)]
    catalogue = Catalogue(
        item_ids=item_ids,
        titles=item_ids,
        attributes=made.attributes(),
        items=jax.tree.map(np.asarray, made.items()),
        user_ids=[str(row) for row in range(options.users)],
        users=users_of(form(asks, study).arrays),
        seen=[ask.history.tolist() for ask in asks],
    )
    with console.status("publishing"):
        version = publish(
            options.folder,
            variables=variables,
            config=study.config(probes=options.probes),
            schema=study.schema(),
            catalogue=catalogue,
        )
    console.print(f"{options.items:,} items in {version}")
    return version


if __name__ == "__main__":
    run_command(main, Options, __doc__)
