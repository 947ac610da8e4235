"""Quantiles of what was measured lately."""

from __future__ import annotations

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np

from serving.stats import Sliding


@hypothesis.given(
    st.lists(st.floats(0, 10), min_size=1, max_size=60), st.integers(1, 20), st.floats(0.01, 1)
)
def test_quantiles_are_of_the_last_ones_in_the_span(
    seconds: list[float], room: int, share: float
) -> None:
    sliding = Sliding(span_s=10.0, room=room)
    for at, value in enumerate(seconds):
        sliding.add(float(at), value)
    now = float(len(seconds) - 1)
    recent = sorted(seconds[-min(room, 11) :])
    wanted = recent[math.ceil(share * len(recent) - 1e-9) - 1]
    assert np.isclose(sliding.quantiles([share], now)[0], wanted)


def test_nothing_measured_has_no_quantile() -> None:
    sliding = Sliding(span_s=1.0)
    assert np.isnan(sliding.quantiles([0.5, 0.99])).all()
    sliding.add(0.0, 1.0)
    assert np.isnan(sliding.quantiles([0.5], now=5.0)).all()
