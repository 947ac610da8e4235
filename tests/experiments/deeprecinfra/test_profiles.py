from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import pytest

from experiments.deeprecinfra.model_config import MODELS
from experiments.deeprecinfra.profile import sample
from experiments.deeprecinfra.profiles import Profile, load, save
from experiments.deeprecinfra.published import published_machine

PROFILE = Profile(
    "ncf", "core", "measured", "here", (10, 100, 1000), (1.0, 2.0, 12.0), 0.1, (1, 4), (1.0, 1.6)
)


def changed(**fields: object) -> Profile:
    return dataclasses.replace(PROFILE, **fields)  # type: ignore[arg-type]


def test_lines_between_the_sizes_and_beyond_them() -> None:
    at = PROFILE.by_rows()
    assert len(at) == 1025
    np.testing.assert_allclose(at[[10, 55, 100, 550, 1000]], [1.0, 1.5, 2.0, 7.0, 12.0])
    np.testing.assert_allclose(at[[1, 1024]], [1 - 9 / 90, 12 + 24 / 90])
    assert changed(seconds=(1.0, 91.0, 92.0)).by_rows()[1] == 0.5  # not below half


def test_padded_batches_take_as_long_as_the_next_program() -> None:
    at = changed(batches=(10, 100, 1024), padded=True).by_rows(4)
    np.testing.assert_allclose(
        at[[0, 1, 10, 11, 100, 101, 1024]], [1.6] * 3 + [3.2] * 2 + [19.2] * 2
    )
    with pytest.raises(ValueError, match="is padded and has no program of 1024 rows"):
        changed(padded=True)


def test_more_workers_are_slower_each() -> None:
    np.testing.assert_allclose(PROFILE.by_rows(2), 1.2 * PROFILE.by_rows(1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seconds": (1.0, 0.0, 2.0)}, "0.0 s for a batch of 100; it must be positive"),
        ({"seconds": (1.0, float("nan"), 2.0)}, "nan s for a batch of 100"),
        ({"seconds": (1.0, 2.0)}, "has 2 times for batches=.10, 100, 1000."),
        ({"batches": (10, 1000, 100)}, "must ascend from 1 or more"),
        ({"batches": (10, 100, 512)}, "lacks batch sizes.*to 1000 or more; measure the rest"),
        ({"batches": (64, 100, 1000)}, "lacks batch sizes.*reach from 16 or less"),
        ({"kind": "guessed"}, "'guessed' .*published, derived, measured"),
        ({"source": ""}, "names no source"),
        ({"slowdown": (1.0, -1.0)}, "slowdown"),
    ],
)
def test_a_profile_that_cannot_be_is_rejected(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(**fields)


def test_a_file_holds_the_profiles_and_where_they_are_from(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "found" / "profiles.json"
    save(path, [PROFILE, changed(model="wnd")])
    assert load(path) == {"ncf": PROFILE, "wnd": changed(model="wnd")}
    assert {"machine", "versions", "commit"} <= set(json.loads(path.read_text()))


def test_a_file_that_is_none_is_rejected(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "profiles.json"
    with pytest.raises(FileNotFoundError, match="measure them: python -m"):
        load(path)
    path.write_text('{"profiles": [{"model": "ncf"}]}')
    with pytest.raises(ValueError, match="holds no profiles.*measure them again"):
        load(path)


@pytest.mark.parametrize("model", MODELS)
def test_published_devices_have_a_source_and_plausible_times(model: str) -> None:
    machine = published_machine(model, "skylake", "1080ti")
    older = published_machine(model, "broadwell")
    assert machine.accelerator is not None
    assert (machine.cores, older.cores) == (40, 28)
    for profile in (machine.cpu, machine.accelerator, older.cpu):
        assert profile.source
        assert profile.kind in ("published", "derived")
    ratio = older.cpu.by_rows() / machine.cpu.by_rows()
    assert (ratio >= 1).all()
    assert (ratio <= 1.67).all()  # no more than the ratio of peak speeds
    # At the sizes of the plot the accelerator is as much faster as the plot says.
    ncf = published_machine("ncf", "skylake", "1080ti")
    assert ncf.accelerator is not None
    at = [1, 256, 1024]
    got = ncf.cpu.by_rows()[at] / ncf.accelerator.by_rows()[at]
    np.testing.assert_allclose(got, [0.25, 1.7, 2.9])


def test_devices_and_times_that_are_not_published_are_rejected() -> None:
    with pytest.raises(ValueError, match="no times of 'din' on a T4 are published; use ncf"):
        published_machine("din", accelerator="t4")
    with pytest.raises(ValueError, match="cpu='epyc' has no profile; there are skylake"):
        published_machine("din", "epyc")
    with pytest.raises(ValueError, match="model 'bert' has no profile"):
        published_machine("bert")


def test_a_sample_leaves_out_the_first_call() -> None:
    now = itertools.count()
    took = iter([100, *[3] * 50])

    def call() -> None:
        for _ in range(next(took)):
            next(now)

    times = sample(call, seconds=20.0, clock=lambda: float(next(now)))
    assert set(times) == {4.0}
    assert len(times) >= 5
