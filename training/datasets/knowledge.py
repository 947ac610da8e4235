"""A knowledge graph's statements about items, with readable names where they are known."""

from __future__ import annotations

import collections
import functools
import importlib.resources
from collections.abc import Mapping, Sequence

from training.datasets.encode import Encoded, categorical, multi
from training.datasets.errors import DataError

# Freebase's film relations, each from the film to the thing.
FILM_RELATIONS = {
    "country": "film.film.country",
    "language": "film.film.language",
    "mpaa": "film.film.rating",
    "director": "film.film.directed_by",
    "writer": "film.film.written_by",
    "actor": "film.film.actor",
}
# Offered as filters unless the caller chooses relations. Writers and actors are features only:
# most of their names are not known, and nobody filters by a code.
FILTERS = ("country", "language", "mpaa", "director")
_MOST_ACTORS = 8  # width of the actor feature: the billing order is not in the graph
# Seen once, a director, writer or actor says no more about a film than its own id does.
_PEOPLE_MIN_COUNT = {"director": 2, "writer": 2, "actor": 3}
# The relation mixes in certificates of other countries; only the MPAA's have names.
_ONLY_NAMED = ("mpaa",)
_MPAA = ("g", "pg", "pg-13", "r", "nc-17")


@functools.cache
def names() -> dict[str, str]:
    """Freebase id -> readable value, from `freebase_names.tsv`."""
    table = importlib.resources.files(__package__).joinpath("freebase_names.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return {entity: value for _, entity, value in rows}


def attributes(
    entities: Sequence[str],
    heads: Sequence[str],
    relation_ids: Sequence[str],
    tails: Sequence[str],
    *,
    relations: Mapping[str, str] | None,
    where: str,
) -> dict[str, list[list[str]]]:
    """Per attribute and item the sorted readable values; a thing without a name keeps its id.

    Args:
        entities: The entity of each item, "" where the graph does not know it.
        heads, relation_ids, tails: The statements, all of one length.
        relations: Attribute -> relation; None takes those of FILM_RELATIONS that occur.
        where: Source of the statements, for messages.
    Raises:
        DataError: A relation that was asked for does not occur.
    """
    known = collections.Counter(relation_ids)
    if relations is None:
        relations = {k: v for k, v in FILM_RELATIONS.items() if v in known}
    for attribute, relation in relations.items():
        if relation not in known:
            some = ", ".join(name for name, _ in known.most_common(12))
            raise DataError(
                f"{where}: no relation {relation!r} (asked for as {attribute!r}); "
                f"the most frequent of its {len(known)} relations are: {some}."
            )
    rows: dict[str, list[int]] = collections.defaultdict(list)
    for row, entity in enumerate(entities):
        if entity:
            rows[entity].append(row)
    wanted: dict[str, list[str]] = collections.defaultdict(list)
    for attribute, relation in relations.items():
        wanted[relation].append(attribute)
    readable = names()
    found: dict[str, list[set[str]]] = {a: [set() for _ in entities] for a in relations}
    for head, relation, tail in zip(heads, relation_ids, tails, strict=True):
        if relation in wanted and head in rows:
            for attribute in wanted[relation]:
                if tail in readable or attribute not in _ONLY_NAMED:
                    for row in rows[head]:
                        found[attribute][row].add(readable.get(tail, tail))
    return {attribute: [sorted(s) for s in sets] for attribute, sets in found.items()}


def encode(attributes: Mapping[str, list[list[str]]]) -> list[Encoded]:
    """Features for the model out of what `attributes` found."""
    encoded = []
    for name, values in attributes.items():
        if name == "mpaa":
            encoded.append(categorical(name, [_one_rating(row) for row in values]))
        else:
            width = _MOST_ACTORS if name == "actor" else None
            least = _PEOPLE_MIN_COUNT.get(name, 1)
            encoded.append(multi(name, values, min_count=least, max_width=width))
    return encoded


def _one_rating(row: Sequence[str]) -> str:
    """A film's MPAA rating; the strictest where several cuts were rated."""
    known = [rating for rating in _MPAA if rating in row]
    return known[-1] if known else ""
