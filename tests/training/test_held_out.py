"""Which choices are kept from the towers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import dataset
from training.held_out import for_towers, held_out


@given(st.lists(st.integers(0, 6), max_size=60), st.sampled_from([0.0, 0.15, 0.5, 0.9]))
def test_the_last_choices_of_each_user_are_held_out(users: list[int], share: float) -> None:
    kept_back = held_out(np.asarray(users, np.int32), share)
    for user in set(users):
        mine = kept_back[np.asarray(users) == user].tolist()
        wanted = int(share * len(mine) + 0.5)
        assert mine == [False] * (len(mine) - wanted) + [True] * wanted


def test_towers_keep_the_rest_in_its_order() -> None:
    seen = dataset().interactions
    left = for_towers(seen, 0.3)
    assert 0.6 < len(left) / len(seen) < 0.8
    assert (np.diff(left.time) >= 0).all()
    for user in np.unique(seen.user):
        before = seen.item[seen.user == user]
        after = left.item[left.user == user]
        np.testing.assert_array_equal(after, before[: len(after)])


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_without_a_share_towers_learn_from_all(share: float) -> None:
    seen = dataset().interactions
    assert (len(for_towers(seen, share)) == len(seen)) == (share == 0.0)
