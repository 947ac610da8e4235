"""The GPU benchmark: its bytes and its verdicts, and a small run on this machine."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import gpu_bench
from experiments.gpu_bench import Row, add_speedup_of_filters
from experiments.gpu_cases import Case, bloom_case, search_case
from pallas_kernels.bloom_probe import arg_specs as bloom_specs
from pallas_kernels.dispatch import Backend, Op
from pallas_kernels.int8_search import arg_specs as int8_specs

SEARCH = int8_specs.Spec(clusters=3, slots=64, dim=32, queries=2, probes=3, k=5)


def test_bytes_are_those_that_someone_wants() -> None:
    assert search_case(SEARCH, 1.0).bytes == 3 * 64 * (32 + 4) + 2 * 3 * 2 * 4
    half = search_case(SEARCH, 0.5)  # of two queries, one at least wants three slots in four
    assert half.bytes == 3 * 64 * (32 + 4) * 3 // 4 + 2 * 3 * 2 * 4
    bits = np.unpackbits(np.asarray(half.args[5]).view(np.uint8))
    assert 0.3 < bits.mean() < 0.7


def test_bloom_queries_share_no_row_but_that_of_the_living() -> None:
    spec = bloom_specs.Spec(3, 40, 2, queries=3, probes=None, leaves=4, terms=3, tokens=8)
    case = bloom_case(spec)
    rows = np.asarray(case.args[1].rows)
    assert len(np.unique(rows)) == rows.size == 36
    assert rows.min() == 1
    assert case.bytes == (1 + 36 + 3) * 3 * 2 * 4


def test_share_and_ratio_are_held_against_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times made up: 2 ms for the reference, 0.5 ms for a right and a wrong backend."""
    answers = {"reference": 1, "right": 1, "wrong": 2}

    def load(self: Backend) -> Any:
        if self.name == "odd":
            raise NotImplementedError("no odd calls")
        return type("Module", (), {"op": staticmethod(lambda x: x + jnp.int32(answers[self.name]))})

    monkeypatch.setattr(Backend, "load", load)
    monkeypatch.setattr(Backend, "why_not", lambda self, _: "no" if self.name == "never" else None)
    times = {"reference": 0.002, "right": 0.0005, "wrong": 0.0005}
    monkeypatch.setattr(gpu_bench, "timed", lambda runs: {name: times[name] for name in runs})
    op = Op("op", tuple(Backend(name, "") for name in (*answers, "never")))
    case = Case("a call", op, (jnp.int32(3),), {}, bytes=700_000, share=0.7)
    rows = {
        row.backend: row
        for row in gpu_bench.measure(case, copy=2e9, platform="cpu", interpret=False)
    }
    assert (rows["right"].correct, rows["wrong"].correct, rows["never"].correct) == (
        True,
        False,
        None,
    )
    assert rows["never"].note == "no"
    assert rows["right"].against_reference == pytest.approx(4)
    assert rows["right"].share_of_copy == pytest.approx(0.7)
    assert rows["right"].bar == "met: 70% of copy"
    strict = dataclasses.replace(case, share=None, speedup=4.5)
    row = gpu_bench.measure(strict, copy=2e9, platform="cpu", interpret=False)[1]
    assert row.bar == "below: 4.5x reference"


def test_filters_are_compared_with_no_filters() -> None:
    rows = [
        Row("s, batch 1, 100% admitted", "b", 1.0),
        Row("s, batch 1, 10% admitted", "b", 0.25),
        Row("s, batch 1, 10% admitted", "c", 0.25),
    ]
    add_speedup_of_filters(rows)
    assert [row.bar for row in rows] == ["", "met: 3x all admitted", ""]
    assert rows[1].note == "4.00x as fast as 100 %"


def test_quick_run_measures_and_checks_every_backend(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_bench, "_TURN", 0.0)
    assert gpu_bench.main(["--quick", "--folder", str(tmp_path), "--commit", "abc"]) == 0
    (path,) = tmp_path.iterdir()
    document = json.loads(path.read_text())
    rows = document["figures"]["rows"]
    assert {"reference", "pallas_triton"} <= {row["backend"] for row in rows if row["correct"]}
    assert all(row["milliseconds"] > 0 for row in rows if row["correct"])
    assert document["machine"]["devices"]
    assert document["settings"]["commit"] == "abc"
    assert "pallas_triton" in capsys.readouterr().out


def test_without_a_gpu_it_asks_for_quick(capsys: pytest.CaptureFixture[str]) -> None:
    if gpu_bench.jax.devices()[0].platform != "cpu":
        pytest.skip("there is a GPU here")
    with pytest.raises(SystemExit):
        gpu_bench.main([])
    assert "add --quick" in capsys.readouterr().err


def test_what_does_not_fit_in_the_time_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_bench, "copy_bandwidth", lambda size: 1e9)
    assert gpu_bench.main(["--quick", "--seconds", "-1", "--folder", str(tmp_path)]) == 0
    assert "skipped: out of time" in capsys.readouterr().out
