"""A short form of the study of a service under load, all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from experiments.serving_pair import two_versions
from experiments.serving_study import Study, headline, measure
from silverjax.snapshot import versions
from tests.serving.versions import publish_version


def test_figures_of_a_short_study_add_up(tmp_path: Path) -> None:
    study = Study(
        publish_version(tmp_path, 1),
        buckets=(1, 8),
        k=5,
        timeout_s=1.0,
        patience_s=20.0,
        seconds=0.3,
        swaps=4,
        swap_every_s=0.2,
        soak_minutes=0.04,
        attempts=1,
    )
    with open(tmp_path / "said", "w") as said:
        figures = asyncio.run(measure(study, Console(file=said)))
    swap, soak = figures["swap"], figures["soak"]
    assert (swap["swaps"], len(swap["memory_mib"])) == (4, 5)
    for load in (swap["steady"], swap["under_swaps"], soak["load"]):
        assert load["sent"] == load["answered"] > 0
        assert (load["lost"], load["mixed"]) == (0, 0)
    assert swap["attempts"] == [1] * len(swap["turns"])
    assert 1 <= len(swap["turns"]) <= 4
    assert [turn["lost"] for turn in swap["turns"]] == [0] * len(swap["turns"])
    assert min(turn["p99_ms"] for turn in swap["turns"]) > 0
    assert swap["steady"]["sent"] == pytest.approx(swap["under_swaps"]["sent"], rel=0.5)
    assert set(swap["under_swaps"]["versions"]) == {"00000001", "00000002"}
    assert figures["overload_goodput_share"] > 0
    assert figures["recompiles"] == 0
    lines = headline("here", figures)
    assert len(lines) == 3
    assert all(line.startswith("service of here") for line in lines)
    assert "0 of " in lines["service of here: 4 swaps at 70 % load"]


def test_two_versions_are_gone_afterwards(tmp_path: Path) -> None:
    with two_versions(publish_version(tmp_path, 1)) as root:
        assert [version.name for version in versions(root)] == ["00000001", "00000002"]
    assert not root.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"swaps": 0}, "swaps=0 must be at least 1"),
        ({"attempts": 0}, "attempts=0 must be at least 1"),
        ({"seconds": float("nan")}, "seconds=nan, soak_minutes=0.0 must be finite"),
        ({"soak_minutes": -1.0}, "soak_minutes=-1.0 must be finite.* 0 or more"),
        ({"swap_every_s": float("nan")}, "swap_every_s=nan must be finite.* 0 or more"),
        ({"swap_every_s": -1.0}, "swap_every_s=-1.0 must be finite.* 0 or more"),
        ({"patience_s": float("inf")}, "patience_s=inf must be finite and above 0"),
        ({"timeout_s": 0.0}, "timeout_s=0.0 must be finite and above 0"),
    ],
)
def test_rejects_bad_settings(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study(**changes)  # type: ignore[arg-type]
