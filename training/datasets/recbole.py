"""RecBole atomic files: `.inter .user .item .kg .link`, tab-separated, with typed headers.

Format: https://recbole.io/docs/user_guide/data/atomic_files.html. Line 1 names each column
and its type, as in `user_id:token`; `_seq` types hold several values with spaces between.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from training.datasets import films, knowledge, link_repair
from training.datasets.build import Feedback, build_dataset, read_feedback
from training.datasets.dataset import Dataset
from training.datasets.encode import Encoded, categorical, multi, numeric, slug
from training.datasets.errors import DataError
from training.datasets.tables import IdTable, Table, read_header, read_table
from training.datasets.tasks import parse_condition

_TYPES = ("token", "token_seq", "float", "float_seq")
_USER, _ITEM, _RATING, _TIME = "user_id", "item_id", "rating", "timestamp"
_TITLES = ("movie_title", "title", "name", "book_title")
_GENRES = ("class", "genre", "genres")  # ml-100k calls its genres "class"
_YEARS = ("release_year", "year")
# A column in which most rows have a value of their own (zip code, URL) only repeats the id.
_ID_LIKE_FROM = 64


@dataclasses.dataclass(frozen=True)
class _File:
    """One atomic file's path and its columns: name -> type, in order."""

    path: pathlib.Path
    types: dict[str, str]

    def read(self) -> Table:
        return read_table(self.path, list(self.types), delimiter="\t", header=True)

    def need(self, *names: str) -> None:
        for name in names:
            if name not in self.types:
                raise DataError(
                    f"{self.path}, line 1: no column {name!r}; found {', '.join(self.types)}."
                )


def looks_like(folder: pathlib.Path) -> bool:
    """Whether `folder` holds atomic files."""
    return any(folder.glob("*.inter"))


def load(
    folder: pathlib.Path,
    *,
    name: str | None = None,
    tasks: str | Sequence[str] | None = None,
    keep: str | None = None,
    relations: Mapping[str, str] | None = None,
) -> Dataset:
    """Loads the atomic files of one folder; all but `.inter` are optional.

    Tokens become categorical, token sequences multi-valued and floats numeric features; a
    column of years and one of genres become what `films.film_features` makes of them. With
    `.link` and `.kg`, relations of an item's entity become further features.

    Args:
        name: Stem of the files; needed only when the folder holds several data sets.
        tasks: Rules over the float columns of `.inter`; None chooses by the rating scale.
        keep: Condition on the interactions, such as `rating>=3`; others are left out.
        relations: Attribute -> relation id in `.kg`; None takes the film relations of
            Freebase that the graph has.
    Raises:
        DataError: A file is missing, damaged or not in this format; a relation is unknown.
    """
    inter = _find(folder, "inter", name)
    assert inter is not None
    inter.need(_USER, _ITEM)
    stem = inter.path.stem
    users, items = IdTable(), IdTable()
    user_table = _entities(_find(folder, "user", stem, optional=True), _USER, users)
    item_table = _entities(_find(folder, "item", stem, optional=True), _ITEM, items)
    feedback = _feedback(inter, users, items)
    if keep is not None:
        feedback = feedback.where(parse_condition(keep))
    titles, item_features, attributes = _item_side(item_table, items)
    link, kg = (_find(folder, end, stem, optional=True) for end in ("link", "kg"))
    if link and kg:
        more = _graph(link, kg, items, relations)
        item_features += knowledge.encode(more)
        attributes |= {k: v for k, v in more.items() if k in knowledge.FILTERS or relations}
    elif relations:
        raise DataError(f"{folder}: relations need {stem}.link and {stem}.kg; not both are there.")
    return build_dataset(
        stem,
        users=users,
        items=items,
        titles=titles,
        user_features=_user_side(user_table, len(users)),
        item_features=item_features,
        attributes=attributes,
        feedback=feedback,
        tasks=tasks,
    )


def _find(
    folder: pathlib.Path, ending: str, stem: str | None, *, optional: bool = False
) -> _File | None:
    found = sorted(folder.glob(f"{stem or '*'}.{ending}"))
    if not found and optional:
        return None
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{folder}: expected one .{ending} file, found {listed}."
            + (" Choose one with name=..." if found else "")
        )
    types: dict[str, str] = {}
    for cell in read_header(found[0], delimiter="\t"):
        column, _, kind = cell.strip().partition(":")
        if kind not in _TYPES:
            raise DataError(
                f"{found[0]}, line 1: {cell!r} must be name:type with a type of "
                f"{', '.join(_TYPES)}; is this a RecBole atomic file?"
            )
        types[column] = kind
    return _File(found[0], types)


