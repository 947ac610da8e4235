"""The two tables of the package: readable names, and the film ids of the later releases."""

from __future__ import annotations

import collections
import importlib.resources
import re

from training.datasets import films, knowledge, link_repair


def rows() -> list[list[str]]:
    table = importlib.resources.files("training.datasets").joinpath("freebase_names.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def test_names_can_be_typed_in_a_filter_and_ids_are_unique() -> None:
    table = rows()
    assert len(table) == len({entity for _, entity, _ in table}) == len(knowledge.names())
    for kind, entity, value in table:
        assert kind in {"country", "language", "mpaa", "director"}
        assert re.fullmatch(r"m\.[a-z0-9_]+", entity)
        assert re.fullmatch(r"[a-z0-9_-]+", value)
        if kind == "country":
            assert len(value) == 2
        if kind == "language":
            assert len(value) in (2, 3)


def test_directors_have_one_id_each() -> None:
    directors = collections.Counter(value for kind, _, value in rows() if kind == "director")
    assert directors.most_common(1)[0][1] == 1
    assert len(directors) >= 400


def test_well_known_names() -> None:
    names = knowledge.names()
    assert names["m.09c7w0"] == "us"
    assert names["m.02h40lc"] == "en"
    assert names["m.0kprc8"] == "pg"
    assert names["m.06pj8"] == "steven_spielberg"


def test_later_ids_are_one_to_one_but_for_films_listed_twice() -> None:
    later = link_repair._later_ids()
    assert len(later) == 1539
    assert all(1 <= int(item) <= 1682 for item in later)
    repeated = [n for n in collections.Counter(later.values()).values() if n > 1]
    # MovieLens 100K lists a few films under two ids, such as Chasing Amy as 246 and 268.
    assert max(repeated) == 2
    assert len(repeated) < 25
    assert later["246"] == later["268"] == "1639"
    # Star Wars, Fargo, Braveheart, Schindler's List, Psycho.
    known = {"50": "260", "100": "608", "22": "110", "318": "527", "185": "1219"}
    assert {item: later[item] for item in known} == known


def test_strictest_rating_is_the_feature() -> None:
    assert knowledge._one_rating(["pg", "pg-13"]) == "pg-13"
    assert knowledge._one_rating([]) == ""


def test_actors_are_limited_to_frequent_ones() -> None:
    values = [[f"a{i}" for i in range(12)], ["a0"], ["a0"], [f"a{i}" for i in range(12)], ["a1"]]
    encoded = knowledge.encode({"actor": values})[0]
    assert encoded.vocabulary == ("", "a0", "a1")
    assert knowledge.encode({"actor": values * 3})[0].values.shape == (15, 8)


def test_titles_are_readable() -> None:
    titles = {
        "Postino, Il": "Il Postino",
        "Affair to Remember, An": "An Affair to Remember",
        "Cook the Thief His Wife & Her Lover, The": "The Cook the Thief His Wife & Her Lover",
        "Corrina, Corrina": "Corrina, Corrina",
        "Enfer, L'": "L'Enfer",
        "I, Worst of All (Yo, la peor de todas)": "I, Worst of All (Yo, la peor de todas)",
    }
    assert {title: films.readable_title(title) for title in titles} == titles
    assert films.split_year("2001: A Space Odyssey (1968) ") == ("2001: A Space Odyssey", "1968")
