"""Built indexes on disk: some take minutes to build, and a benchmark runs more than once."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

from silverjax.item_index import ItemIndex

T = TypeVar("T")


class Store:
    """Indexes by name in one folder; a file appears whole or not at all.

    Args:
        folder: Where the files lie; made if it does not exist.
        told: Hears what is being built.
    """

    def __init__(self, folder: pathlib.Path, told: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._told = folder, told

    def get(
        self,
        name: str,
        build: Callable[[], T],
        *,
        save: Callable[[T, str], None],
        load: Callable[[str], T],
    ) -> T:
        """The index of this name from the folder, or built and put there."""
        path = self._folder / name
        if path.exists():
            return load(str(path))
        self._told(f"building {name}")
        built = build()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f".{name}.") as aside:
            whole = pathlib.Path(aside) / name
            save(built, str(whole))
            os.replace(whole, path)
        return built


def save_item_index(index: ItemIndex, path: str) -> None:
    """Writes an index without a cache of embeddings as one NumPy archive."""
    if index.cache is not None:
        raise ValueError("only an index without embeddings is saved; add them after loading")
    arrays: dict[str, Any] = {}
    static: dict[str, Any] = {}
    for field in dataclasses.fields(index):
        value = getattr(index, field.name)
        if not field.metadata.get("pytree_node", True):
            static[field.name] = value
        elif value is not None:
            arrays[field.name] = np.asarray(value)
    with open(path, "wb") as file:  # given a name, NumPy would add a suffix
        np.savez(file, _static=np.array(json.dumps(static)), **arrays)


def load_item_index(path: str) -> ItemIndex:
    """The index that `save_item_index` wrote."""
    with np.load(path, allow_pickle=False) as held:
        static: dict[str, Any] = json.loads(str(held["_static"]))
        static["features"] = tuple(static["features"])
        arrays: dict[str, Any] = {
            name: jnp.asarray(held[name]) for name in held.files if name != "_static"
        }
    return ItemIndex(**arrays, **static)
