from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import subprocess

import numpy as np
import pytest
from rich.console import Console

from experiments import results
from silverjax.metrics import Estimate
from silverjax.replace_file import replace_text


def test_write_result_says_where_figures_come_from(tmp_path: pathlib.Path) -> None:
    path = results.write_result(
        tmp_path / "a" / "b.json", study="experiments.quality", settings={"seeds": 5},
        figures={"recall@20": Estimate(0.25, math.inf, 1), "n": np.int32(3), "row": np.arange(2)},
    )  # fmt: skip
    document = json.loads(path.read_text())
    assert document["figures"] == {
        "recall@20": {"mean": 0.25, "half_width": None, "values": 1}, "n": 3, "row": [0, 1],
    }  # fmt: skip
    assert document["versions"]["jax"]
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["devices"]
    assert document["date"].endswith("+00:00")
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_a_write_that_fails_leaves_the_old_result(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        results.write_result(path, study="s", settings={}, figures={"what": object()})
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_commit_marks_changes(tmp_path: pathlib.Path) -> None:
    assert results.commit(tmp_path) is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    clean = results.commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert results.commit(tmp_path) == clean + "+changes"


def test_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/a/b/quality.py", "--dataset", "/home/me/movies", "--core", "5"]
    )
    monkeypatch.setattr("sys.modules", {**__import__("sys").modules, "__main__": None})
    command = results.provenance()["command"]
    assert command == "python quality.py --dataset movies --core 5"


def test_cache_gives_back_only_what_has_the_fingerprint(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cache.json"
    results.Cache(path).put("als 0", "f1", {"recall@20": np.float32(0.5)})
    again = results.Cache(path)
    assert again.get("als 0", "f1") == {"recall@20": 0.5}
    assert again.get("als 0", "f2") is None
    assert again.get("als 1", "f1") is None
    assert results.Cache(path, fresh=True).get("als 0", "f1") is None
    path.write_text('{"als 0": ')
    with pytest.raises(ValueError, match="no cache of results .*; delete it"):
        results.Cache(path)


@dataclasses.dataclass(frozen=True)
class _Settings:
    rate: float = 0.1


def test_fingerprint_changes_with_data_settings_and_source(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    data = np.arange(4)
    parts = [tmp_path, data, _Settings(), {"b": 1, "a": 2}]
    base = results.fingerprint(*parts)
    assert results.fingerprint(tmp_path, data.copy(), _Settings(), {"a": 2, "b": 1}) == base
    changed = [
        results.fingerprint(tmp_path, data + 1, *parts[2:]),
        results.fingerprint(tmp_path, data.reshape(2, 2), *parts[2:]),
        results.fingerprint(tmp_path, data, _Settings(0.2), parts[3]),
    ]
    source.write_text("x = 2\n")
    changed.append(results.fingerprint(*parts))
    assert len({base, *changed}) == 5


def test_the_file_of_a_study_is_named_after_it_and_holds_no_folders(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Study:
        snapshots: pathlib.Path = pathlib.Path("/somewhere/snapshots")

    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with open(tmp_path / "said", "w") as said:
        results.report_result("experiments.a_b", Study(), [1], console=Console(file=said))
        results.report_result("experiments.a_b", Study(), [], console=Console(file=said), of="c")
    document = json.loads((tmp_path / "a-b.json").read_text())
    assert (document["study"], document["figures"]) == ("experiments.a_b", [1])
    assert document["settings"] == {"snapshots": "snapshots"}
    assert "a-b.json" in (tmp_path / "said").read_text().replace("\n", "")
    assert (tmp_path / "a-b-c.json").exists()
