"""A version is whole or absent, and shows every change made to it later."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import silverjax
from silverjax import _durable, snapshot
from silverjax.snapshot_errors import (
    AlteredFileError,
    DiskFullError,
    ExtraFileError,
    MissingFileError,
    SnapshotError,
    UnknownFormatError,
)
from tests.silverjax.snapshots import files_of, overwrite, publish, reseal


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot that no test may change."""
    return publish(tmp_path_factory.mktemp("published"))


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """A snapshot to damage."""
    path = tmp_path / "root" / published.name
    shutil.copytree(published, path)
    return path


@hypothesis.given(data=st.data())
def test_any_flipped_bit_is_refused(
    published: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(files_of(published)))
    content = bytearray((published / name).read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    version = tmp_path_factory.mktemp("flipped") / published.name
    shutil.copytree(published, version)
    overwrite(version / name, bytes(content))
    with pytest.raises(AlteredFileError) as caught:
        silverjax.load_snapshot(version)
    blamed = "manifest.json" if name == "manifest.sha256" else name
    assert str(version / blamed) in str(caught.value)
    shutil.rmtree(version.parent)


@hypothesis.given(data=st.data())
def test_any_cut_or_grown_file_is_refused(
    published: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(files_of(published)))
    content = (published / name).read_bytes()
    length = data.draw(st.integers(0, 2 * len(content)).filter(lambda n: n != len(content)))
    version = tmp_path_factory.mktemp("cut") / published.name
    shutil.copytree(published, version)
    overwrite(version / name, (content * 2)[:length])
    with pytest.raises(AlteredFileError, match="was altered"):
        silverjax.load_snapshot(version)
    shutil.rmtree(version.parent)


def test_every_missing_file_is_named(copy: Path) -> None:
    for name in files_of(copy):
        content = (copy / name).read_bytes()
        (copy / name).unlink()
        with pytest.raises(MissingFileError) as caught:
            silverjax.load_snapshot(copy)
        assert str(copy / name) in str(caught.value)
        (copy / name).write_bytes(content)
    silverjax.load_snapshot(copy)  # each file was put back: the copy is whole


@pytest.mark.parametrize("name", ["evil.py", "arrays/d/0", "catalogue/.DS_Store", "new/file"])
def test_extra_file_is_named(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_bytes(b"")
    with pytest.raises(ExtraFileError) as caught:
        silverjax.load_snapshot(copy)
    assert str(copy / name) in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "catalogue"])
def test_symbolic_link_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SnapshotError, match="link"):
        silverjax.load_snapshot(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "./config.json"])
def test_manifest_that_leaves_the_snapshot_is_refused(copy: Path, name: str) -> None:
    manifest = json.loads((copy / "manifest.json").read_bytes())
    reseal(copy, files=manifest["files"] | {name: {"bytes": 0, "sha256": ""}})
    with pytest.raises(AlteredFileError, match="outside the snapshot"):
        silverjax.load_snapshot(copy)


def test_unknown_format_is_refused(copy: Path) -> None:
    reseal(copy, format_version=2)
    with pytest.raises(UnknownFormatError, match=f"format 2; .* reads {_durable.FORMAT_VERSION}"):
        silverjax.load_snapshot(copy)


def test_too_little_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_durable, "_free", lambda root: 12_345)
    monkeypatch.setattr(_durable, "write_file", lambda *_: pytest.fail("wrote"))
    with pytest.raises(DiskFullError, match="bytes are needed, 12,345 are free"):
        publish(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("silverjax._durable.write_file", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        ("silverjax._durable.os.fsync", OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))),
        ("silverjax._durable._seal", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        ("silverjax.snapshot.save_arrays", ValueError("[OS error 28: No space left on device]")),
    ],
)
def test_disk_that_fills_up_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    first = publish(tmp_path, variables={})

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        with pytest.raises(DiskFullError, match="filled up while publishing .* make room"):
            publish(tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [first]
    assert silverjax.load_snapshot(tmp_path).path == first


def test_any_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_durable, "_seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_publishers_at_once_do_not_clobber_one_another(tmp_path: Path) -> None:
    def one(number: int) -> tuple[str, int]:
        path = publish(tmp_path, variables={"n": np.asarray(number, np.int32)})
        return path.name, number

    with ThreadPoolExecutor(4) as pool:
        wrote = dict(pool.map(one, range(8)))
    assert sorted(wrote) == [f"{n:08d}" for n in range(1, 9)]
    for name, number in wrote.items():
        assert int(silverjax.load_snapshot(tmp_path / name).variables["n"]) == number


@pytest.mark.parametrize("moment", ["silverjax._durable._harden", "silverjax._durable.os.rename"])
def test_killed_publisher_leaves_no_version(tmp_path: Path, moment: str) -> None:
    first = publish(tmp_path, variables={})
    script = f"""
        import sys, time
        from pathlib import Path
        import pytest
        from tests.silverjax import snapshots as t
        def stop(*_):
            print("reached", flush=True)
            time.sleep(600)
        pytest.MonkeyPatch().setattr({moment!r}, stop)
        t.publish(Path({str(tmp_path)!r}))
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"reached\n"
        # While the publisher lives, others leave alone what it writes.
        publish(tmp_path, variables={})
        assert len(list(tmp_path.glob(".publishing-*"))) == 1
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert silverjax.load_snapshot(tmp_path).version == "00000002"
    assert len(list(tmp_path.glob(".publishing-*"))) == 1
    publish(tmp_path, variables={})
    assert not list(tmp_path.glob(".publishing-*"))
    assert [path.name for path in snapshot.versions(tmp_path)] == [
        first.name,
        "00000002",
        "00000003",
    ]
