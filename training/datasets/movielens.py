"""MovieLens in its three native formats, and data sets that use the same ones.

Formats, from the README of each release: 100K has `u.data` (tabs), `u.item` and `u.user` (bars);
1M and 10M have `ratings.dat`, `movies.dat` and `users.dat` (double colons); everything newer has
`ratings.csv` and `movies.csv`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from training.datasets import films
from training.datasets.build import build_dataset, read_feedback
from training.datasets.dataset import Dataset
from training.datasets.encode import categorical, slug
from training.datasets.errors import DataError
from training.datasets.tables import IdTable, read_table

# The 19 flags of u.item, in order (u.genre).
_FLAGS = (
    "unknown", "action", "adventure", "animation", "childrens", "comedy", "crime", "documentary",
    "drama", "fantasy", "film-noir", "horror", "musical", "mystery", "romance", "sci-fi",
    "thriller", "war", "western",
)  # fmt: skip
# users.dat stores occupations as numbers; these are their names in the README of 1M, by number.
_OCCUPATIONS = (
    "other", "educator", "artist", "clerical", "college_student", "customer_service", "doctor",
    "executive", "farmer", "homemaker", "k-12_student", "lawyer", "programmer", "retired",
    "sales", "scientist", "self-employed", "technician", "tradesman", "unemployed", "writer",
)  # fmt: skip


def looks_like_tab(folder: pathlib.Path) -> bool:
    """Whether `folder` holds MovieLens 100K."""
    return _holds(folder, "u.data", "u.item")


def looks_like_dat(folder: pathlib.Path) -> bool:
    """Whether `folder` holds the `::` files of MovieLens 1M or 10M."""
    return _holds(folder, "ratings.dat", "movies.dat")


def looks_like_csv(folder: pathlib.Path) -> bool:
    """Whether `folder` holds the csv files of the newer releases."""
    return _holds(folder, "ratings.csv", "movies.csv")


def load_tab(folder: pathlib.Path, *, tasks: str | Sequence[str] | None = None) -> Dataset:
    """Loads `u.data`, `u.item` and, where it is there, `u.user`."""
    names = ["item_id", "title", "release", "video_release", "url", *_FLAGS]
    table = read_table(folder / "u.item", names, delimiter="|")
    flags = [table.text(flag) for flag in _FLAGS]
    genres = [
        [flag for flag, cell in zip(_FLAGS, row, strict=True) if cell == "1"]
        for row in zip(*flags, strict=True)
    ]
    return _load(
        folder / "u.data",
        folder / "u.user",
        table.text("item_id"),
        table.text("title"),
        genres,
        delimiter="\t",
        user_names=("user_id", "age", "gender", "occupation", "zip_code"),
        user_delimiter="|",
        tasks=tasks,
    )


def load_dat(folder: pathlib.Path, *, tasks: str | Sequence[str] | None = None) -> Dataset:
    """Loads `ratings.dat`, `movies.dat` and, where it describes people, `users.dat`."""
    names = ("item_id", "title", "genres")
    table = read_table(folder / "movies.dat", names, delimiter="::")
    return _load(
        folder / "ratings.dat",
        folder / "users.dat",
        table.text("item_id"),
        table.text("title"),
        [genres.split("|") for genres in table.text("genres")],
        delimiter="::",
        user_names=("user_id", "gender", "age", "occupation", "zip_code"),
        user_delimiter="::",
        tasks=tasks,
    )


def load_csv(folder: pathlib.Path, *, tasks: str | Sequence[str] | None = None) -> Dataset:
    """Loads `ratings.csv` and `movies.csv`; these releases have no user profiles."""
    names = ("item_id", "title", "genres")
    table = read_table(folder / "movies.csv", names, delimiter=",", header=True, quoted=True)
    return _load(
        folder / "ratings.csv",
        None,
        table.text("item_id"),
        table.text("title"),
        [genres.split("|") for genres in table.text("genres")],
        delimiter=",",
        header=True,
        tasks=tasks,
    )


def _holds(folder: pathlib.Path, *names: str) -> bool:
    return all((folder / name).is_file() for name in names)


def _load(
    ratings: pathlib.Path,
    people: pathlib.Path | None,
    item_ids: Sequence[str],
    raw_titles: Sequence[str],
    genres: Sequence[Sequence[str]],
    *,
    delimiter: str,
    header: bool = False,
    user_names: Sequence[str] = (),
    user_delimiter: str = "",
    tasks: str | Sequence[str] | None,
) -> Dataset:
    users, items = IdTable(), IdTable()
    items.rows(item_ids)
    if len(items) != len(item_ids):
        repeated = next(i for i, item in enumerate(item_ids) if items.find(item) != i)
        raise DataError(
            f"{ratings.parent}: the film file lists item {item_ids[repeated]!r} twice; "
            "every item may have one line."
        )
    profiles = _profiles(people, user_names, user_delimiter, users)
    feedback = read_feedback(
        ratings,
        ("user_id", "item_id", "rating", "timestamp"),
        users=users,
        items=items,
        user="user_id",
        item="item_id",
        numbers=("rating", "timestamp"),
        delimiter=delimiter,
        header=header,
    )
    # Rated films without a line in the film file: no title, no features, still in the catalogue.
    strangers = len(items) - len(item_ids)
    titles, years = zip(*map(films.split_year, raw_titles), strict=True)
    features, attributes = films.film_features(
        [*genres, *[[]] * strangers], [*years, *[""] * strangers]
    )
    return build_dataset(
        ratings.parent.resolve().name,
        users=users,
        items=items,
        titles=[
            *(films.full_title(t, y) for t, y in zip(titles, years, strict=True)),
            *(str(item) for item in items.ids()[len(item_ids) :]),
        ],
        user_features=[
            categorical(name, values + [""] * (len(users) - len(values)))
            for name, values in profiles.items()
        ],
        item_features=features,
        attributes=attributes,
        feedback=feedback,
        tasks=tasks,
    )


def _profiles(
    path: pathlib.Path | None, names: Sequence[str], delimiter: str, users: IdTable
) -> dict[str, list[str]]:
    """Age group, gender and occupation of the users in `path`, each given a row.

    A file whose lines have fewer columns describes nobody (MovieTweetings lists user ids with
    Twitter ids): nothing is read from it.
    """
    if path is None or not path.is_file():
        return {}
    with path.open("rb") as handle:
        if handle.readline().count(delimiter.encode()) + 1 != len(names):
            return {}
    table = read_table(path, names, delimiter=delimiter)
    if not len(users.rows(table.text("user_id"))) == len(users):
        raise DataError(f"{path}: a user id occurs twice; every user may have one line.")
    return {
        "age": [*map(films.age_group, table.numbers("age", missing=True))],
        "gender": [*map(slug, table.text("gender"))],
        "occupation": [*map(_occupation, table.text("occupation"))],
    }


def _occupation(text: str) -> str:
    if text.isdigit() and int(text) < len(_OCCUPATIONS):
        return _OCCUPATIONS[int(text)]
    return slug(text)
