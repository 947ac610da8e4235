"""Tasks from raw feedback by named rules, such as `liked=rating>=4`."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from training.datasets.errors import DataError

_OPERATORS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NAME = re.compile(r"[A-Za-z_]\w*")
_HELP = "Write name=column>=number (also <=, >, <, ==, !=), or name=* for every interaction"


@dataclasses.dataclass(frozen=True)
class Condition:
    """`column operator threshold`, over one number per interaction."""

    column: str
    operator: str
    threshold: float

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """bool [n]: where the condition holds. Missing numbers (nan) never hold."""
        if self.column not in columns:
            raise DataError(
                f"Task column {self.column!r} does not exist; "
                f"the interactions have: {', '.join(sorted(columns)) or 'no numeric column'}."
            )
        values = columns[self.column]
        return _OPERATORS[self.operator](values, self.threshold) & ~np.isnan(values)


@dataclasses.dataclass(frozen=True)
class Rule:
    """One task: a name and what makes its label 1; no condition means always (engagement)."""

    name: str
    condition: Condition | None


def parse_condition(text: str, *, within: str | None = None) -> Condition:
    """Parses `rating>=4`.

    Args:
        within: The whole rule, for the error message.
    Raises:
        ValueError: Shows the text and points at what is wrong.
    """
    whole = text if within is None else within
    found = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*", text)
    if found is None:
        raise ValueError(f"Task rule {whole!r}: cannot read the condition {text!r}. {_HELP}.")
    column, symbol, number = found.groups()
    try:
        threshold = float(number)
    except ValueError:
        raise ValueError(f"Task rule {whole!r}: {number!r} is not a number. {_HELP}.") from None
    return Condition(column, symbol, threshold)


def parse_rule(text: str) -> Rule:
    """Parses one rule.

    >>> parse_rule("liked=rating>=4")
    Rule(name='liked', condition=Condition(column='rating', operator='>=', threshold=4.0))
    >>> parse_rule("watched=*")
    Rule(name='watched', condition=None)

    Raises:
        ValueError: Shows the text and says how to write a rule.
    """
    name, equals, condition = text.partition("=")
    name = name.strip()
    if not equals:
        raise ValueError(f"Task rule {text!r} has no '='. {_HELP}.")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"Task rule {text!r}: the task name {name!r} must be letters, digits and '_', "
            f"starting with a letter. {_HELP}."
        )
    if condition.strip() == "*":
        return Rule(name, None)
    return Rule(name, parse_condition(condition, within=text))


def parse_rules(rules: str | Sequence[str], *, engagement: str = "watched") -> tuple[Rule, ...]:
    """Parses all rules of a data set; the first one is engagement.

    Args:
        rules: Rules, or one string of rules with commas between them.
        engagement: Name of the engagement task that is put first when no rule is `name=*`.
    Raises:
        ValueError: A rule cannot be read, a name occurs twice, `name=*` is not first.
    """
    texts = rules.split(",") if isinstance(rules, str) else rules
    parsed = [parse_rule(text) for text in texts]
    if not any(rule.condition is None for rule in parsed):
        parsed.insert(0, Rule(engagement, None))
    for place, rule in enumerate(parsed):
        if (rule.condition is None) != (place == 0):
            raise ValueError(
                f"Task {rule.name!r}: exactly one task, the first, is engagement (name=*); "
                f"got {', '.join(texts)}."
            )
        if any(other.name == rule.name for other in parsed[:place]):
            raise ValueError(f"Task {rule.name!r} is defined twice; give each task its own name.")
    return tuple(parsed)


def default_rules(ratings: np.ndarray | None) -> tuple[str, ...]:
    """The rules for a rating scale, told by its highest rating.

    Up to 5 stars (half stars too): liked at 4, disliked at 2. Up to 10: liked at 8, disliked
    at 5. No ratings, only one value of rating, or any other scale: engagement alone.
    """
    known = np.zeros(0) if ratings is None else ratings[np.isfinite(ratings)]
    if not known.size or known.min() == known.max() or known.min() < 0:
        return ("watched=*",)
    highest = known.max()
    if 2 < highest <= 5:
        return ("watched=*", "liked=rating>=4", "disliked=rating<=2")
    if 5 < highest <= 10:
        return ("watched=*", "liked=rating>=8", "disliked=rating<=5")
    return ("watched=*",)


def labels(rules: Sequence[Rule], columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """float32 [count, tasks]: 1 where a rule holds, else 0."""
    answer = np.ones((count, len(rules)), np.float32)
    for place, rule in enumerate(rules):
        if rule.condition is not None:
            answer[:, place] = rule.condition(columns)
    return answer
