"""What the services start from, as plain arrays in a folder: each reads its own part only."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from experiments.services_study.corpus import Catalogue
from experiments.services_study.study import Study


def save_all(
    folder: pathlib.Path, study: Study, catalogue: Catalogue, variables: dict[str, Any]
) -> None:
    """Writes the part of each service."""
    (folder / "study.json").write_text(json.dumps(dataclasses.asdict(study)))
    flat = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    save(folder / "tower", {n: a for n, a in flat.items() if not n.startswith("over_arch/")})
    cache = variables["index"]["items"].cache
    save(folder / "neighbours", {"embeddings": cache.embeddings, **catalogue.columns})
    over_arch = {n: a for n, a in flat.items() if n.startswith("over_arch/")}
    engagement = {f"engagement/{n}": a for n, a in vars(cache.engagement).items()}
    inputs = {f"inputs/{n}": a for n, a in cache.inputs.items()}
    params = {f"params/{n}": a for n, a in over_arch.items()}
    save(folder / "scorer", {**params, **inputs, **engagement})


def save(folder: pathlib.Path, arrays: Mapping[str, Any]) -> None:
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.asarray(array), allow_pickle=False)


def load(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays below `folder`, by their paths."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): np.load(path, allow_pickle=False)
        for path in sorted(folder.rglob("*.npy"))
    }


def load_params(folder: pathlib.Path) -> Any:
    return jax.device_put(flax.traverse_util.unflatten_dict(load(folder), sep="/"))


def load_study(folder: pathlib.Path) -> Study:
    return Study(**json.loads((folder / "study.json").read_text()))
