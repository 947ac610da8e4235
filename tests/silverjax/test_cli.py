"""The command line as a person uses it, on a small synthetic data set."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from matplotlib import image

from silverjax.cli import COMMANDS, main
from silverjax.snapshot import load_snapshot

pytestmark = pytest.mark.usefixtures("weak_promotion")


def make_data(folder: Path) -> Path:
    """A data set in MovieLens' `::` format: two tastes, and films that fit one of them."""
    folder.mkdir()
    films = [
        f"{n}::Film {n} ({1990 + n % 10})::{'Comedy' if n % 2 else 'Drama'}" for n in range(60)
    ]
    (folder / "movies.dat").write_text("\n".join(films) + "\n")
    rows = [
        f"{user}::{(2 * n + user) % 60}::{3 + (n + user) % 3}::{1_000_000 + 100 * n + user}"
        for user in range(1, 41)
        for n in range(12)
    ]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a finished run and a published snapshot."""
    folder = tmp_path_factory.mktemp("work")
    data = make_data(folder / "data")
    run, snapshots = str(folder / "run"), str(folder / "snapshots")
    with jax.numpy_dtype_promotion("standard"):  # optax adds its step count to floats
        assert main(["train", str(data), "--run", run, "--steps", "4"]) == 0
        assert main(["index", "--run", run, "--snapshots", snapshots]) == 0
    return folder


def test_data_describes_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(make_data(tmp_path / "data"))]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"interactions .* 480", shown)
    assert "genre:comedy (30)" in shown


def test_recommend_prints_titles_that_pass_the_filter(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = str(work / "snapshots")
    assert main(["recommend", snapshots, "--user", "7", "--where", "genre:comedy", "--k", "3"]) == 0
    shown = capsys.readouterr().out
    titles = [int(number) for number in re.findall(r"^ *\d+ +Film (\d+)", shown, re.MULTILINE)]
    assert len(titles) == 3
    assert all(number % 2 for number in titles)
    assert "60 live" in shown


def test_evaluate_compares_with_popularity(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--run", str(work / "run"), "--snapshots", str(work / "snapshots")]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for row in ("popularity", "two towers", "full pipeline", "all clusters, rescored"):
        assert row in shown


def test_train_again_with_other_settings_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(work / "data"), "--run", str(work / "run"), "--steps", "5"]
    assert main(arguments) == 2
    assert "holds a run of other settings (steps: 4 there, 5 now)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "nowhere"], "no snapshot at nowhere"),
        (["serve", "nowhere", "--mode", "fixed"], "no snapshot at nowhere"),
        (["serve", "--host", "0.0.0.0"], "--api-key-file FILE, or --insecure"),
        (["serve", "--target-p99-ms", "0"], "target_s=0.0 must be a positive number"),
        (["tune-serving", "nowhere"], "no snapshot at nowhere"),
        (["tune-serving", "--requests", "5"], "requests=5 must be at least 100"),
        (["index", "--run", "nowhere"], "holds no run; make one with: silverjax train"),
        (["data", "no-such-data"], "neither a known data set"),
        (["train", "synthetic", "--split", "random"], "split='random' must be one of"),
    ],
)
def test_rejects_bad_input_with_one_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "silverjax.cli", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (COMMANDS[command].__doc__ or "").splitlines()[0] in done.stdout


def test_serve_rejects_an_installation_without_its_libraries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "serving.launch", raising=False)
    assert main(["serve", "snapshots"]) == 2
    assert "pip install 'silverjax[serve]'" in capsys.readouterr().err


def test_tune_writes_a_choice_that_recommend_uses(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots = tmp_path / "snapshots"
    shutil.copytree(work / "snapshots", snapshots)
    arguments = ["tune", str(snapshots), "--recall", "0.9", "--queries", "16"]
    assert main([*arguments, "--latency-ms", "0.000001"]) == 2
    assert "over the limit of 1e-06 ms; even the fewest clusters" in capsys.readouterr().err
    assert [path.name for path in snapshots.glob("*.tuned.*")] == []
    assert main([*arguments, "--memory-mib", "100"]) == 0
    shown = capsys.readouterr().out
    assert "recall@" in shown
    assert "false positives per" in shown
    chosen = load_snapshot(snapshots).tuned
    assert chosen is not None
    assert chosen.recall >= 0.9 == chosen.recall_target
    assert image.imread(snapshots / "00000001.tuned.png").size > 10_000
    assert main(["recommend", str(snapshots), "--k", "2"]) == 0
