"""The third service: OverArch and Value Model, jit-compiled, with the items' features.

python -m experiments.services_study.scorer FOLDER
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from experiments.services_study.service import serve
from experiments.services_study.storage import load, load_study
from experiments.services_study.study import Study
from experiments.services_study.tower import users_of
from pallas_kernels.top_k.api import top_k
from silverjax.engagement import Engagement, evidence_of
from silverjax.model import Model
from silverjax.towers import UserState
from silverjax.value_model import ValueWeights, value

STATE = ("embedding", "context", "recent", "present")


class Scorer:
    """Candidates to the best of them.

    Args:
        study: Sizes.
        arrays: The parameters of the OverArch and the features of all items.
    """

    def __init__(self, study: Study, arrays: Mapping[str, np.ndarray]) -> None:
        config = study.config()
        model = Model(study.schema(), config)
        own = jax.device_put(flax.traverse_util.unflatten_dict(dict(arrays), sep="/"))
        self._own = own | {"engagement": Engagement(**own["engagement"])}

        @jax.jit
        def score(own: Any, sent: dict[str, jax.Array]) -> dict[str, jax.Array]:
            rows = sent["rows"]
            windows = config.engagement.windows
            evidence = evidence_of(own["engagement"], users_of(sent), rows, windows=windows)  # type: ignore[arg-type]
            state = UserState(**{name: sent[name] for name in STATE})
            params = {"params": own["params"]}
            found = state, sent["similarity"], own["inputs"], evidence
            logits: Any = model.apply(params, *found, method="score_found")
            probabilities = jax.nn.sigmoid(logits)
            weights = ValueWeights(sent["weights"], jnp.zeros_like(sent["weights"]))
            values = jnp.where(rows < 0, -jnp.inf, value(probabilities, weights))
            best, place = top_k(values, k=study.k)
            return {
                "rows": jnp.take_along_axis(rows, place, axis=1),
                "scores": best,
                "probabilities": jnp.take_along_axis(probabilities, place[..., None], axis=1),
            }

        self._score = score

    def __call__(self, arrays: dict[str, np.ndarray], _: list[str]) -> dict[str, np.ndarray]:
        return {name: np.asarray(one) for name, one in self._score(self._own, arrays).items()}


def main(folder: pathlib.Path) -> None:
    serve({"score": Scorer(load_study(folder), load(folder / "scorer"))})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
