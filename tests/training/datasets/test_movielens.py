from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from tests.training.datasets import small_files
from training.datasets import DataError, load

Writer = Callable[[pathlib.Path], pathlib.Path]


@pytest.mark.parametrize("writer", [small_files.tab, small_files.dat, small_files.comma])
def test_formats_agree_on_the_same_ratings(tmp_path: pathlib.Path, writer: Writer) -> None:
    data = load(writer(tmp_path / "films"))
    assert data.name == "films"
    assert data.schema.tasks == ("watched", "liked", "disliked")
    seen = data.interactions
    assert seen.time.tolist() == [100, 200, 300, 300, 300]
    # Three at one time: their order is that of the user rows, which only some formats list.
    pairs = list(zip(data.user_ids[seen.user], data.item_ids[seen.item], seen.value, strict=True))
    assert pairs[:2] == [("9", "20", 2), ("7", "10", 4)]
    assert set(pairs[2:]) == {("7", "20", 5), ("8", "10", 3), ("9", "30", 1)}
    assert data.titles[:2] == ["The Usual Suspects (1995)", "Toy Story (1995)"]
    assert data.attributes["genre"][0] == ["crime", "thriller"]
    assert data.attributes["decade"][1] == ["1990s"]


@pytest.mark.parametrize("writer", [small_files.tab, small_files.dat])
def test_profiles(tmp_path: pathlib.Path, writer: Writer) -> None:
    data = load(writer(tmp_path))
    readable = {
        name: [data.user_vocabularies[name][code] for code in codes]
        for name, codes in data.user_features.items()
    }
    assert readable == {
        "age": ["18-24", "under-18", "56-plus"],
        "gender": ["m", "f", "f"],
        "occupation": ["writer", "student", "none"]
        if writer is small_files.tab
        else ["writer", "k-12_student", "homemaker"],
    }


def test_users_file_without_profiles_is_left_aside(tmp_path: pathlib.Path) -> None:
    data = load(small_files.dat(tmp_path, people=False))
    assert data.schema.user_features == ()
    assert data.user_ids.tolist() == ["7", "9", "8"]


def test_padded_ids_and_unrated_films_are_kept_apart(tmp_path: pathlib.Path) -> None:
    data = load(small_files.dat(tmp_path))
    assert data.item_ids.tolist() == ["10", "20", "030", "30"]
    assert data.titles[2:] == ["Never Rated: A Film (2001)", "30"]
    assert data.attributes["genre"][2:] == [[], []]


def test_core_keeps_what_is_rated_often_enough(tmp_path: pathlib.Path) -> None:
    data = load(small_files.dat(tmp_path), core=1)
    assert data.item_ids.tolist() == ["10", "20", "30"]


def test_quoted_titles_and_missing_genres(tmp_path: pathlib.Path) -> None:
    data = load(small_files.comma(tmp_path))
    assert data.titles[2] == 'Say "No" (2001)'
    assert data.attributes["genre"][2] == []


def test_ten_point_scale(tmp_path: pathlib.Path) -> None:
    small_files.dat(tmp_path)
    small_files.write(tmp_path, "ratings.dat", ["7::10::10::1", "7::20::8::2", "8::20::5::3"])
    data = load(tmp_path)
    assert data.interactions.labels[:, 1].tolist() == [1, 1, 0]
    assert data.interactions.labels[:, 2].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("ratings.dat", "7::10::five::1", "line 1: rating is 'five'"),
        ("ratings.dat", "7::10::5", "line 1: 3 columns where 4 are expected"),
        ("movies.dat", "7::Half a f", "line 1: 2 columns where 3 are expected"),
        ("movies.dat", "1::A::\n1::B::", "lists item '1' twice"),
        ("users.dat", "7::M::1::1::1\n7::M::1::1::1", "a user id occurs twice"),
    ],
)
def test_rejects_broken_files(tmp_path: pathlib.Path, name: str, line: str, message: str) -> None:
    small_files.write(small_files.dat(tmp_path), name, [line])
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_unknown_folder_says_what_was_looked_for(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"Looked for: \*.inter .*u.data.*ratings.csv.*log_stand"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"neither a known data set \(movielens-100k, synthetic\)"):
        load("movie-lens")
