"""Results as JSON files that say which code made them, where, when and how."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from rich.console import Console

from experiments.awake import spinning
from silverjax.machine import machine, versions
from silverjax.replace_file import replace_text

FOLDER = pathlib.Path(__file__).parent / "results"
_ROOT = pathlib.Path(__file__).parents[1]
_LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "implicit",
    "faiss-cpu",
    "hnswlib",
    "pyroaring",
)


def provenance(*, command: Iterable[str] | None = None) -> dict[str, Any]:
    """Date, command, commit, machine and versions, for the head of a result.

    Args:
        command: Arguments of the program; absent, those of this process.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(_command() if command is None else command),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(_LIBRARIES),
    }


def commit(root: pathlib.Path = _ROOT) -> str | None:
    """Hash of the commit, with `+changes` where the working tree differs; None outside git."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if changed else "")


def write_result(
    path: pathlib.Path,
    *,
    study: str,
    settings: Mapping[str, Any],
    figures: Any,
    headline: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Writes one result with its provenance; the old file stays until the new one is whole.

    Args:
        study: The module that made it, such as `experiments.quality`.
        settings: What was asked for.
        figures: What was found; dataclasses, paths and NumPy values are turned into JSON.
        headline: The same for people who read one table: what was measured, and how much it is.
    """
    document = {"study": study, **provenance(), "settings": settings}
    document |= {"headline": headline or {}, "figures": figures}
    replace_text(path, json.dumps(plain(document), indent=1, allow_nan=False) + "\n")
    return path


def report_result(
    module: str,
    study: Any,
    figures: Any,
    *,
    console: Console,
    headline: Mapping[str, str] | None = None,
    of: str = "",
) -> None:
    """Writes the result of a study, and says where it lies.

    Args:
        module: The study's, such as `experiments.serving_host`; names the file too.
        study: Its settings, a dataclass.
        figures: What was found.
        console: To say it on.
        headline: See `write_result`.
        of: What was studied, where that is more than one thing; ends the file's name.
    """
    name = "-".join(filter(None, (module.rpartition(".")[2].replace("_", "-"), of)))
    path = write_result(
        FOLDER / f"{name}.json",
        study=module,
        settings=dataclasses.asdict(study),
        figures=figures,
        headline=headline,
    )
    console.print(f"written to {path}")


def plain(value: Any) -> Any:
    """The JSON form of a value; what is not finite becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, pathlib.Path):
        return value.name
    return value


class Cache:
    """Finished pieces of a long study, so that a run which was killed goes on where it stopped.

    A piece is found again only under the same fingerprint, which should cover everything it
    depends on: data, settings and source code.
    """

    def __init__(self, path: pathlib.Path, *, fresh: bool = False) -> None:
        self._path = path
        self._pieces: dict[str, Any] = {}
        if not fresh and path.exists():
            try:
                self._pieces = json.loads(path.read_text())
            except ValueError as error:
                raise ValueError(f"{path} is no cache of results ({error}); delete it") from error

    def get(self, name: str, fingerprint: str) -> Any | None:
        """The piece, or None if there is none of this fingerprint."""
        piece = self._pieces.get(name)
        return piece["value"] if piece and piece["fingerprint"] == fingerprint else None

    def put(self, name: str, fingerprint: str, value: Any) -> None:
        """Keeps a piece, and writes all pieces to the file."""
        self._pieces[name] = {"fingerprint": fingerprint, "value": plain(value)}
        replace_text(self._path, json.dumps(self._pieces, indent=1) + "\n")


def fingerprint(*parts: Any) -> str:
    """A hash of plain values, dataclasses, arrays and source files (paths: their contents)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            files = sorted(part.rglob("*.py")) if part.is_dir() else [part]
            for file in files:
                digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        elif isinstance(part, np.ndarray):
            digest.update(
                f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes()
            )
        else:
            digest.update(json.dumps(plain(part), sort_keys=True, default=str).encode() + b"\0")
    return digest.hexdigest()[:16]


def _command() -> list[str]:
    """How this process was started, with `-m module` where that is known; no folder names."""
    awake = ["python", "-m", "experiments.awake"] if spinning() else []
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is None:
        return [*awake, "python", pathlib.Path(sys.argv[0]).name, *_bare(sys.argv[1:])]
    module = main.name.removesuffix(".__main__")
    return [*awake, "python", "-m", module, *_bare(sys.argv[1:])]


def _bare(arguments: list[str]) -> list[str]:
    """Arguments without the folders of this machine, which mean nothing on another."""
    return [pathlib.Path(a).name if a.startswith(("/", "~")) else a for a in arguments]


def _git(root: pathlib.Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
