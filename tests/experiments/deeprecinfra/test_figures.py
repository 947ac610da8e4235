from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from experiments.deeprecinfra.figures import Figures, accelerators, crossover, main, size_figures
from experiments.deeprecinfra.profiles import save
from experiments.deeprecinfra.published import published_machine
from tests.experiments.deeprecinfra.test_profiles import PROFILE


def test_the_crossover_is_the_first_batch_that_is_sooner() -> None:
    chip = dataclasses.replace(PROFILE, seconds=(1.5, 1.5, 1.5))
    assert crossover(PROFILE, chip) == 56  # 1.5 s at 55 items, as the accelerator
    assert crossover(PROFILE, dataclasses.replace(PROFILE, seconds=(20.0, 20.0, 20.0))) is None


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [("rmc3", 1, 4), ("rmc2", 4, 17), ("wnd", 16, 64), ("din", 250, 400)],
)
def test_crossovers_are_those_of_the_published_plot(model: str, least: int, most: int) -> None:
    machine = published_machine(model, accelerator="1080ti")
    assert machine.accelerator is not None
    found = crossover(machine.cpu, machine.accelerator)
    assert found is not None
    assert least <= found <= most


def test_sizes_are_those_of_the_publications() -> None:
    mlperf = size_figures("mlperf", 1)
    assert mlperf["mean"] == pytest.approx(270, rel=0.01)
    assert mlperf["items in the largest quarter"] == pytest.approx(0.46, abs=0.015)
    assert size_figures("kairos", 1)["items in the largest quarter"] == pytest.approx(
        0.52, abs=0.015
    )


def test_measured_accelerators_are_compared_with_published_cores(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "gpu.json", [PROFILE])
    ((core, chip),) = accelerators(Figures(profiles=tmp_path / "gpu.json")).values()
    assert (core.device, chip) == ("Skylake-like core", PROFILE)


def test_a_run_writes_its_files(tmp_path: pathlib.Path) -> None:
    main(Figures(model="rmc2", folder=tmp_path))
    document = json.loads((tmp_path / "deeprecinfra-figures.json").read_text())
    ours = document["figures"]["trace"]["ours"]
    spent = [one for one, _ in ours["measurements"]]
    assert spent == sorted(set(spent))
    assert ours["carries"] > 0
    assert (tmp_path / "deeprecinfra-figures.png").stat().st_size > 1000
