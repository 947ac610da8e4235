from __future__ import annotations

import numpy as np
import pytest

from training.datasets import DataError, tasks


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("rating>=4", [0, 1, 1, 0]),
        ("rating>4", [0, 0, 1, 0]),
        ("rating<=2", [1, 0, 0, 0]),
        ("rating<2", [0, 0, 0, 0]),
        ("rating==4", [0, 1, 0, 0]),
        ("rating!=4", [1, 0, 1, 0]),
        (" rating >= 4.5 ", [0, 0, 1, 0]),
    ],
)
def test_condition_holds_where_it_says_and_never_for_missing(
    condition: str, expected: list[int]
) -> None:
    columns = {"rating": np.array([2.0, 4.0, 5.0, np.nan])}
    rules = tasks.parse_rules([f"x={condition}"])
    labels = tasks.labels(rules, columns, 4)
    assert labels.dtype == np.float32
    assert labels[:, 0].tolist() == [1, 1, 1, 1]
    assert labels[:, 1].tolist() == expected


def test_rules_may_come_in_one_string_and_engagement_is_put_first() -> None:
    rules = tasks.parse_rules("liked=rating>=4,disliked=rating<=2", engagement="seen")
    assert [rule.name for rule in rules] == ["seen", "liked", "disliked"]
    assert tasks.parse_rules(["click=*"])[0] == tasks.Rule("click", None)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("liked", "has no '='"),
        ("liked=rating", "cannot read the condition 'rating'"),
        ("liked=rating>=four", "'four' is not a number"),
        ("li ked=rating>=4", "task name 'li ked'"),
        ("liked=rating=>4", "cannot read the condition"),
        ("=rating>=4", "task name ''"),
    ],
)
def test_rejects_a_malformed_rule(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tasks.parse_rules([rule])
    assert "Write name=column>=number" in str(caught.value)
    assert rule in str(caught.value)


def test_rejects_doubled_names_and_misplaced_engagement() -> None:
    with pytest.raises(ValueError, match="'a' is defined twice"):
        tasks.parse_rules(["a=rating>=4", "a=rating>=3"])
    with pytest.raises(ValueError, match="the first, is engagement"):
        tasks.parse_rules(["a=rating>=4", "seen=*"])


def test_unknown_column_lists_what_there_is() -> None:
    rules = tasks.parse_rules(["x=stars>=4"])
    with pytest.raises(DataError, match=r"'stars' does not exist.*have: rating, timestamp"):
        tasks.labels(rules, {"rating": np.ones(1), "timestamp": np.ones(1)}, 1)


@pytest.mark.parametrize(
    ("ratings", "names"),
    [
        ([1, 3, 5], {"liked": 4, "disliked": 2}),
        ([0.5, 4.5], {"liked": 4, "disliked": 2}),
        ([1, 10], {"liked": 8, "disliked": 5}),
        ([1, 1, 1], {}),
        ([0, 1], {}),
        ([-10, 10], {}),
        ([0, 300], {}),
        ([], {}),
    ],
)
def test_default_rules_follow_the_scale(ratings: list[float], names: dict[str, float]) -> None:
    rules = tasks.parse_rules(tasks.default_rules(np.array(ratings, float)))
    assert rules[0] == tasks.Rule("watched", None)
    assert {r.name: r.condition.threshold for r in rules[1:] if r.condition} == names