def _entities(file: _File | None, key: str, ids: IdTable) -> tuple[_File, Table] | None:
    """Reads `.user` or `.item` and gives each of its ids a row."""
    if file is None:
        return None
    file.need(key)
    table = file.read()
    rows = ids.rows(table.text(key))
    if len(ids) != len(rows):
        repeated = int(np.flatnonzero(rows != np.arange(len(rows)))[0])
        raise DataError(
            f"{file.path}, line {repeated + table.first_line}: {key} "
            f"{table.text(key)[repeated]!r} occurs twice; every id may have one line."
        )
    return file, table


def _feedback(file: _File, users: IdTable, items: IdTable) -> Feedback:
    return read_feedback(
        file.path,
        list(file.types),
        users=users,
        items=items,
        user=_USER,
        item=_ITEM,
        numbers=[column for column, kind in file.types.items() if kind == "float"],
        delimiter="\t",
        header=True,
    )


def _user_side(read: tuple[_File, Table] | None, count: int) -> list[Encoded]:
    if read is None:
        return []
    file, table = read
    features = []
    for column in file.types:
        if column == "age":  # a token in ml-100k, a float elsewhere: a number either way
            ages = table.numbers(column, missing=True)
            features.append(categorical("age", [*map(films.age_group, ages)]))
        elif column != _USER:
            features += _plain(file, table, column)
    return [_padded(feature, count) for feature in features]


def _item_side(
    read: tuple[_File, Table] | None, items: IdTable
) -> tuple[list[str], list[Encoded], dict[str, list[list[str]]]]:
    """Titles, features and attributes of `.item`; items without a line have none."""
    extra = len(items)
    if read is None:
        return [str(i) for i in items.ids()], [], {}
    file, table = read
    extra -= len(table)
    title, genre, year = (_first(table, names) for names in (_TITLES, _GENRES, _YEARS))
    years = table.text(year) if year else [""] * len(table)
    years = [text if text.isdigit() and len(text) == 4 else "" for text in years]
    names = table.text(title) if title else table.text(_ITEM)
    titles = [films.full_title(t, y) for t, y in zip(names, years, strict=True)]
    titles += [str(i) for i in items.ids()[len(table) :]]
    features: list[Encoded] = []
    attributes: dict[str, list[list[str]]] = {}
    if genre or year:
        genres = [g.split(" ") for g in table.text(genre)] if genre else [[]] * len(table)
        features, attributes = films.film_features(genres + [[]] * extra, years + [""] * extra)
    for column in file.types:
        if column in (_ITEM, title, genre, year):
            continue
        for encoded in _plain(file, table, column):
            features.append(_padded(encoded, len(items)))
            if encoded.vocabulary:
                cells = [
                    [slug(c) for c in _cells(file, column, t) if c] for t in table.text(column)
                ]
                attributes[column] = cells + [[] for _ in range(extra)]
    return titles, features, attributes


def _first(table: Table, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in table), None)


def _cells(file: _File, column: str, text: str) -> list[str]:
    return text.split(" ") if file.types[column] == "token_seq" else [text]


def _plain(file: _File, table: Table, column: str) -> list[Encoded]:
    """The feature of an ordinary column; none for vectors and for what only repeats the id."""
    kind = file.types[column]
    if kind == "float":
        return [numeric(column, table.numbers(column, missing=True))]
    if kind == "float_seq":
        return []
    rows = [[slug(cell) for cell in _cells(file, column, text)] for text in table.text(column)]
    distinct = len({value for row in rows for value in row})
    if distinct > max(_ID_LIKE_FROM, len(rows) // 2):
        return []
    if kind == "token_seq":
        return [multi(column, rows)]
    return [categorical(column, [row[0] for row in rows])]


def _padded(encoded: Encoded, count: int) -> Encoded:
    """Gives rows that have no line in the file the unknown value 0."""
    missing = count - len(encoded.values)
    if not missing:
        return encoded
    widths = [(0, missing)] + [(0, 0)] * (encoded.values.ndim - 1)
    return dataclasses.replace(encoded, values=np.pad(encoded.values, widths))


def _graph(
    link: _File, kg: _File, items: IdTable, relations: Mapping[str, str] | None
) -> dict[str, list[list[str]]]:
    link.need(_ITEM, "entity_id")
    kg.need("head_id", "relation_id", "tail_id")
    links, triples = link.read(), kg.read()
    stated = dict(zip(links.text(_ITEM), links.text("entity_id"), strict=True))
    entities = link_repair.repaired(link.path, stated)
    return knowledge.attributes(
        [entities.get(str(item), "") for item in items.ids()],
        triples.text("head_id"),
        triples.text("relation_id"),
        triples.text("tail_id"),
        relations=relations,
        where=str(kg.path),
    )
