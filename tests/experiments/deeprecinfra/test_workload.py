from __future__ import annotations

import numpy as np
import pytest

from experiments.deeprecinfra.model_config import MODELS
from experiments.deeprecinfra.workload import LEVELS, TARGETS_MS, latency_target, queries


def test_every_model_has_a_target_at_every_level() -> None:
    assert set(TARGETS_MS) == set(MODELS)
    assert latency_target("rmc2", "medium") == pytest.approx(0.4)
    assert [latency_target("ncf", level) for level in LEVELS] == pytest.approx(
        [0.0025, 0.005, 0.0075]
    )


def test_a_model_or_level_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(ValueError, match="'bert' has no target; there are ncf"):
        latency_target("bert", "low")
    with pytest.raises(ValueError, match="level='tight' must be one of low, medium, high"):
        latency_target("ncf", "tight")


@pytest.mark.parametrize("rate", [50.0, 200.0])
def test_gaps_vary_as_a_poisson_process_and_the_references_do_not(rate: float) -> None:
    gaps = np.diff(queries(rate, 40_000, seed=1).times)
    assert gaps.mean() == pytest.approx(1 / rate, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)
    gaps = np.diff(queries(rate, 40_000, arrivals="reference", seed=1).times)
    assert gaps.mean() == pytest.approx(1 / rate, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1 / np.sqrt(1e3 / rate), rel=0.03)


def test_the_same_seed_is_the_same_queries_at_another_rate() -> None:
    slow, fast = queries(10.0, 100, seed=7), queries(40.0, 100, seed=7)
    np.testing.assert_allclose(slow.times, 4 * fast.times)
    np.testing.assert_array_equal(slow.sizes, fast.sizes)


def test_sizes_are_mlperfs_unless_asked_otherwise() -> None:
    assert queries(1.0, 40_000).sizes.mean() == pytest.approx(270, rel=0.01)
    assert set(queries(1.0, 50, sizes="fixed:33").sizes) == {33}


@pytest.mark.parametrize(("rate", "count"), [(0.0, 5), (float("inf"), 5), (1.0, 0)])
def test_no_load_is_rejected(rate: float, count: int) -> None:
    with pytest.raises(ValueError, match="rate=.* and count=.* must be positive"):
        queries(rate, count)


def test_arrivals_that_do_not_exist_are_rejected() -> None:
    with pytest.raises(ValueError, match="arrivals='bursty' must be one of poisson, reference"):
        queries(1.0, 5, arrivals="bursty")
