"""Directories that appear whole or not at all, and that show every later change.

A directory is written aside under the root it will live in, its files are hashed and forced
to the disk, and one rename makes it visible. What a reader finds under a version's name is
therefore complete, whenever the writer was killed or the power failed.

    root/.publishing          lock: shared while writing, exclusive to clean up after the dead
    root/.publishing-<hex>/   being written, or left by a writer that died
    root/.committing          lock: one version number is given out at a time
    root/00000001/            a version
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from silverjax._pause import Pause, no_pause
from silverjax.snapshot_errors import (
    AlteredFileError,
    DiskFullError,
    ExtraFileError,
    MissingFileError,
    SnapshotError,
    UnknownFormatError,
)

FORMAT_VERSION = 8
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"  # the manifest's own hash, in the format of sha256sum
_ASIDE = ".publishing"
_COMMIT = ".committing"
_VERSION_NAME = re.compile(r"[0-9]{8,}")
_SPARE_BYTES = 2**20  # directory entries, block rounding, the manifest
_PIECE_BYTES = 2**18
_THREADS = 4  # hashing and fsync release the interpreter's lock


def versions(root: Path) -> list[Path]:
    """The versions under `root`, oldest first."""
    if not root.is_dir():
        return []
    named = [p for p in root.iterdir() if is_version_name(p.name) and p.is_dir()]
    return sorted(named, key=lambda p: int(p.name))


def is_version_name(name: str) -> bool:
    return _VERSION_NAME.fullmatch(name) is not None


def write_version(
    root: Path,
    write: Callable[[Path], None],
    *,
    needed: int,
    version: int | None,
    manifest: Mapping[str, Any],
) -> Path:
    """Makes what `write` puts into a directory visible as the next version under `root`.

    Args:
        root: Made if it does not exist; must stay on one file system.
        write: Fills the directory it is given.
        needed: Bytes that `write` will need, roughly.
        version: A number above all present ones; `None` takes the next.
        manifest: Entries for the manifest beside `files`, `version` and `format_version`.
    Raises:
        DiskFullError: Before or while writing. Nothing is left behind.
        SnapshotError: `version` is not above the latest.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _sharing(root):
        _refuse_if_taken(root, version)
        aside = root / f"{_ASIDE}-{secrets.token_hex(8)}"
        try:
            _refuse_if_full(root, needed)
            aside.mkdir()
            write(aside)
            files = _harden(aside)
            with _lock(root / _COMMIT):
                _refuse_if_taken(root, version)
                number = _latest(root) + 1 if version is None else version
                name = f"{number:08d}"
                entries = {"format_version": FORMAT_VERSION, "version": name, **manifest}
                _seal(aside, {**entries, "files": files})
                os.rename(aside, root / name)
        except BaseException as error:
            _remove(aside)
            if is_disk_full(error):
                raise DiskFullError(
                    f"the disk filled up while publishing to {root}: about {needed:,} bytes are "
                    f"needed, {_free(root):,} are free. Nothing was left behind; make room "
                    "(old versions may be deleted) and publish again."
                ) from error
            raise
        _sync(root)
    return root / name


