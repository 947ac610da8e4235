"""What a recommender has to beat: popularity, and matrix factorisation by `implicit`.

The factorisations are worth comparing with only when tuned: see `training.tuning`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from silverjax._extras import needs_extra
from training.datasets.dataset import Interactions
from training.evaluate import Batch, Ranker, rank_by_scores

Settings = Mapping[str, int | float]


@dataclasses.dataclass(frozen=True)
class Factors:
    """A factorisation: the score of item i for user u is `users[u] @ items[i]`.

    Attributes:
        users: float32 [users, f].
        items: float32 [items, f].
        known: bool [items]; an item nobody chose has no factors worth the name, and is not ranked.
    """

    users: np.ndarray
    items: np.ndarray
    known: np.ndarray

    def scores(self, batch: Batch) -> np.ndarray:
        """Scores float32 [b, items]."""
        return np.where(self.known, self.users[np.maximum(batch.user, 0)] @ self.items.T, -np.inf)

    def ranker(self) -> Ranker:
        return rank_by_scores(self.scores)


@dataclasses.dataclass(frozen=True)
class Method:
    """A factorisation of `implicit` and the settings to choose from.

    Attributes:
        name: What tables call it.
        grid: Values of each setting, ascending.
        start: The part of the grid that is tried in full before the search climbs from there.
        iterations: Numbers of iterations to choose from, ascending; one fit tries them all.
        make: (settings, seed) -> a model of `implicit`.
    """

    name: str
    grid: Mapping[str, tuple[int | float, ...]]
    start: Mapping[str, tuple[int | float, ...]]
    iterations: tuple[int, ...]
    make: Callable[[Settings, int], Any]


def popularity(interactions: Interactions, *, items: int) -> Ranker:
    """Ranks by the number of interactions, the same for everybody but for the items seen."""
    count = np.bincount(interactions.item, minlength=items).astype(np.float32)
    return rank_by_scores(lambda batch: np.broadcast_to(count, (len(batch.user), items)))


def _make_als(settings: Settings, seed: int) -> Any:
    return _implicit("als").AlternatingLeastSquares(
        factors=int(settings["factors"]),
        regularization=settings["regularization"],
        alpha=settings["alpha"],
        random_state=seed,
        num_threads=1,
    )


def _make_bpr(settings: Settings, seed: int) -> Any:
    # One thread: several update the factors without locks, and no two runs would be alike.
    return _implicit("bpr").BayesianPersonalizedRanking(
        factors=int(settings["factors"]),
        regularization=settings["regularization"],
        learning_rate=settings["learning_rate"],
        random_state=seed,
        num_threads=1,
    )


# Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
ALS = Method(
    name="als",
    grid={
        "factors": (8, 16, 32, 64, 128, 256),
        "regularization": (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
        "alpha": (1, 2, 5, 10, 30, 100),
    },
    start={"factors": (32, 128), "regularization": (0.1, 1, 10, 100), "alpha": (1, 5, 30)},
    iterations=(2, 4, 8, 16, 32, 64),
    make=_make_als,
)

# Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
BPR = Method(
    name="bpr",
    grid={
        "factors": (8, 16, 32, 64, 128, 256),
        "regularization": (0, 0.0005, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1),
        "learning_rate": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    },
    start={
        "factors": (16, 128),
        "regularization": (0.002, 0.01, 0.1),
        "learning_rate": (0.003, 0.01, 0.03),
    },
    iterations=(10, 20, 40, 60, 80, 120, 160, 240, 320, 480),
    make=_make_bpr,
)


def fit(
    method: Method,
    settings: Settings,
    interactions: Interactions,
    *,
    users: int,
    items: int,
    seed: int,
    on_iteration: Callable[[int, Factors], bool] | None = None,
) -> Factors:
    """Factorises `interactions`; deterministic in its arguments.

    Args:
        settings: One value for each name in `method.grid`, and `iterations`.
        users: Rows of the user table.
        items: Rows of the item table.
        seed: Seeds the factors (and for BPR the sampling).
        on_iteration: Called with the iterations done and the factors so far; stops the fit by
            returning True.
    """

    def callback(iteration: int, *_: object) -> None:
        if on_iteration is not None and on_iteration(
            iteration + 1, _factors(model, interactions, items)
        ):
            raise _EnoughError

    # `implicit` warns of BLAS threads, which fight with its own: it can be ten times slower. What
    # is limited must be loaded, so the import comes first.
    _implicit("als")
    with _import("threadpoolctl").threadpool_limits(limits=1, user_api="blas"):
        model = method.make(settings, seed)
        model.iterations = int(settings["iterations"])
        with contextlib.suppress(_EnoughError):
            model.fit(
                _matrix(interactions, users, items),
                show_progress=False,
                callback=None if on_iteration is None else callback,
            )
    return _factors(model, interactions, items)


class _EnoughError(Exception):
    """Leaves `implicit`'s loop; it has no other way out."""


def _matrix(interactions: Interactions, users: int, items: int) -> Any:
    """Who chose what, as a sparse matrix of ones; choosing twice counts once."""
    import scipy.sparse  # type: ignore[import-untyped]

    ones = np.ones(len(interactions), np.float32)
    matrix = scipy.sparse.csr_matrix(
        (ones, (interactions.user, interactions.item)), shape=(users, items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _factors(model: Any, interactions: Interactions, items: int) -> Factors:
    known = np.bincount(interactions.item, minlength=items) > 0
    return Factors(model.user_factors, model.item_factors, known)


def _implicit(module: str) -> Any:
    # The CPU version by name: the package's own factory would take a GPU where there is one.
    return _import(f"implicit.cpu.{module}")


def _import(name: str) -> Any:
    with needs_extra("bench", "a comparison with ALS and BPR"):
        return importlib.import_module(name)
