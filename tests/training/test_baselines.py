from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from training.baselines import ALS, BPR, Method, Settings, fit, popularity
from training.datasets.dataset import Interactions, sorted_interactions
from training.evaluate import Batch, evaluate
from training.splits import leave_last_out
from training.tuning import Trial, tune

USERS, ITEMS = 60, 40


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    """Two groups of users, each with its own half of the catalogue; item 39 is chosen by nobody."""
    rng = np.random.default_rng(0)
    rows = [
        (user, item, time)
        for user in range(USERS)
        for time, item in enumerate(rng.permutation(ITEMS // 2 - 1)[:9] + ITEMS // 2 * (user % 2))
    ]
    user, item, time = (np.array(column) for column in zip(*rows))
    ones = np.ones((len(rows), 1))
    return sorted_interactions(user, item, time, ones, ones[:, 0])


def batch_of(users: list[int], exclude: list[list[int]]) -> Batch:
    n = len(users)
    return Batch(
        np.array(users, np.int32), np.full((n, 1), -1, np.int32), np.zeros((n, 1, 1), np.float32),
        np.array(exclude, np.int32), np.zeros(n, np.int32),
    )  # fmt: skip


def test_popularity_ranks_by_count_and_leaves_out_what_was_seen() -> None:
    user, item = np.array([0, 1, 2, 0, 1, 2]), np.array([3, 3, 3, 1, 1, 0])
    ones = np.ones((6, 1))
    ranker = popularity(sorted_interactions(user, item, item, ones, ones[:, 0]), items=5)
    got = np.asarray(ranker(batch_of([0, 2], [[3, 1], [-1, -1]]), 5))
    np.testing.assert_array_equal(got, [[0, 2, 4, -1, -1], [3, 1, 0, 2, 4]])


ALS_SETTINGS: Settings = {"factors": 8, "regularization": 1, "alpha": 5, "iterations": 8}
BPR_SETTINGS: Settings = {
    "factors": 8,
    "regularization": 0.01,
    "learning_rate": 0.1,
    "iterations": 60,
}


@pytest.mark.parametrize(("method", "settings"), [(ALS, ALS_SETTINGS), (BPR, BPR_SETTINGS)])
def test_factorisations_find_the_groups(
    method: Method, settings: Settings, interactions: Interactions
) -> None:
    # No warning of BLAS threads either: warnings are errors.
    factors = fit(method, settings, interactions, users=USERS, items=ITEMS, seed=0)
    rows = np.asarray(factors.ranker()(batch_of(list(range(USERS)), [[-1]] * USERS), 12))
    of_own_group = (rows >= ITEMS // 2) == (np.arange(USERS) % 2 == 1)[:, None]
    assert of_own_group.mean() > 0.9
    everything = np.asarray(factors.ranker()(batch_of([0], [[-1]]), ITEMS))
    assert ITEMS - 1 not in everything  # nobody chose it, so its factors say nothing


@pytest.mark.parametrize(("method", "settings"), [(ALS, ALS_SETTINGS), (BPR, BPR_SETTINGS)])
def test_fits_depend_on_the_seed_and_on_nothing_else(
    method: Method, settings: Settings, interactions: Interactions
) -> None:
    one, same, other = (
        fit(method, settings, interactions, users=USERS, items=ITEMS, seed=seed).items
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_als_is_the_solution_of_its_normal_equations(interactions: Interactions) -> None:
    """Hu, Koren and Volinsky (2008), equation 5, for the items, which are solved for last."""
    settings = {**ALS_SETTINGS, "iterations": 30}
    factors = fit(ALS, settings, interactions, users=USERS, items=ITEMS, seed=0)
    chosen = np.zeros((USERS, ITEMS))
    chosen[interactions.user, interactions.item] = 1
    confidence = np.where(chosen > 0, settings["alpha"], 1.0)
    x = factors.users.astype(np.float64)
    for item in range(ITEMS - 1):
        weighted = x.T * confidence[:, item]
        want = np.linalg.solve(
            weighted @ x + settings["regularization"] * np.eye(8), weighted @ chosen[:, item]
        )
        # Conjugate gradients, three steps a time, in float32.
        np.testing.assert_allclose(factors.items[item], want, atol=5e-3)


SMALL = dataclasses.replace(
    ALS,
    grid={"factors": (1, 2, 4, 8), "regularization": (0.1, 1, 10), "alpha": (1, 5)},
    start={"factors": (1,), "regularization": (1,), "alpha": (5,)},
    iterations=(1, 4),
)


def test_tune_climbs_to_what_a_full_search_finds(interactions: Interactions) -> None:
    split = leave_last_out(interactions)
    seen: list[Trial] = []
    tuned = tune(SMALL, split, users=USERS, items=ITEMS, progress=seen.append)
    scores = [trial.score for trial in tuned.trials]
    assert tuned.best == tuned.trials[0]
    assert tuned.best.score > seen[0].score  # better than where it began
    assert scores[:1] == [max(trial.score for trial in tuned.trials if trial.fits > 1)]
    assert all(trial.fits == 3 for trial in tuned.trials[:5])
    # Every neighbour of the best single fit was tried, so that none of them is better.
    settings = [tuple(trial.settings[name] for name in SMALL.grid) for trial in tuned.trials]
    assert len(settings) == len(set(settings))
    ends = {"factors": (1, 8), "regularization": (0.1, 10), "alpha": (1, 5), "iterations": (1, 4)}
    on_edge = {name for name, value in tuned.best.settings.items() if value in ends[name]}
    assert set(tuned.on_edge) == on_edge


def test_tune_learns_from_the_training_part_alone(
    interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = leave_last_out(interactions)
    learned = []

    def spy(method: Method, settings: object, given: Interactions, **rest: object) -> object:
        learned.append(len(given))
        return fit(method, settings, given, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr("training.tuning.fit", spy)
    tune(SMALL, split, users=USERS, items=ITEMS)
    assert set(learned) == {len(split.train)}
    assert len(split.train) == len(interactions) - 2 * USERS


def test_tuned_als_beats_popularity_where_taste_matters(interactions: Interactions) -> None:
    split = leave_last_out(interactions)
    settings = tune(SMALL, split, users=USERS, items=ITEMS).best.settings
    rankers = {
        "als": fit(ALS, settings, split.refit, users=USERS, items=ITEMS, seed=0).ranker(),
        "popularity": popularity(split.refit, items=ITEMS),
    }
    found = {
        name: evaluate(ranker, split.test, items=ITEMS, recall_at=(10,), ndcg_at=())
        for name, ranker in rankers.items()
    }
    # Ten of a group's eleven unseen items (0.91), or ten of all thirty (0.33); 60 users.
    assert found["als"].metrics["recall@10"] > 0.75
    assert found["popularity"].metrics["recall@10"] < 0.55


def test_a_missing_package_names_the_extra(
    interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(ImportError, match=r"pip install 'silverjax\[bench\]'"):
        fit(ALS, ALS_SETTINGS, interactions, users=USERS, items=ITEMS, seed=0)
