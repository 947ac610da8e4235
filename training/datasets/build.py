"""Puts encoded features, ids and raw feedback together into a data set."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from silverjax.schema import Schema
from training.datasets import tasks as task_rules
from training.datasets.dataset import Dataset, sorted_interactions
from training.datasets.encode import Encoded
from training.datasets.errors import DataError
from training.datasets.tables import IdTable, read_chunks


class Feedback:
    """Raw interactions in the order of the file: int32 rows, float64 columns."""

    def __init__(self, user: np.ndarray, item: np.ndarray, columns: dict[str, np.ndarray]):
        self.user = user
        self.item = item
        self.columns = columns

    def __len__(self) -> int:
        return len(self.user)

    def where(self, condition: task_rules.Condition) -> Feedback:
        """The interactions for which `condition` holds."""
        kept = condition(self.columns)
        columns = {name: column[kept] for name, column in self.columns.items()}
        return Feedback(self.user[kept], self.item[kept], columns)


def read_feedback(
    path: pathlib.Path,
    names: Sequence[str],
    *,
    users: IdTable,
    items: IdTable,
    user: str,
    item: str,
    numbers: Sequence[str],
    delimiter: str,
    header: bool = False,
) -> Feedback:
    """Reads an interaction file of any size; ids that the tables do not know are added.

    Args:
        names: What the columns of the file are called.
        user: Which of them holds user ids.
        item: Which of them holds item ids.
        numbers: Which of them to keep as float64.
    Raises:
        DataError: Cut short, wrong width, not a number (with file and line), or no record.
    """
    user_rows, item_rows = [], []
    columns: dict[str, list[np.ndarray]] = {name: [] for name in numbers}
    for chunk in read_chunks(path, names, delimiter=delimiter, header=header):
        user_rows.append(users.rows(chunk.text(user)))
        item_rows.append(items.rows(chunk.text(item)))
        for name in numbers:
            columns[name].append(chunk.numbers(name))
    if not user_rows:
        raise DataError(f"{path}: holds no interactions; expected one a line.")
    return Feedback(
        np.concatenate(user_rows),
        np.concatenate(item_rows),
        {name: np.concatenate(parts) for name, parts in columns.items()},
    )


def build_dataset(
    name: str,
    *,
    users: IdTable,
    items: IdTable,
    titles: list[str],
    user_features: Sequence[Encoded],
    item_features: Sequence[Encoded],
    attributes: Mapping[str, list[list[str]]],
    feedback: Feedback,
    tasks: str | Sequence[str] | None,
    engagement: str = "watched",
    rating: str | None = "rating",
    time: str | None = "timestamp",
) -> Dataset:
    """The last step of every loader: labels by rules, order by time, validation.

    Args:
        tasks: Rules of `training.datasets.tasks`; None chooses them by the rating scale.
        engagement: Name of the first task when the rules do not give one.
        rating: Column of the raw rating, if there is one.
        time: Column of unix seconds; where it is absent, the order in the file stands in.
    """
    ratings = feedback.columns.get(rating or "")
    rules = task_rules.parse_rules(
        task_rules.default_rules(ratings) if tasks is None else tasks, engagement=engagement
    )
    count = len(feedback)
    times = feedback.columns.get(time or "")
    return Dataset(
        name=name,
        schema=Schema(
            users=len(users),
            items=len(items),
            user_features=tuple(encoded.feature for encoded in user_features),
            item_features=tuple(encoded.feature for encoded in item_features),
            tasks=tuple(rule.name for rule in rules),
        ),
        user_ids=users.ids(),
        item_ids=items.ids(),
        titles=titles,
        user_features={e.feature.name: e.values for e in user_features},
        item_features={e.feature.name: e.values for e in item_features},
        attributes=dict(attributes),
        interactions=sorted_interactions(
            feedback.user,
            feedback.item,
            np.arange(count) if times is None else times,
            task_rules.labels(rules, feedback.columns, count),
            np.full(count, np.nan) if ratings is None else ratings,
        ),
        user_vocabularies={e.feature.name: e.vocabulary for e in user_features if e.vocabulary},
        item_vocabularies={e.feature.name: e.vocabulary for e in item_features if e.vocabulary},
    )
