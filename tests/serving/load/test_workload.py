"""Schedules, held to the distributions they promise (scipy is the oracle)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.stats

from serving.load.workload import (
    MLPERF_QUANTILES,
    Profile,
    constant,
    draw_sizes,
    ramp,
    schedule,
    sine,
    steps,
)


def test_gaps_are_exponential() -> None:
    gaps = np.diff(schedule(constant(200.0, 100.0), seed=1).times)
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.03)  # 20,000 gaps: 4 standard errors
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.03)
    assert scipy.stats.kstest(gaps, scipy.stats.expon(scale=1 / 200).cdf).pvalue > 0.01


def test_whole_milliseconds_would_be_found_out() -> None:
    """The generator of DeepRecSys's reference code does not pass what ours passes."""
    gaps = np.random.default_rng(0).poisson(5, 20_000) / 1e3
    assert scipy.stats.kstest(gaps, scipy.stats.expon(scale=5e-3).cdf).pvalue < 1e-6
    assert gaps.std() / gaps.mean() < 0.5


PROFILES = {
    "constant": constant(400.0, 50.0),
    "steps": steps([(20.0, 100.0), (20.0, 400.0), (10.0, 200.0)]),
    "ramp": ramp(100.0, 700.0, 50.0),
    "sine": sine(300.0, 0.6, 20.0, 50.0),
}


@pytest.mark.parametrize("name", PROFILES)
def test_arrivals_follow_the_rate(name: str) -> None:
    """Given their number, the times of a Poisson process are independent draws of its rate."""
    profile = PROFILES[name]
    made = schedule(profile, seed=2)
    expected = profile.requests[-1]
    assert abs(len(made) - expected) < 4 * np.sqrt(expected)
    assert made.duration == profile.duration == pytest.approx(50)
    assert (np.diff(made.times) >= 0).all()
    assert 0 < made.times[0] <= made.times[-1] < 50

    def cdf(t: np.ndarray) -> np.ndarray:
        return np.interp(t, profile.seconds, profile.requests) / expected

    assert scipy.stats.kstest(made.times, cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("profile", "rate"),
    [
        (PROFILES["steps"], lambda t: np.select([t < 20, t < 40], [100.0, 400.0], 200.0)),
        (PROFILES["ramp"], lambda t: 100 + 12 * t),
        (PROFILES["sine"], lambda t: 300 * (1 + 0.6 * np.sin(2 * np.pi * t / 20))),
    ],
)
def test_profile_integrates_its_rate(profile: Profile, rate) -> None:  # type: ignore[no-untyped-def]
    t = np.linspace(0, 50, 200_001)
    middle = (t[1:] + t[:-1]) / 2
    integral = np.append(0, np.cumsum(rate(middle) * np.diff(t)))
    np.testing.assert_allclose(np.interp(t, profile.seconds, profile.requests), integral, atol=0.02)


def test_mlperf_sizes_are_the_published_quantiles() -> None:
    assert len(MLPERF_QUANTILES) == 20
    assert np.mean(MLPERF_QUANTILES) == 270
    assert Counter(MLPERF_QUANTILES) == {100: 2, 200: 12, 300: 2, 400: 1, 500: 1, 600: 1, 700: 1}
    drawn = Counter(draw_sizes("mlperf", 40_000, np.random.default_rng(3)).tolist())
    assert set(drawn) == set(MLPERF_QUANTILES)
    for size, share in Counter(MLPERF_QUANTILES).items():
        assert drawn[size] / 40_000 == pytest.approx(share / 20, abs=0.01)


def test_kairos_sizes_match_the_recipe() -> None:
    sizes = draw_sizes("kairos", 100_000, np.random.default_rng(4))
    assert sizes.min() >= 1
    assert sizes.max() == 999
    assert sizes.mean() == pytest.approx(239, rel=0.01)  # the facts of the trace
    assert sizes.std() / sizes.mean() == pytest.approx(0.75, abs=0.01)
    assert np.mean(sizes < 100) == pytest.approx(0.081, abs=0.003)
    assert np.mean(sizes >= 600) == pytest.approx(0.051, abs=0.003)


def test_lognormal_and_fixed_sizes() -> None:
    rng = np.random.default_rng(5)
    sizes = draw_sizes("lognormal", 100_000, rng)
    assert np.median(sizes) == pytest.approx(np.exp(5.1), abs=2)
    assert (draw_sizes("fixed:7", 5, rng) == 7).all()


def test_same_seed_same_schedule_and_faster_keeps_it() -> None:
    one, two = (schedule(constant(50.0, 10.0), seed=9) for _ in range(2))
    np.testing.assert_array_equal(one.times, two.times)
    np.testing.assert_array_equal(one.sizes, two.sizes)
    other = schedule(constant(50.0, 10.0), seed=10)
    assert len(other) != len(one) or (other.times != one.times).any()
    fast = one.faster(4.0)
    np.testing.assert_allclose(fast.times * 4, one.times)
    assert fast.duration == one.duration / 4
    few = one.first(7)
    np.testing.assert_array_equal(few.times, one.times[:7])
    np.testing.assert_array_equal(few.sizes, one.sizes[:7])
    assert few.times[-1] < few.duration <= one.times[7]
    assert one.first(len(one) + 1) is one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(0.0, 1.0), "rate=0.0 must be a positive number"),
        (lambda: constant(float("inf"), 1.0), "rate=inf must be a positive number"),
        (lambda: steps([]), "at least one"),
        (lambda: ramp(1.0, -1.0, 1.0), "last=-1.0 must be a positive number"),
        (lambda: sine(1.0, 1.0, 1.0, 1.0), "amplitude=1.0 must be a share"),
        (lambda: schedule(constant(1.0, 1.0), sizes="fixed:0"), "'fixed:0' must be one of mlperf"),
        (lambda: schedule(constant(1.0, 1.0), sizes="gamma"), "'gamma' must be one of mlperf"),
    ],
)
def test_rejects_what_is_no_load(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
