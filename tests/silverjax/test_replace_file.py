"""A file is the old one or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from silverjax.replace_file import replace_text


def test_replaces_whole_and_leaves_nothing_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "a.json"
    replace_text(path, "old")
    assert path.stat().st_mode & 0o777 == 0o644

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_text(path, "new")
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]
    assert path.read_text() == "old"
