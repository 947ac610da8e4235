"""Model, index and catalogue, published and loaded as one version.

A snapshot is an immutable directory that `training` publishes and `serving` loads; they meet
nowhere else. It holds arrays and JSON: no pickles, no code, so loading runs nothing.

    root/00000007/
        manifest.json       format, version, size and SHA-256 of every file below
        manifest.sha256     SHA-256 of the manifest (`sha256sum -c manifest.sha256` checks it)
        config.json         RetrieverConfig
        schema.json         Schema
        arrays.json         structure, static fields, dtypes and shapes of what has arrays
        arrays/             their values: the variables, and the catalogue's features (Orbax)
        catalogue/          ids, titles and readable attributes, one column a file

The latest version is the one with the highest number; a version is visible only once it is
complete (`silverjax._durable`). One process publishes: arrays must be addressable from it.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import silverjax
from silverjax import _durable, _plain
from silverjax._arrays import load_arrays, save_arrays
from silverjax._columns import checked_columns, read_column
from silverjax._pause import Pause, no_pause
from silverjax.catalogue import Catalogue
from silverjax.config import RetrieverConfig
from silverjax.schema import Schema
from silverjax.snapshot_errors import NoSnapshotError, SnapshotError
from silverjax.tuned import Tuned, read_tuned

_ARRAYS = "arrays"
_COLUMNS = ("item_ids", "titles", "user_ids", "attributes", "seen")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One version of everything that answers need.

    Attributes:
        version: Its name, such as "00000007"; every answer carries it.
        path: Where it was loaded from.
        variables: `{"params": ..., "index": {"items": ItemIndex}}`, as published.
        config: Settings of the model; `probes` as tuned, where that was done.
        schema: Features and tasks.
        catalogue: Ids, titles, attributes and encoded features by row, on the host (NumPy).
        manifest: The verified manifest; what the publisher added is under "info".
        tuned: What `silverjax tune` chose for this version, if it did.
    """

    version: str
    path: Path
    variables: dict[str, Any]
    config: RetrieverConfig
    schema: Schema
    catalogue: Catalogue
    manifest: dict[str, Any]
    tuned: Tuned | None = None


def publish(
    root: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any],
    config: RetrieverConfig,
    schema: Schema,
    catalogue: Catalogue,
    version: int | None = None,
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Publishes one version under `root`, whole or not at all, and returns its directory.

    Several processes may publish to one root; none sees or harms what another writes.

    Args:
        root: Directory of all versions; made if it does not exist.
        variables: Nested mappings of arrays and `ItemIndex`.
        version: A number above the latest; `None` takes the next.
        info: Anything JSON can hold, for the manifest: metrics, commit, data set.
    Raises:
        DiskFullError: There is no room; nothing is left behind.
        SnapshotError: `version` is not above the latest.
        ValueError: Something in `variables` would not come back exactly, or the columns of the
            catalogue do not fit one another.
    """
    columns = checked_columns(catalogue)
    structure, arrays = {}, {}
    encoded = {"items": catalogue.items, "users": catalogue.users}
    for name, tree in {"variables": variables, "catalogue": encoded}.items():
        structure[name], arrays[name] = _plain.split(tree, name)
    texts = {
        "config.json": _json(dataclasses.asdict(config)),
        "schema.json": schema.to_json().encode(),
        "arrays.json": _json(structure),
        **{f"catalogue/{name}.json": _json(column) for name, column in columns.items()},
    }
    values = jax.tree.leaves(arrays)

    def write(folder: Path) -> None:
        for name, data in texts.items():
            _durable.write_file(folder / name, data)
        if values:
            save_arrays(folder / _ARRAYS, {name: a for name, a in arrays.items() if a})

    return _durable.write_version(
        Path(root),
        write,
        needed=sum(map(len, texts.values())) + sum(value.nbytes for value in values),
        version=version,
        manifest={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "software": {"silverjax": silverjax.__version__, **_versions_of("jax", "flax")},
            "info": dict(info or {}),
        },
    )


def load_snapshot(
    path: str | os.PathLike[str],
    *,
    like: Snapshot | None = None,
    pause: Pause | None = None,
) -> Snapshot:
    """Loads one version, given its directory, or the latest of a root. Every file is verified.

    What `silverjax tune` chose for the version is applied to its settings. Variables come back
    bit for bit, with their dtypes, shapes and static fields, as JAX arrays on the default device.

    Args:
        like: A version that is in memory. Columns of the catalogue whose files have the same
            SHA-256 are shared with it, and the tables of ids with them.
        pause: Called every few hundred microseconds, for who answers requests meanwhile.

    Raises:
        NoSnapshotError: Nothing was published there.
        MissingFileError, AlteredFileError, ExtraFileError: Names the file.
        UnknownFormatError: Written by another version of this library.
        SnapshotError: Published with settings that this version does not know.
    """
    folder = _resolve(Path(path))
    step = pause or no_pause

    def read(name: str) -> Any:
        return json.loads((folder / name).read_bytes())

    def column(name: str) -> Any:
        file = f"catalogue/{name}.json"
        if like is not None and like.manifest["files"][file] == manifest["files"][file]:
            return getattr(like.catalogue, name)
        return read_column(name, folder / file, pause=pause)

    def on_device(array: np.ndarray) -> jax.Array:
        step()
        return jax.device_put(array, may_alias=True)

    try:
        manifest = _durable.verify(folder, pause=pause)
        tuned = read_tuned(folder)
        structure = read("arrays.json")
        arrays = load_arrays(folder / _ARRAYS, pause=step)
        columns = {name: column(name) for name in _COLUMNS}
        encoded = _plain.join(structure["catalogue"], arrays.get("catalogue", {}), leaf=np.asarray)
        catalogue = Catalogue(**columns, **encoded)
        if like is not None:
            catalogue.tabulate(like.catalogue, pause=step)
        return Snapshot(
            version=manifest["version"],
            path=folder,
            variables=_plain.join(
                structure["variables"], arrays.get("variables", {}), leaf=on_device
            ),
            config=_as_tuned(_plain.config_from_json(RetrieverConfig, read("config.json")), tuned),
            schema=Schema.from_json((folder / "schema.json").read_text()),
            catalogue=catalogue,
            manifest=manifest,
            tuned=tuned,
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"this version of silverjax cannot use {folder}: {error}. "
            "Install the version that published it, or publish again."
        ) from error


def versions(root: str | os.PathLike[str]) -> list[Path]:
    """Directories of the versions under `root`, oldest first; none where nothing was published."""
    return _durable.versions(Path(root))


def _as_tuned(config: RetrieverConfig, tuned: Tuned | None) -> RetrieverConfig:
    if tuned is None:
        return config
    search = dataclasses.replace(config.search, probes=tuned.probes)
    return dataclasses.replace(config, search=search)


def _resolve(path: Path) -> Path:
    """The version's own directory: `path`, or the latest under it."""
    if not path.is_dir():
        raise NoSnapshotError(
            f"no snapshot at {path}: there is no such directory. Name one that "
            "silverjax.publish published to, or a version inside it."
        )
    if _durable.is_version_name(path.name) or (path / _durable.MANIFEST).exists():
        return path
    if not (found := _durable.versions(path)):
        raise NoSnapshotError(
            f"no snapshot at {path}: the directory holds no version. Publish one with "
            "silverjax.publish."
        )
    return found[-1]


def _versions_of(*packages: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}


def _json(value: Any) -> bytes:
    """One value a line where it is a column, so that people and line tools can read it."""
    return json.dumps(value, separators=(",\n", ": "), allow_nan=False).encode()
