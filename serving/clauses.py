"""A filter and one item: which terms hold, and which of them keep the item out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from silverjax.filter_language import And, Everything, Expression, Not, Or, Term, parse


@dataclasses.dataclass(frozen=True)
class Clause:
    """One term of a filter, as the filter wants it.

    Attributes:
        clause: Such as `NOT genre:horror`.
        holds: The item fulfils it.
        decides: It is among those by which the item fails.
        item_has: The item's values of that feature.
    """

    clause: str
    holds: bool
    decides: bool
    item_has: tuple[str, ...]


def clauses_of(where: str, item: Mapping[str, Sequence[str]]) -> tuple[bool, tuple[Clause, ...]]:
    """Whether a filter admits an item, and its terms in the order of the text.

    >>> admits, clauses = clauses_of("genre:war OR NOT genre:drama", {"genre": ["drama"]})
    >>> admits, [clause.clause for clause in clauses if clause.decides]
    (False, ['genre:war', 'NOT genre:drama'])

    Args:
        where: In the filter language.
        item: Values of each feature that the index has.
    """
    judged = _judge(parse(where), False, item)
    return judged.holds, tuple(
        dataclasses.replace(clause, decides=not judged.holds and clause in judged.against)
        for clause in judged.clauses
    )


@dataclasses.dataclass(frozen=True)
class _Judged:
    holds: bool
    clauses: tuple[Clause, ...]
    against: tuple[Clause, ...]  # that would have to hold for the whole to hold


def _judge(expression: Expression, negated: bool, item: Mapping[str, Sequence[str]]) -> _Judged:
    """Pushes NOT down to the terms (De Morgan) and judges on the way back."""
    match expression:
        case Everything():
            return _Judged(not negated, (), ())
        case Not(part):
            return _judge(part, not negated, item)
        case Term(feature, value):
            has = tuple(item[feature])
            holds = (value in has) != negated
            text = f"{'NOT ' if negated else ''}{_written(feature)}:{_written(value)}"
            clause = Clause(text, holds, False, has)
            return _Judged(holds, (clause,), () if holds else (clause,))
        case And(parts) | Or(parts):
            judged = [_judge(part, negated, item) for part in parts]
            all_must = isinstance(expression, And) != negated
            holds = (all if all_must else any)(part.holds for part in judged)
            return _Judged(
                holds,
                tuple(clause for part in judged for clause in part.clauses),
                () if holds else tuple(clause for part in judged for clause in part.against),
            )


def _written(word: str) -> str:
    if re.fullmatch(r"[\w.\-]+", word):
        return word
    escaped = word.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'
