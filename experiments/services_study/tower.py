"""The first service: users to embeddings, jit-compiled.

python -m experiments.services_study.tower FOLDER
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Mapping

import jax
import numpy as np

from experiments.services_study.service import serve
from experiments.services_study.storage import load_params, load_study
from silverjax.batch import Users
from silverjax.model import Model
from silverjax.towers import UserState


def users_of(arrays: Mapping[str, np.ndarray]) -> Users:
    """The model's view of a batch; NumPy until a program takes it."""
    return Users(
        id=arrays["user"],  # type: ignore[arg-type]
        features={"country": arrays["country"], "age": arrays["age"]},  # type: ignore[dict-item]
        history=arrays["history"],  # type: ignore[arg-type]
        history_labels=arrays["labels"],  # type: ignore[arg-type]
    )


def main(folder: pathlib.Path) -> None:
    study = load_study(folder)
    params = load_params(folder / "tower")
    model = Model(study.schema(), study.config())

    @jax.jit
    def embed(params: object, users: Users) -> UserState:
        return model.apply({"params": params}, users, method="embed_users")  # type: ignore

    def answer(arrays: dict[str, np.ndarray], _: list[str]) -> dict[str, np.ndarray]:
        state = embed(params, users_of(arrays))
        return {name: np.asarray(column) for name, column in vars(state).items()}

    serve({"tower": answer})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
