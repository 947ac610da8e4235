"""The study of real executors from end to end on one core, and its report on given figures."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from experiments.deeprecinfra import live, real
from experiments.deeprecinfra.bench import TargetError
from experiments.deeprecinfra.live import Found, Tail
from experiments.deeprecinfra.real import Real, main
from experiments.deeprecinfra.real_report import errors, headline, markdown, of_oracle, shorter

FOUND = Found(
    "ncf", 0.005, 10.0, 19.0, 20.0, {"static": "a", "ours": "b", "oracle": "c"},
    [Tail("a", 5.0, 200, 0.010, 0.02, 0.011)],
    [Tail("a", 8.0, 200, 0.010, 0.02, 0.010), Tail("b", 8.0, 200, 0.005, 0.016, 0.004)],
)  # fmt: skip


def test_the_report_compares_with_static_oracle_and_simulator() -> None:
    assert of_oracle([FOUND]) == pytest.approx(0.95)
    assert errors([FOUND]) == pytest.approx([0.1, 0.0, -0.2])
    assert shorter([FOUND], "p95") == pytest.approx(0.5)
    assert shorter([FOUND], "p99") == pytest.approx(0.8)
    text = markdown([FOUND], cores=2, table_scale=0.05)
    assert "| ncf | 5 ms | 10.0 | 19.0 | 20.0 | 1.90 | 0.95 | b |" in text
    assert "p95 -50%, p99 -20%" in text
    (said,) = headline([FOUND], 2).values()
    assert "0.95 of the oracle or more" in said
    assert "10% (median), 20% (most)" in said


def test_a_model_without_any_rate_is_reported() -> None:
    none = dataclasses.replace(FOUND, static=0.0, ours=0.0, oracle=0.0, tails=[], equal=[])
    assert "| 0.0 | 0.0 | 0.0 | - | - | b |" in markdown([FOUND, none], cores=2, table_scale=1.0)


def test_a_model_that_cannot_meet_its_target_leaves_the_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def study(_: Real, model: str, __: int) -> Found:
        if model == "ncf":
            return FOUND
        raise TargetError(f"no setting of {model}")

    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(real, "study", study)
    assert main(Real(models=("wnd", "ncf"), folder=tmp_path)) == [FOUND]
    assert "- no setting of wnd" in (tmp_path / "deeprecinfra-real.md").read_text()
    with pytest.raises(TargetError, match="no setting of rmc1"):
        main(Real(models=("rmc1",), folder=tmp_path))


def test_a_run_measures_writes_and_is_not_repeated(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(real, "usable_cores", lambda: [0])
    # A target for any machine under any load, and measurements no longer than of a shorter one.
    monkeypatch.setattr(real, "latency_target", lambda *_: 0.5)
    monkeypatch.setattr(live, "_TARGETS", 4)
    asked = Real(
        models=("ncf",), table_scale=0.001, seconds=0.02, candidates=1, ladder=(100, 400, 1024),
        folder=tmp_path / "results",
    )  # fmt: skip
    (found,) = main(asked)
    assert found.oracle >= found.ours > 0
    assert found.ways["static"] == "1 x 1, batch 1000"
    assert len(found.equal) == 2
    document = json.loads((tmp_path / "results" / "deeprecinfra-real.json").read_text())
    assert Found.of(document["figures"]["models"][0]) == found
    for suffix in ("png", "md"):
        assert (tmp_path / "results" / f"deeprecinfra-real.{suffix}").stat().st_size > 100
    monkeypatch.setattr(real, "study", lambda *_: pytest.fail("measured again"))
    assert main(asked) == [found]


def test_a_machine_that_stands_still_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(real, "usable_cores", lambda: [0])
    monkeypatch.setattr(real, "latency_target", lambda *_: 0.05)
    monkeypatch.setattr(real.Machines, "meets", lambda *_: False)
    asked = Real(
        models=("ncf",), table_scale=0.001, seconds=0.02, candidates=2, ladder=(100, 400, 1024),
        folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(TargetError, match=r"missed 50 ms even at a tenth of .* on a quiet machine"):
        main(asked)
    assert not list(tmp_path.glob("*.json"))


def test_settings_that_measure_nothing_are_rejected() -> None:
    with pytest.raises(ValueError, match="attempts=0 must be at least 1"):
        Real(attempts=0)
