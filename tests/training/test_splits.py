from __future__ import annotations

from collections import defaultdict

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from training.datasets.dataset import Interactions, sorted_interactions
from training.splits import Cases, global_time, leave_last_out, make_split


def made(rows: list[tuple[int, int, int]]) -> Interactions:
    """From (user, item, time) in the order of a file; the second label tells the place there."""
    user, item, time = (np.array(column) for column in zip(*rows))
    labels = np.stack([np.ones(len(rows)), np.arange(len(rows))], axis=1)
    return sorted_interactions(user, item, time, labels, np.full(len(rows), 3.0))


def lists(cases: Cases, what: str) -> dict[int, list[int]]:
    ragged = getattr(cases, what)
    return {
        int(user): ragged.items[ragged.starts[at] : ragged.starts[at + 1]].tolist()
        for at, user in enumerate(cases.user)
    }


ROWS = [
    (7, 10, 300), (7, 11, 100), (7, 12, 200), (7, 13, 400),
    (2, 10, 150), (2, 14, 350), (2, 11, 250),
    (5, 10, 120), (5, 12, 130),
]  # fmt: skip


def test_leave_last_out_by_hand() -> None:
    split = leave_last_out(made(ROWS))
    assert lists(split.test, "targets") == {2: [14], 7: [13]}
    assert lists(split.test, "history") == {2: [10, 11], 7: [11, 12, 10]}
    assert lists(split.validation, "targets") == {2: [11], 7: [10]}
    assert lists(split.validation, "history") == {2: [10], 7: [11, 12]}
    # User 5 has two interactions: to learn from, not to evaluate.
    assert sorted(zip(split.train.user.tolist(), split.train.item.tolist())) == [
        (2, 10), (5, 10), (5, 12), (7, 11), (7, 12),
    ]  # fmt: skip
    assert len(split.refit) == len(split.train) + 2
    assert split.test.time.tolist() == [350, 400]


def test_ties_in_time_go_by_the_order_in_the_file() -> None:
    rows = [(0, item, 50) for item in (4, 1, 3, 2)]
    split = leave_last_out(made(rows))
    assert lists(split.test, "targets") == {0: [2]}
    assert lists(split.validation, "targets") == {0: [3]}
    assert lists(split.test, "history") == {0: [4, 1, 3]}


def test_items_seen_before_are_no_targets() -> None:
    # User 0 ends with an item chosen before: nothing to foresee, so no test case.
    rows = [(0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 1, 4), (1, 1, 1), (1, 2, 2), (1, 3, 3)]
    split = leave_last_out(made(rows))
    assert lists(split.test, "targets") == {1: [3]}
    assert lists(split.validation, "targets") == {0: [3], 1: [2]}


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    row = st.tuples(st.integers(0, 5), st.integers(0, 8), st.integers(0, 20))
    return draw(st.lists(row, min_size=1, max_size=60))


@given(logs())
def test_leave_last_out_matches_plain_python(rows: list[tuple[int, int, int]]) -> None:
    log: dict[int, list[int]] = defaultdict(list)
    for user, item, _ in sorted(rows, key=lambda row: row[2]):  # stable: ties by the file
        log[user].append(item)
    test = {u: own[-1:] for u, own in log.items() if len(own) >= 3 and own[-1] not in own[:-1]}
    if not test or not any(len(own) >= 3 and own[-2] not in own[:-2] for own in log.values()):
        with pytest.raises(ValueError, match="leaves no"):
            leave_last_out(made(rows))
        return
    split = leave_last_out(made(rows))
    assert lists(split.test, "targets") == test
    assert lists(split.test, "history") == {user: log[user][:-1] for user in test}


@given(logs(), st.floats(0.3, 0.6))
def test_global_time_matches_plain_python(
    rows: list[tuple[int, int, int]], validation_from: float
) -> None:
    times = sorted(time for _, _, time in rows)
    middle, late = times[int(validation_from * len(times))], times[int(0.8 * len(times))]
    try:
        split = global_time(made(rows), validation_from=validation_from, test_from=0.8)
    except ValueError as error:
        assert "leaves no" in str(error)
        return
    assert split.train.time.max() < middle
    assert split.refit.time.max() < late
    assert len(split.refit) == sum(time < late for time in times)
    want: dict[int, list[int]] = {}
    for user, item, time in sorted(rows, key=lambda row: row[2]):
        past = {i for u, i, t in rows if u == user and t < late}
        if time >= late and past and item not in past and item not in want.get(user, []):
            want.setdefault(user, []).append(item)
    assert lists(split.test, "targets") == want


def test_lists_are_padded_as_the_model_wants_them() -> None:
    cases = leave_last_out(made(ROWS)).test  # users 2 and 7
    items, labels = cases.history_of(np.array([1, -1, 0]), width=3)
    np.testing.assert_array_equal(items, [[11, 12, 10], [-1, -1, -1], [-1, 10, 11]])
    np.testing.assert_array_equal(labels[..., 1], [[1, 2, 0], [0, 0, 0], [0, 4, 6]])
    assert labels[2, 0].tolist() == [0, 0]
    # The most recent ones stay where there is no room for all.
    np.testing.assert_array_equal(cases.history_of(np.array([1]), width=2)[0], [[12, 10]])
    np.testing.assert_array_equal(cases.targets_of(np.array([0, -1]))[0], [[14], [-1]])
    assert cases.targets_of(np.array([0]), width=3)[0].tolist() == [[14, -1, -1]]
    np.testing.assert_array_equal(cases.seen_by(np.array([0])), [[-1, 10, 11]])
    with pytest.raises(ValueError, match="width=0 must be at least 1"):
        cases.history_of(np.array([0]), width=0)


def test_splits_reject_what_leaves_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="of 2 users, none has min_interactions=3 or more .* is 2"):
        leave_last_out(made([(0, 1, 1), (0, 2, 2), (1, 1, 1)]))
    with pytest.raises(ValueError, match="min_interactions=2 must be at least 3"):
        leave_last_out(made(ROWS), min_interactions=2)
    with pytest.raises(ValueError, match="leaves none for train"):
        global_time(made([(0, item, 5) for item in range(9)]))
    with pytest.raises(ValueError, match="no user to evaluate in validation"):
        global_time(made([(user, 1, user) for user in range(20)]))
    with pytest.raises(ValueError, match="validation_from=0.9 and test_from=0.8 must satisfy"):
        global_time(made(ROWS), validation_from=0.9, test_from=0.8)
    with pytest.raises(ValueError, match="0 interactions"):
        leave_last_out(made(ROWS).take(np.zeros(len(ROWS), bool)))


def test_splits_reject_interactions_out_of_order() -> None:
    backwards = made(ROWS).take(np.arange(len(ROWS))[::-1])
    with pytest.raises(ValueError, match="must be sorted by time: number 1 is older"):
        leave_last_out(backwards)


def test_make_split_knows_its_names() -> None:
    assert make_split("leave-last-out", made(ROWS)).name == "leave-last-out"
    with pytest.raises(ValueError, match="unknown split 'random'; choose one of leave-last-out"):
        make_split("random", made(ROWS))
