"""Times of batches before the first request, on a clock that the test moves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from serving.warm_up import FEWEST, RUNS, warm_up


class Machine:
    """Takes a second for every row, thrice that for the first batch of a size."""

    def __init__(self, hiccup_at: int | None = None) -> None:
        self.now, self.ran = 0.0, list[int]()
        self._hiccup_at = hiccup_at

    def clock(self) -> float:
        return self.now

    def run(self, rows: int) -> None:
        factor = 1.0 if rows in self.ran else 3.0
        if len(self.ran) == self._hiccup_at:
            factor = 100.0
        self.ran.append(rows)
        self.now += factor * rows


def test_first_batches_are_not_counted_and_sizes_take_turns() -> None:
    machine = Machine()
    measured = warm_up(machine.run, (1, 4), budget_s=1e9, clock=machine.clock)
    assert machine.ran == [1, 4] * (RUNS + 1)
    assert measured.typical() == {1: 1.0, 4: 4.0}
    assert Counter(measured.rows.tolist()) == {1: RUNS, 4: RUNS}
    np.testing.assert_array_equal(measured.seconds, measured.rows)
    assert measured.took_s == machine.now


def test_a_hiccup_is_cut_off_at_twice_the_median() -> None:
    machine = Machine(hiccup_at=7)
    measured = warm_up(machine.run, (1, 4), budget_s=1e9, clock=machine.clock)
    assert measured.typical() == {1: 1.0, 4: 4.0}
    assert sorted(measured.seconds.tolist())[-1] == 8.0


@pytest.mark.parametrize("budget", [0.0, 32.0, 60.0])
def test_stays_within_its_budget_but_for_the_fewest_batches(budget: float) -> None:
    machine = Machine()
    measured = warm_up(machine.run, (1, 4), budget_s=budget, clock=machine.clock)
    runs = Counter(measured.rows.tolist())
    assert min(runs.values()) >= FEWEST
    assert machine.now <= max(budget, (3 + FEWEST) * 5.0)
    if budget == 32.0:  # what is left goes to the size that fits in it
        assert (runs[1], runs[4]) == (5, 3)


def test_says_what_it_found() -> None:
    machine = Machine()
    measured = warm_up(machine.run, (2,), budget_s=1e9, clock=machine.clock)
    assert str(measured) == "8 timed batches in 22.00 s; rows: 2 in 2e+03 ms"
