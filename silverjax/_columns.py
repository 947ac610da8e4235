"""The readable part of a catalogue as JSON files, one column each: checked, and read in pieces.

`json.loads` keeps the interpreter's lock until it is done: 10 ms for what the users of
MovieLens 100K have seen, seconds for a large catalogue. Here other threads get it in between.
"""

from __future__ import annotations

import array
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from silverjax.catalogue import Catalogue, Ragged

_value = json.JSONDecoder().raw_decode
_VALUE = re.compile(r"[^\s,:]")
_PIECE = 64  # values between two pauses


def checked_columns(catalogue: Catalogue) -> dict[str, Any]:
    """The readable part of a catalogue as JSON values, one row for each id."""
    columns: dict[str, Any] = {}
    for name in ("item_ids", "titles", "user_ids"):
        given = getattr(catalogue, name)
        columns[name] = given.tolist() if isinstance(given, np.ndarray) else list(given)
        if not all(isinstance(value, str) for value in columns[name]):
            raise ValueError(f"Catalogue.{name} holds values that are not text")
        if name != "titles" and len(set(columns[name])) != len(columns[name]):
            raise ValueError(f"Catalogue.{name} names a row twice; ids must differ")
    columns["attributes"] = {
        name: [[values] if isinstance(values, str | int) else list(values) for values in column]
        for name, column in catalogue.attributes.items()
    }
    for name, column in {"titles": columns["titles"], **columns["attributes"]}.items():
        if len(column) != len(columns["item_ids"]):
            raise ValueError(
                f"Catalogue: {name} has {len(column)} rows, item_ids {len(columns['item_ids'])}"
            )
    columns["seen"] = [[int(row) for row in rows] for rows in catalogue.seen]
    if columns["seen"] and len(columns["seen"]) != len(columns["user_ids"]):
        raise ValueError(
            f"Catalogue: seen has {len(columns['seen'])} rows, user_ids {len(columns['user_ids'])}"
        )
    for ids, rows in (("item_ids", catalogue.items), ("user_ids", catalogue.users)):
        for leaf in jax.tree.leaves(rows):
            if leaf.shape[:1] != (len(columns[ids]),):
                raise ValueError(
                    f"Catalogue: an array of {type(rows).__name__} has shape {leaf.shape}; its "
                    f"first axis must have {len(columns[ids])} rows, like {ids}"
                )
    return columns


def read_column(name: str, path: Path, *, pause: Callable[[], None] | None) -> Any:
    """A column as `Catalogue` has it.

    Args:
        pause: Called every few dozen values; `None` reads all at once, in a tenth of the time.

    Raises:
        ValueError: The file is not JSON.
    """
    text = path.read_text("utf-8")
    if pause is None:
        column = json.loads(text)
        return Ragged.of(column) if name == "seen" else column
    if name == "seen":
        return _ragged(text, pause)
    if name != "attributes":
        return _list(text, 0, pause)[0]
    columns, at = {}, 1
    while text[at := _next(text, at)] != "}":
        key, at = _value(text, at)
        columns[key], at = _list(text, _next(text, at), pause)
    return columns


def _list(text: str, at: int, pause: Callable[[], None]) -> tuple[list[Any], int]:
    """The list that begins at `at`, and where it ends."""
    values: list[Any] = []
    at = _each(text, at, values.append, pause)
    return values, at


def _ragged(text: str, pause: Callable[[], None]) -> Ragged:
    flat, at = array.array("i"), array.array("q", [0])

    def take(rows: list[int]) -> None:
        flat.extend(rows)
        at.append(len(flat))

    _each(text, 0, take, pause)
    return Ragged(np.asarray(flat, np.int32), np.asarray(at, np.int64))


def _each(text: str, at: int, take: Callable[[Any], None], pause: Callable[[], None]) -> int:
    """Hands over the values of the list that begins at `at`, and says where it ends."""
    at, count = _next(text, at + 1), 0
    while text[at] != "]":
        value, at = _value(text, at)
        take(value)
        at = _next(text, at)
        if not (count := count + 1) % _PIECE:
            pause()
    return at + 1


def _next(text: str, at: int) -> int:
    """Where the next value begins, or the list ends."""
    found = _VALUE.search(text, at)
    if found is None:
        raise ValueError("a column of the catalogue ends before its time")
    return found.start()