def write_file(path: Path, data: bytes) -> None:
    """Writes a new file; `write_version` forces it to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` says that the disk, or the user's share of it, is full.

    TensorStore, under Orbax, hands the system's error on as text.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT))


def verify(version: Path, *, pause: Pause | None = None) -> dict[str, Any]:
    """Checks every file of a version against its manifest, and returns the manifest.

    Args:
        pause: Called every few hundred microseconds, by who leaves the cores to others; absent,
            several threads hash.
    Raises:
        MissingFileError, AlteredFileError, ExtraFileError: Names the file.
        UnknownFormatError: Written by another format of this library.
    """
    manifest = _read_manifest(version)
    files: dict[str, dict[str, Any]] = manifest["files"]
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
            raise AlteredFileError(version, MANIFEST, f"it lists {name!r}, outside the snapshot")
    present = _walk(version)
    for name in sorted(files.keys() - present.keys()):
        raise MissingFileError(version, name)
    for name in sorted(present.keys() - files.keys() - {MANIFEST, SEAL}):
        raise ExtraFileError(version, name)
    for name, expected in files.items():
        if (size := present[name].stat().st_size) != expected["bytes"]:
            raise AlteredFileError(
                version, name, f"it has {size:,} bytes, not {expected['bytes']:,}"
            )
    with ThreadPoolExecutor(_THREADS) as pool:
        digest = functools.partial(_digest, pause=pause) if pause else _digest
        digests = (map if pause else pool.map)(digest, (version / name for name in files))
        for (name, expected), found in zip(files.items(), digests):
            if found != expected["sha256"]:
                raise AlteredFileError(version, name, "its SHA-256 is not the manifest's")
    return manifest


def _read_manifest(version: Path) -> dict[str, Any]:
    data = {}
    for name in (MANIFEST, SEAL):
        if (version / name).is_symlink():
            raise AlteredFileError(version, name, "it is a symbolic link")
        try:
            data[name] = (version / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise MissingFileError(version, name) from None
    if data[SEAL] != _seal_line(data[MANIFEST]):
        raise AlteredFileError(version, MANIFEST, f"its SHA-256 is not the one in {SEAL}")
    manifest: dict[str, Any] = json.loads(data[MANIFEST])
    if manifest["format_version"] != FORMAT_VERSION:
        raise UnknownFormatError(version, manifest["format_version"], FORMAT_VERSION)
    return manifest


def _walk(top: Path) -> dict[str, Path]:
    """Every file below `top` by its relative name; anything but files is refused."""
    found = {}
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = Path(folder, name)
            relative = path.relative_to(top).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ExtraFileError(version=top, name=relative, kind="link or special file")
            if path.is_file():
                found[relative] = path
    return found


def _harden(top: Path) -> dict[str, dict[str, Any]]:
    """Hashes all files below `top`, forces them to the disk and makes them read-only."""
    paths = dict(sorted(_walk(top).items()))
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(lambda path: _digest(path, sync=True), paths.values()))
    return {
        name: {"bytes": path.stat().st_size, "sha256": digest}
        for (name, path), digest in zip(paths.items(), digests)
    }


def _digest(path: Path, *, sync: bool = False, pause: Pause = no_pause) -> str:
    digest, piece = hashlib.sha256(), memoryview(bytearray(_PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        if sync:
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())
        start = time.thread_time()
        while size := file.readinto(piece):
            digest.update(piece[:size])
            pause(time.thread_time() - start)
            start = time.thread_time()
    return digest.hexdigest()


def _seal(top: Path, manifest: Mapping[str, Any]) -> None:
    data = json.dumps(manifest, indent=1, allow_nan=False).encode()
    write_file(top / MANIFEST, data)
    write_file(top / SEAL, _seal_line(data))
    for name in (MANIFEST, SEAL):
        _digest(top / name, sync=True)
    for folder, _, _ in os.walk(top, topdown=False):
        _sync(Path(folder))


def _seal_line(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _sync(folder: Path) -> None:
    """Forces the names in `folder` to the disk: a rename is durable only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock(path: Path, kind: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Holds a lock that the system lets go when its holder dies, however it dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _sharing(root: Path) -> Iterator[None]:
    """Writes beside other writers; when there are none, first removes what dead ones left."""
    with contextlib.suppress(BlockingIOError), _lock(root / _ASIDE, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for left in root.glob(f"{_ASIDE}-*"):
            _remove(left)
    with _lock(root / _ASIDE, fcntl.LOCK_SH):
        yield


def _remove(folder: Path) -> None:
    for _ in range(3):  # a failed writer's threads may still add a file while we delete
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _latest(root: Path) -> int:
    present = versions(root)
    return int(present[-1].name) if present else 0


def _refuse_if_taken(root: Path, version: int | None) -> None:
    if version is not None and version <= (latest := _latest(root)):
        raise SnapshotError(
            f"version={version} must be above the latest under {root}, {latest}; leave it out "
            "to take the next number"
        )


def _refuse_if_full(root: Path, needed: int) -> None:
    if _free(root) < needed + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))


def _free(root: Path) -> int:
    return shutil.disk_usage(root).free
