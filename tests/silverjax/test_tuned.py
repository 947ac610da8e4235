from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from silverjax import _durable
from silverjax.snapshot import load_snapshot, versions
from silverjax.snapshot_errors import SnapshotError
from silverjax.tuned import Tuned, path_of, read_tuned, seal_of, write_tuned
from tests.silverjax.snapshots import CONFIG, publish


def choice(version: Path, probes: int = 3) -> Tuned:
    return Tuned(seal_of(version), probes, 0.97, 0.95, 1.5, 1, bloom_bits=96)


def test_a_choice_is_applied_when_its_snapshot_is_loaded(tmp_path: Path) -> None:
    version = publish(tmp_path)
    plain = load_snapshot(tmp_path)
    assert (plain.tuned, plain.config) == (None, CONFIG)
    assert write_tuned(version, choice(version)) == tmp_path / "00000001.tuned.json"
    loaded = load_snapshot(tmp_path)
    assert loaded.tuned == choice(version)
    search = dataclasses.replace(CONFIG.search, probes=3)
    assert loaded.config == dataclasses.replace(CONFIG, search=search)
    assert versions(tmp_path) == [version]  # a choice is no version
    _durable.verify(version)  # nor does it change one


def test_a_choice_for_another_snapshot_is_not_used(tmp_path: Path) -> None:
    first, second = publish(tmp_path / "a"), publish(tmp_path / "b", info={"seed": 1})
    write_tuned(second, choice(first))
    assert read_tuned(second) is None
    assert load_snapshot(second).config == CONFIG
    assert load_snapshot(publish(tmp_path / "b")).tuned is None


def test_writing_again_replaces_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    write_tuned(version, choice(version, 3))
    write_tuned(version, choice(version, 4))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_tuned(version, choice(version, 5))
    assert read_tuned(version) == choice(version, 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, path_of(version).name])


@pytest.mark.parametrize("text", ["", "[]", '{"probes": 4}', '{"speed": 1}', "\xff"])
def test_rejects_a_file_that_is_no_choice(text: str, tmp_path: Path) -> None:
    version = publish(tmp_path)
    path_of(version).write_text(text, encoding="latin-1")
    with pytest.raises(SnapshotError, match=r"tuned.json is no choice .*; delete it, or tune"):
        load_snapshot(version)


@pytest.mark.parametrize("probes", [0, -1, 2.5, "4"])
def test_rejects_probes_that_are_no_count(probes: object, tmp_path: Path) -> None:
    version = publish(tmp_path)
    text = choice(version)
    path = write_tuned(version, text)
    path.write_text(
        path.read_text().replace('"probes": 3', f'"probes": {probes!r}'.replace("'", '"'))
    )
    with pytest.raises(SnapshotError, match="must be an integer of at least 1"):
        load_snapshot(version)
