from __future__ import annotations

import pathlib

import numpy as np
import pytest

from tests.training.datasets.small_files import write
from training.datasets import DataError, tables

NAMES = ("user", "value")


def test_numbers_over_several_chunks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_CHUNK", 3)
    path = write(tmp_path, "x", ["h\th", *(f"u{i}\t{i}" for i in range(8))])
    chunks = list(tables.read_chunks(path, NAMES, delimiter="\t", header=True))
    assert [chunk.first_line for chunk in chunks] == [2, 5, 8]
    numbers = np.concatenate([chunk.numbers("value") for chunk in chunks])
    assert numbers.tolist() == list(range(8))


@pytest.mark.parametrize("quoted", [False, True])
def test_wrong_width_names_file_and_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, quoted: bool
) -> None:
    monkeypatch.setattr(tables, "_CHUNK", 2)
    path = write(tmp_path, "x.csv", ["a,1", "b,2", "c,3", "d"])
    with pytest.raises(DataError, match=r"x\.csv, line 4: 1 columns where 2 are expected"):
        tables.read_table(path, NAMES, delimiter=",", quoted=quoted)


@pytest.mark.parametrize("cell", ["", "four", "nan", "inf", "1;2"])
def test_not_a_number_names_file_line_and_cell(tmp_path: pathlib.Path, cell: str) -> None:
    path = write(tmp_path, "x", ["a\t1", f"b\t{cell}"])
    table = tables.read_table(path, NAMES, delimiter="\t")
    with pytest.raises(DataError, match=rf"line 2: value is '{cell}', expected a finite number"):
        table.numbers("value")


def test_missing_numbers_are_nan_where_they_may_be(tmp_path: pathlib.Path) -> None:
    table = tables.read_table(write(tmp_path, "x", ["a\t", "b\t2"]), NAMES, delimiter="\t")
    np.testing.assert_array_equal(table.numbers("value", missing=True), [np.nan, 2.0])


def test_file_cut_inside_a_number_is_found(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "x", ["a\t100", "b\t200"])
    path.write_bytes(path.read_bytes()[:-2])  # b's 200 is now 20: a number all the same
    with pytest.raises(DataError, match="no line end, so the file looks cut short"):
        tables.read_table(path, NAMES, delimiter="\t")


def test_cut_inside_quotes_is_found(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "x", ['a,"x, y"', 'b,"unfinished'])
    with pytest.raises(DataError, match=r"near line 1: .*the file is damaged"):
        tables.read_table(path, NAMES, delimiter=",", quoted=True)


def test_missing_and_empty_files(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"absent: no such file"):
        tables.read_table(tmp_path / "absent", NAMES, delimiter=",")
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match=r"empty: the file is empty"):
        tables.read_table(tmp_path / "empty", NAMES, delimiter=",")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_reads_utf8_with_or_without_mark_and_latin1(tmp_path: pathlib.Path, encoding: str) -> None:
    path = tmp_path / "x"
    path.write_text("Café,1\r\nAmélie,2\r\n", encoding=encoding, newline="")
    table = tables.read_table(path, NAMES, delimiter=",")
    assert table.text("user") == ["Café", "Amélie"]
    assert table.numbers("value").tolist() == [1, 2]


def test_id_table_numbers_in_order_of_meeting() -> None:
    ids = tables.IdTable()
    assert ids.rows(["b", "a", "b"]).tolist() == [0, 1, 0]
    assert ids.rows(["c", "a"]).tolist() == [2, 1]
    assert ids.ids().tolist() == ["b", "a", "c"]
    assert (ids.find("c"), ids.find("z"), len(ids)) == (2, -1, 3)
