"""The additions that the README shows, made as it says."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

import jax
import numpy as np
import pytest

import experiments.deeprecinfra
from experiments.deeprecinfra import model_config as configs
from experiments.deeprecinfra import models, workload
from experiments.deeprecinfra.bench import Bench, sustained
from experiments.deeprecinfra.model_config import ModelConfig, Tables
from experiments.deeprecinfra.plans import Fixed, Plan
from experiments.deeprecinfra.simulator import Setting
from tests.experiments.deeprecinfra.test_bench import CORES

README = (pathlib.Path(experiments.deeprecinfra.__file__).parent / "README.md").read_text()


def code(title: str) -> Iterator[str]:
    """The pieces of a section's example, one per file that it names."""
    (example,) = re.findall(rf"## Add a {title}\n.*?```python\n(.*?)```", README, re.DOTALL)
    assert len(example.splitlines()) < 30
    for piece in re.split(r"^(?=# [\w/]+\.py)", example, flags=re.MULTILINE):
        if piece.strip():
            yield piece.partition("\n")[2]


def test_a_model_runs_and_has_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    added, target = code("model")
    tiny: ModelConfig = eval(
        f"({added.rstrip().rstrip(',')})", {"ModelConfig": ModelConfig, "Tables": Tables}
    )
    monkeypatch.setattr(configs, "_CONFIGS", {p: {"tiny": tiny} for p in configs.PRESETS})
    monkeypatch.setattr(configs, "MODELS", ("tiny",))
    config = configs.model_config("tiny", table_scale=0.01)
    found = models.predict(config, models.init(config), models.random_inputs(config, 5))
    assert found.shape == (5, 1)
    assert bool(jax.numpy.isfinite(found).all())
    monkeypatch.setattr(workload, "TARGETS_MS", eval(f"{{{target}}}"))
    assert workload.latency_target("tiny", "medium") == 0.01


def test_a_workload_gives_its_sizes() -> None:
    (added,) = code("workload")
    body = "\n".join(f"    {line}" for line in added.splitlines())
    space: dict[str, object] = {"np": np}
    exec(f"def draw(name, count, rng):\n{body}", space)
    sizes = space["draw"]("bimodal", 10_000, np.random.default_rng(1))  # type: ignore[operator]
    assert set(sizes.tolist()) == {50, 1000}
    assert (sizes == 50).mean() == pytest.approx(0.9, abs=0.02)


def test_a_scheduler_chooses_a_plan_that_carries_something() -> None:
    added, line = code("scheduler")
    space: dict[str, object] = {"Bench": Bench, "Plan": Plan, "Fixed": Fixed, "Setting": Setting}
    exec(added, space)
    (scheduler,) = eval(f"{{{line}}}", space).values()
    plan = scheduler(Bench(CORES, 0.012))
    # 1 ms and 10 us an item: 500 items take half of the target.
    assert plan == Fixed(dataclasses.replace(Setting(500, 4), even=True))
    assert sustained(CORES, plan, 0.012) > 0
