from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from experiments import quality, quality_methods, quality_report
from silverjax.config import OverArchConfig, RetrieverConfig, TowerConfig
from silverjax.metrics import Estimate, mean_and_interval
from training.baselines import ALS
from training.config import TrainConfig
from training.datasets import Dataset, synthetic
from training.evaluate import Result
from training.splits import make_split

SMALL_ALS = dataclasses.replace(
    ALS,
    grid={"factors": (2, 4), "regularization": (1,), "alpha": (5,)},
    start={"factors": (2,), "regularization": (1,), "alpha": (5,)},
    iterations=(1, 2),
)


@pytest.fixture
def asked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the study on a small data set, with stand-ins for the trained models."""
    dataset: Dataset = synthetic.generate(users=80, items=60, interactions=900, groups=4)[0]
    monkeypatch.setattr(quality, "load", lambda *_, **__: dataset)
    monkeypatch.setattr(quality_methods, "FACTORISATIONS", {"als": SMALL_ALS})

    def pipeline(setup: quality_methods.Setup, seed: int) -> dict[str, Result]:
        alone = quality_methods.run_popularity(setup)[quality_methods.POPULARITY]
        better = {name: value + 0.3 + 0.001 * seed for name, value in alone.metrics.items()}
        return {
            quality_methods.TOWERS: alone,
            quality_methods.PIPELINE: dataclasses.replace(alone, metrics=better),
        }

    monkeypatch.setattr(quality_methods, "run_pipeline", pipeline)

    def run(*arguments: str) -> dict[str, Any]:
        folders = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
        chosen = ["--methods", "popularity", "als", "pipeline"]
        quality.main(["--dataset", "synthetic", "--seeds", "2", *folders, *chosen, *arguments])
        found: dict[str, Any] = json.loads(
            (tmp_path / "out" / "quality-synthetic-leave-last-out.json").read_text()
        )
        assert (tmp_path / "out" / "quality-synthetic-leave-last-out.png").stat().st_size > 5_000
        return found

    return run


def test_quality_compares_all_methods(
    asked: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = asked()
    rows = found["figures"]["methods"]
    assert list(rows) == [
        "popularity", "ALS, tuned", "two towers of the pipeline", "full pipeline",
    ]  # fmt: skip
    assert len(rows["ALS, tuned"]["seeds"]["ndcg@20"]) == 2
    assert rows["popularity"]["estimates"]["ndcg@20"]["values"] == 1
    assert rows["full pipeline"]["estimates"]["recall@20"]["values"] == 2
    assert set(found["figures"]["gain_interval_over_users"]["ndcg@20"]) == set(rows) - {
        "full pipeline"
    }
    assert found["settings"]["seeds"] == 2
    printed = capsys.readouterr().out
    assert "full pipeline against popularity: ndcg@20 +" in printed


def test_quality_goes_on_where_it_stopped(
    asked: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    inner = quality_methods.run_pipeline

    def stopping(setup: quality_methods.Setup, seed: int) -> dict[str, Result]:
        if seed == 1 and not ran.count(1):
            ran.append(seed)
            raise KeyboardInterrupt
        ran.append(seed)
        return inner(setup, seed)

    monkeypatch.setattr(quality_methods, "run_pipeline", stopping)
    with pytest.raises(KeyboardInterrupt):
        asked()
    interrupted = asked()
    assert ran == [0, 1, 1]  # seed 0 came out of the cache
    assert asked("--fresh")["figures"] == interrupted["figures"]
    assert ran == [0, 1, 1, 0, 1]
    asked("--train.learning-rate", "0.5")
    assert ran[5:] == [0, 1]  # other settings: nothing kept is of use


def test_quality_rejects_a_study_of_nothing() -> None:
    with pytest.raises(ValueError, match="seeds=0 must be at least 1"):
        quality.Study(seeds=0)


def test_relation_of_intervals() -> None:
    def made(mean: float, half: float, values: int = 5) -> Estimate:
        return Estimate(mean, half, values)

    relation = quality_report.relation
    assert relation(made(0.3, 0.01), made(0.27, 0.01)) == "apart"
    assert relation(made(0.3, 0.02), made(0.27, 0.02)) == "overlapping"
    assert relation(made(0.3, 0.02), made(0.27, np.inf, 1)) == "apart"
    assert relation(made(0.3, np.inf, 1), made(0.2, 0.01)) == "unknown (a single seed)"


def test_verdicts_name_the_gain() -> None:
    summary = {
        "popularity": {"ndcg@20": mean_and_interval([0.1])},
        quality_methods.PIPELINE: {"ndcg@20": mean_and_interval([0.149, 0.151])},
    }
    assert list(quality_report.verdicts(summary, judged=["ndcg@20"])) == [
        "full pipeline against popularity: ndcg@20 +50.0%, intervals apart"
    ]


def test_gains_are_paired_by_user() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(500)
    runs = {
        "popularity": [Result({}, {"ndcg@20": easy})],
        quality_methods.PIPELINE: [Result({}, {"ndcg@20": easy + 0.1 + d}) for d in (-0.02, 0.02)],
    }
    low, high = quality_report.gains(runs, "ndcg@20")["popularity"]
    assert low == pytest.approx(0.1, abs=1e-5)
    assert high == pytest.approx(0.1, abs=1e-5)


@pytest.mark.slow  # trains twice
def test_trained_models_are_evaluated_on_what_they_did_not_see() -> None:
    dataset: Dataset = synthetic.generate(users=40, items=50, interactions=500, groups=4)[0]
    split = make_split("leave-last-out", dataset.interactions)
    setup = quality_methods.Setup(
        dataset,
        split,
        RetrieverConfig(
            tower=TowerConfig(dim=16, width=16, history=6, layers=1, heads=1),
            over_arch=OverArchConfig(component_dim=8, user_components=2, item_components=2),
        ),
        TrainConfig(steps=2, batch=8, in_batch=16, uniform=16, mined=8, over_arch_uniform=8),
        {"watched": 1.0},
    )
    # Optax's schedules and bias corrections mix an integer count with floats.
    with jax.numpy_dtype_promotion("standard"):
        found = quality_methods.run_towers_alone(setup, 0) | quality_methods.run_pipeline(setup, 0)
    assert list(found) == [
        quality_methods.TOWERS_ALONE, quality_methods.TOWERS, quality_methods.PIPELINE,
    ]  # fmt: skip
    for result in found.values():
        assert 0 < result.metrics["recall@50"] <= 1
        assert len(result.per_case["ndcg@20"]) == len(split.test)
    # All 50 items are candidates: nothing can be missed.
    assert found[quality_methods.PIPELINE].metrics["recall@50"] == 1
