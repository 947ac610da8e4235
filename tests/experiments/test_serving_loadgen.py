"""LoadGen itself, for a second, against a real server and against one that answers nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from experiments.serving_loadgen import Study, Sut, parse_summary, server_run
from serving.engine import Engine
from tests.serving.running import running

STUDY = Study(target_ms=200.0, seconds=1.0, users=20, k=1)


def one_run(url: str) -> dict[str, Any]:
    sut = Sut(url, STUDY)
    try:
        return server_run(sut, STUDY, rate=100.0)
    finally:
        sut.close()


def test_answers_are_counted_and_failures_are_late(engine: Engine) -> None:
    with running(engine) as server:
        good = one_run(server.urls["http"])
        bad = one_run(server.urls["http"] + "/nothing-here")
    assert good["failed"] == 0
    assert 0 < good["p50_ms"] <= good["p99_ms"]
    assert bad["failed"] >= 100  # all of them
    assert not bad["valid"]
    assert bad["p50_ms"] > 2 * STUDY.target_ms


def test_rejects_a_summary_without_a_result() -> None:
    with pytest.raises(ValueError, match="does not say whether the result is valid"):
        parse_summary("MLPerf Results Summary\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"users": 0}, "users=0 must be at least 1"),
        ({"k": -1}, "k=-1 must be at least 1"),
        ({"seconds": 0.0}, "seconds=0.0 must be above 0 and finite"),
        ({"target_ms": math.nan}, "target_ms=nan must be above 0 and finite"),
        ({"rate": -1.0}, "rate=-1.0 must be above 0 and finite, or 0 to measure it"),
    ],
)
def test_settings_that_measure_nothing_are_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study(**settings)
