"""OverArch's head, fitted: against SciPy on small problems, and within a model."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from silverjax.model import Model
from silverjax.model_index import embed_catalogue
from tests.training.tiny import CONFIG, MODEL, dataset
from training import head_fit
from training.config import TrainConfig
from training.engagement import engagement_of
from training.head_fit import Choices, Signals, choices_to_fit, with_fitted_head
from training.held_out import held_out
from training.loop import _initial_params, _own_index
from training.rankers import items_of
from training.train_step import Corpus

pytestmark = pytest.mark.usefixtures("weak_promotion")  # optax adds integer step counts to floats

N, K, TASKS, S = 60, 12, 2, 3


def problem(seed: int = 0) -> tuple[Signals, np.ndarray]:
    """Candidates of which some are padding, choices of which some were not found."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(N, K, TASKS, S)) * [1.0, 0.1, 5.0]
    columns[..., 2] += 50.0 * rng.normal(size=(N, 1, 1))  # of the request, which says nothing
    known = np.arange(K) < rng.integers(5, K + 1, N)[:, None]
    drawn = np.argmax(columns[:, :, 0, 0] + rng.gumbel(size=(N, K)) - 99.0 * ~known, axis=1)
    chosen = (np.arange(K) == drawn[:, None]) & (rng.random(N) < 0.8)[:, None]
    logits = rng.normal(size=(N, K, TASKS)) - 3.0
    labels = np.stack([np.ones(N), rng.random(N) < 0.6], axis=1)
    signals = Signals(
        logits=jnp.asarray(logits, jnp.float32),
        columns=jnp.asarray(columns, jnp.float32),
        known=jnp.asarray(known),
        chosen=jnp.asarray(chosen),
    )
    return signals, labels.astype(np.float32)


def oracle(signals: Signals, labels: np.ndarray, ridge: float, task: int) -> tuple[Any, float]:
    """The same problem in float64, choice by choice."""
    logits, columns = (np.asarray(x, np.float64)[:, :, task] for x in vars_of(signals)[:2])
    known, chosen = (np.asarray(x) for x in vars_of(signals)[2:])
    within = [columns[n, known[n]] - columns[n, known[n]].mean(0) for n in range(N)]
    spread = np.concatenate(within).std(0)
    there = [n for n in range(N) if chosen[n].any() and labels[n, task]]

    def loss(change: np.ndarray) -> float:
        scores = logits + columns @ (change / spread)
        each = [scipy.special.logsumexp(scores[n, known[n]]) - scores[n, chosen[n]] for n in there]
        return float(np.sum(each)) + ridge * float(change @ change)

    found = scipy.optimize.minimize(loss, np.zeros(S), method="BFGS", options={"gtol": 1e-6})
    change = found.x / spread
    scores = (logits + columns @ change)[known]
    level = scipy.optimize.brentq(
        lambda by: scipy.special.expit(scores + by).sum() - len(there), -20, 20
    )
    return change, level


def vars_of(signals: Signals) -> list[Any]:
    return [getattr(signals, field.name) for field in dataclasses.fields(signals)]


