"""The study as a whole on few items, with real processes; and how the processes end."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from experiments.services_study.__main__ import main
from experiments.services_study.services import SERVICES, Services
from experiments.services_study.study import Study

SMALL = Study(items=10_000, batch=8, batches=2, rounds=2, recall=0.6, candidates=64, lists=64)


@pytest.mark.slow
def test_both_sides_answer_alike_and_the_figures_are_written(
    tmp_path: pathlib.Path, weak_promotion: None
) -> None:
    path = main(SMALL, folder=tmp_path)
    assert path.with_suffix(".png").stat().st_size > 10_000
    figures = json.loads(path.read_text())["figures"]
    assert {len(rounds) for rounds in figures["requests_per_second"].values()} == {2}
    assert all(found["recall"] >= 0.6 for found in figures["search"].values())
    # Only candidates whose values are equal in float32 may change places.
    assert figures["agreement"]["same_item_for_same_candidates"] > 0.99
    assert figures["agreement"]["overlap_of_answers"] > 0.7
    assert set(figures["milliseconds_of_a_batch"]["services"]) == set(SERVICES)


def test_rejects_to_go_on_when_a_service_does_not_start(tmp_path: pathlib.Path) -> None:
    services = Services(SMALL, tmp_path)  # an empty folder
    with pytest.raises(RuntimeError, match="the service tower did not start"), services:
        pass
    assert all(process.poll() is not None for process in services.processes)


def test_rejects_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="items=10 must be at least 10000"):
        Study(items=10)
    with pytest.raises(ValueError, match="recall=1.5"):
        Study(recall=1.5)


def test_quick_is_short() -> None:
    assert Study(quick=True).sized().items == 20_000
    assert Study().sized() == Study()


def test_a_process_ends_when_its_input_does() -> None:
    code = "from experiments.services_study.service import serve; serve({})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    process.communicate(timeout=60)
    assert process.returncode == 0
