"""Reads delimited text files in columns, with errors that name the file and the line."""

from __future__ import annotations

import codecs
import csv
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import numpy as np

from training.datasets.errors import DataError

_CHUNK = 1 << 17  # records held as Python strings at a time: bounds memory on files of any size


class IdTable:
    """External ids to rows, numbered in the order in which they are first met."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, token: str) -> bool:
        return token in self._rows

    def rows(self, tokens: Sequence[str]) -> np.ndarray:
        """int32 rows of `tokens`; new ones are added."""
        table = self._rows
        found = (table.setdefault(token, len(table)) for token in tokens)
        return np.fromiter(found, np.int32, len(tokens))

    def find(self, token: str) -> int:
        """The row of `token`, -1 when it is not known."""
        return self._rows.get(token, -1)

    def ids(self) -> np.ndarray:
        """str [n], the external id of each row."""
        return np.array(list(self._rows), dtype=np.str_)


class Table:
    """The columns of one file.

    Attributes:
        path: The file, for messages.
        first_line: Line number of record 0, counted from 1.
    """

    def __init__(self, path: pathlib.Path, first_line: int, columns: Mapping[str, list[str]]):
        self.path = path
        self.first_line = first_line
        self._columns = columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), []))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._columns)

    def text(self, name: str) -> list[str]:
        """The column as text."""
        return self._columns[name]

    def numbers(self, name: str, *, missing: bool = False) -> np.ndarray:
        """The column as float64 [n]; with `missing`, empty cells are nan.

        Raises:
            DataError: Names the line of the first cell that is not a finite number.
        """
        return _numbers(self.path, self.first_line, name, self._columns[name], missing)


def read_chunks(
    path: pathlib.Path,
    names: Sequence[str],
    *,
    delimiter: str,
    header: bool = False,
    quoted: bool = False,
) -> Iterator[Table]:
    """Reads a file of any size, some 100,000 records at a time.

    Args:
        names: What each column is called; records of another width are errors.
        delimiter: Between columns; may be longer than one character (`::`).
        header: Whether line 1 is a header to skip.
        quoted: Whether cells may stand in double quotes (csv).
    Raises:
        DataError: The file is missing, empty, cut short, or a record has the wrong width.
    """
    with _open(path) as handle:
        if quoted:
            records: Iterator[list[str]] = csv.reader(handle, delimiter=delimiter, strict=True)
        else:
            records = (line.rstrip("\r\n").split(delimiter) for line in handle)
        line = 1
        if header:
            next(records, None)
            line = 2
        try:
            while rows := list(itertools.islice(records, _CHUNK)):
                _check_widths(path, line, rows, names)
                columns = zip(*rows, strict=True)
                yield Table(path, line, {n: list(c) for n, c in zip(names, columns, strict=True)})
                line += len(rows)
        except csv.Error as error:
            raise DataError(f"{path}, near line {line}: {error}; the file is damaged.") from None


def read_table(
    path: pathlib.Path,
    names: Sequence[str],
    *,
    delimiter: str,
    header: bool = False,
    quoted: bool = False,
) -> Table:
    """Reads a whole file that is known to be moderate; see `read_chunks`."""
    columns: dict[str, list[str]] = {name: [] for name in names}
    for chunk in read_chunks(path, names, delimiter=delimiter, header=header, quoted=quoted):
        for name in names:
            columns[name] += chunk.text(name)
    return Table(path, 2 if header else 1, columns)


def read_header(path: pathlib.Path, *, delimiter: str) -> list[str]:
    """The cells of line 1."""
    with _open(path) as handle:
        return next(csv.reader(handle, delimiter=delimiter), [])


def _open(path: pathlib.Path) -> TextIO:
    """Opens text as UTF-8, or as Latin-1 where it is not (MovieLens before 10M is Latin-1)."""
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: the file is empty.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8-sig"
    with path.open("rb") as handle:
        handle.seek(-1, os.SEEK_END)
        if handle.read(1) != b"\n":
            # Half a number is still a number: only the missing line end gives it away.
            raise DataError(
                f"{path}: the last line has no line end, so the file looks cut short. Get it "
                "again; if it is whole, add a line end to it."
            )
        handle.seek(0)
        try:
            while block := handle.read(1 << 20):
                decoder.decode(block)
        except UnicodeDecodeError:
            encoding = "latin-1"
    return path.open(encoding=encoding, newline="\n")


def _check_widths(
    path: pathlib.Path, line: int, rows: list[list[str]], names: Sequence[str]
) -> None:
    if set(map(len, rows)) == {len(names)}:
        return
    place = next(i for i, row in enumerate(rows) if len(row) != len(names))
    raise DataError(
        f"{path}, line {line + place}: {len(rows[place])} columns where {len(names)} are "
        f"expected ({', '.join(names)}). The line is damaged or cut short; get the file again."
    )


def _numbers(
    path: pathlib.Path, first_line: int, name: str, cells: list[str], missing: bool
) -> np.ndarray:
    if missing:
        cells = [cell or "nan" for cell in cells]
    try:
        numbers = np.array(cells, dtype=np.float64)
        wrong = np.isinf(numbers) if missing else ~np.isfinite(numbers)
        if not wrong.any():
            return numbers
        place = int(np.argmax(wrong))
    except ValueError:
        place = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    raise DataError(
        f"{path}, line {first_line + place}: {name} is {cells[place]!r}, expected a finite number."
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