@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_solution_is_that_of_scipy(ridge: float) -> None:
    signals, labels = problem()
    change, level = head_fit._solved(signals, jnp.asarray(labels), ridge)
    for task in range(TASKS):
        expected, expected_level = oracle(signals, labels, ridge, task)
        # float32 sums of some hundred logits, and where Newton stops.
        np.testing.assert_allclose(change[:, task], expected, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(level[task], expected_level, atol=2e-3)


def test_solution_stays_where_no_choice_was_found() -> None:
    signals, labels = problem()
    none = dataclasses.replace(signals, chosen=jnp.zeros_like(signals.chosen))
    for result in head_fit._solved(none, jnp.asarray(labels), 1.0):
        assert (np.asarray(result) == 0.0).all()


@functools.cache
def fitted() -> tuple[Any, Any, Choices, Any]:
    """Parameters before and after the fit, what they were fitted to, and how to see signals."""
    data, schema = dataset(), dataset().schema
    config = dataclasses.replace(CONFIG, held_out=0.5, fit_choices=150)
    choices = choices_to_fit(data, config, history=MODEL.tower.history, excluded=8)
    assert choices is not None
    model, items = Model(schema, MODEL), items_of(data)
    one = jax.tree.map(lambda column: column[:1][:, None], items)
    user = jax.tree.map(lambda column: column[:1], choices.users)
    params = _initial_params(model, jax.random.key(0), user, one)
    params = jax.tree.map(lambda p: p + 0.1 * jnp.sin(jnp.arange(p.size)).reshape(p.shape), params)
    corpus = Corpus(items, jnp.zeros(schema.items), engagement_of(data, MODEL.engagement))
    index = _own_index(schema, MODEL, params, items)
    after = with_fitted_head(model, params, index, corpus, choices, ridge=0.5)

    def see(params: Any) -> Signals:
        states = embed_catalogue(model, params, items)
        return head_fit._signals(model, params, index, states, corpus.engagement, choices)

    return params, after, choices, see


def test_model_scores_as_the_solution_says() -> None:
    """So the head that is written back is the one that was solved for."""
    before, after, choices, see = fitted()
    signals = see(before)
    change, level = head_fit._solved(signals, choices.labels, 0.5)
    expected = signals.logits + jnp.einsum("nkts,st->nkt", signals.columns, change) + level
    known = np.asarray(signals.known)
    # Two sums in float32 that end in logits of up to some ten.
    np.testing.assert_allclose(see(after).logits[known], expected[known], rtol=1e-2, atol=1e-2)
    assert float(jnp.abs(expected - signals.logits)[known].max()) > 1.0


def test_fit_moves_the_head_alone() -> None:
    before, after, _, _ = fitted()
    moved = {
        jax.tree_util.keystr(path)
        for (path, one), other in zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
        )
        if (np.asarray(one) != np.asarray(other)).any()
    }
    assert moved == {
        "['over_arch']['evidence']['linear']",
        "['over_arch']['item_bias']['bias']",
        "['over_arch']['item_bias']['kernel']",
    }


def test_as_many_choices_are_expected_as_there_were() -> None:
    _, after, choices, see = fitted()
    signals = see(after)
    there = np.asarray(signals.chosen).any(1)
    expected = np.where(signals.known[..., None], jax.nn.sigmoid(signals.logits), 0).sum((0, 1))
    np.testing.assert_allclose(expected, np.asarray(choices.labels)[there].sum(0), rtol=1e-3)


def test_choices_are_requests_of_their_moment() -> None:
    seen = dataset().interactions
    _, _, choices, _ = fitted()
    kept = held_out(seen.user, 0.5)
    assert len(choices.chosen) == 150 < kept.sum()
    for row in range(150):
        user, item = int(choices.users.id[row]), int(choices.chosen[row])
        mine = np.flatnonzero(seen.user == user)
        at = seen.item[mine].tolist().index(item)  # a user chooses an item once
        past = seen.item[mine][:at].tolist()
        history = np.asarray(choices.users.history[row])
        assert kept[mine[at]]
        assert history[history >= 0].tolist() == past[-MODEL.tower.history :]
        named = np.asarray(choices.seen[row])
        assert named[named >= 0].tolist() == past[-8:]
        days: Any = choices.users.day
        assert int(days[row]) == seen.time[mine[at]] // 86_400
        np.testing.assert_array_equal(choices.labels[row], seen.labels[mine[at]])


@pytest.mark.parametrize("changes", [{"fit_choices": 0}, {"held_out": 0.0}, {"positions": 0}])
def test_nothing_is_fitted_where_nothing_is_held_out_for_it(changes: dict[str, Any]) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    assert choices_to_fit(dataset(), config, history=6, excluded=8) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit_choices": -1}, "fit_choices=-1 must be at least 0"),
        ({"fit_ridge": 0.0}, "fit_ridge=0.0 must be above 0 and finite"),
        ({"fit_ridge": float("nan")}, "fit_ridge=nan must be above 0 and finite"),
    ],
)
def test_rejects_settings_that_fit_nothing(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
