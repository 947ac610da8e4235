"""Which interactions a model may learn from, and which it must foresee.

Both splits go by time. A random split lets a model see a user's future, which makes every
method look better than it is (Meng et al., "Exploring Data Splitting Strategies for the
Evaluation of Recommendation Models", RecSys 2020).

Hyper-parameters are chosen with `train` -> `validation`. The figures that are reported come
from models fitted again on `refit` (train and validation together) -> `test`: the same data for
every method, and none of them has to foresee a click that lies just after one it never saw.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from training.datasets.dataset import Interactions

SPLITS = ("leave-last-out", "global-time")


class Ragged(NamedTuple):
    """Lists of interactions of different lengths, end to end.

    Attributes:
        items: int32 [total], item rows.
        labels: float32 [total, tasks].
        starts: int64 [lists + 1]; list `i` is `[starts[i], starts[i + 1])`.
    """

    items: np.ndarray
    labels: np.ndarray
    starts: np.ndarray

    def longest(self) -> int:
        return int(np.diff(self.starts).max(initial=0))


@dataclasses.dataclass(frozen=True)
class Cases:
    """Users to evaluate, each at one moment.

    A case is a user, all that user did before the moment (oldest first), and the items chosen
    from then on that the user had not chosen before. Items seen before are never recommended,
    so they are no targets either.

    Attributes:
        user: int32 [n], user rows.
        time: int64 [n], unix seconds of the first target.
        history: What the user did before, one list per case, oldest first.
        targets: What is to be foreseen, one list per case, none of them empty.
    """

    user: np.ndarray
    time: np.ndarray
    history: Ragged
    targets: Ragged

    def __len__(self) -> int:
        return len(self.user)

    def history_of(self, cases: np.ndarray, *, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the last `width` interactions of some cases.

        Args:
            cases: int [b], positions in this object; -1 gives an empty history.
            width: Interactions to keep per case.
        Returns:
            Item rows int32 [b, width], most recent last, -1 padding at the front; task labels
            float32 [b, width, tasks], 0 where padded.
        """
        return _pad(self.history, cases, width, align="right")

    def targets_of(
        self, cases: np.ndarray, *, width: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns item rows int32 [b, m], -1 padding at the end, and labels float32 [b, m, tasks].

        Args:
            cases: int [b], positions in this object; -1 gives no target.
            width: `m`; the longest target list of all cases if absent.
        """
        return _pad(self.targets, cases, width or self.targets.longest(), align="left")

    def seen_by(self, cases: np.ndarray, *, width: int | None = None) -> np.ndarray:
        """Returns the items to leave out of a ranking, int32 [b, width], -1 padding at the front.

        `width` defaults to the longest history of all cases, so that no seen item is forgotten
        and every batch has the same shape.
        """
        return self.history_of(cases, width=width or self.history.longest())[0]


@dataclasses.dataclass(frozen=True)
class Split:
    """One way to cut a data set.

    Attributes:
        name: One of `SPLITS`.
        train: Interactions to learn from while choosing hyper-parameters.
        validation: Cases to choose hyper-parameters by; their histories lie within `train`.
        refit: `train` and the validation interactions, to learn from before the test.
        test: Cases to report; their histories lie within `refit`.
    """

    name: str
    train: Interactions
    validation: Cases
    refit: Interactions
    test: Cases


def make_split(name: str, interactions: Interactions) -> Split:
    """Cuts `interactions` by the split called `name`, with its default settings."""
    if name == "leave-last-out":
        return leave_last_out(interactions)
    if name == "global-time":
        return global_time(interactions)
    raise ValueError(f"unknown split {name!r}; choose one of {', '.join(SPLITS)}")


def leave_last_out(interactions: Interactions, *, min_interactions: int = 3) -> Split:
    """Holds out each user's last interaction for the test and the one before it for validation.

    Users with fewer than `min_interactions` are learned from but not evaluated. Where two
    interactions of a user bear the same second, the order of `interactions` decides, which is
    the order in the file.

    Raises:
        ValueError: `min_interactions` is below 3, or no user has that many.
    """
    if min_interactions < 3:
        raise ValueError(
            f"{min_interactions=} must be at least 3: one interaction to learn from, one to "
            "validate on, one to test on"
        )
    _check(interactions)
    by_user = np.argsort(interactions.user, kind="stable")
    users = interactions.user[by_user]
    last = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    count = np.diff(np.append(-1, last))
    last = last[count >= min_interactions]
    if not last.size:
        raise ValueError(
            f"leave-last-out leaves nothing to evaluate: of {count.size} users, none has "
            f"min_interactions={min_interactions} or more (the most is {count.max()})"
        )
    test = np.zeros(len(users), bool)
    test[by_user[last]] = True
    validation = np.zeros(len(users), bool)
    validation[by_user[last - 1]] = True
    return _cut("leave-last-out", interactions, validation, test, min_history=1)


def global_time(
    interactions: Interactions,
    *,
    validation_from: float = 0.8,
    test_from: float = 0.9,
    min_history: int = 1,
) -> Split:
    """Cuts all users at the same two moments: nobody learns from anybody's future.

    Args:
        interactions: What happened, sorted by time.
        validation_from: Share of the interactions that lie before the validation period.
        test_from: Share of the interactions that lie before the test period. All interactions
            of one second fall on the same side.
        min_history: Interactions before a period that a user needs to be evaluated in it.

    Raises:
        ValueError: The shares are not 0 < validation_from < test_from < 1, or a period is empty.
    """
    if not 0 < validation_from < test_from < 1:
        raise ValueError(
            f"{validation_from=} and {test_from=} must satisfy 0 < validation_from < test_from < 1"
        )
    _check(interactions)
    time = interactions.time
    first = time[int(validation_from * len(time))]
    second = time[int(test_from * len(time))]
    return _cut(
        "global-time",
        interactions,
        (time >= first) & (time < second),
        time >= second,
        min_history=max(1, min_history),
    )


def _check(interactions: Interactions) -> None:
    if not len(interactions.user):
        raise ValueError("cannot split an empty data set: it has 0 interactions")
    backwards = np.flatnonzero(np.diff(interactions.time) < 0)
    if backwards.size:
        raise ValueError(
            f"interactions must be sorted by time: number {backwards[0] + 1} is older than the "
            "one before it"
        )


def _cut(
    name: str,
    interactions: Interactions,
    validation: np.ndarray,
    test: np.ndarray,
    *,
    min_history: int,
) -> Split:
    """Builds a split from two disjoint masks [N]; everything in neither is training data."""
    train = ~validation & ~test
    for part, mask in (("train", train), ("validation", validation), ("test", test)):
        if not mask.any():
            raise ValueError(
                f"the {name} split of {len(mask)} interactions leaves none for {part}; use more "
                "data or other split settings"
            )
    cases = {
        "validation": _cases(interactions, train, validation, min_history),
        "test": _cases(interactions, ~test, test, min_history),
    }
    for part, found in cases.items():
        if not len(found):
            raise ValueError(
                f"the {name} split leaves no user to evaluate in {part}: no user has "
                f"{min_history} earlier interaction(s) and a new item in that period"
            )
    return Split(
        name=name,
        train=interactions.take(train),
        validation=cases["validation"],
        refit=interactions.take(~test),
        test=cases["test"],
    )


def _cases(
    interactions: Interactions, past: np.ndarray, future: np.ndarray, min_history: int
) -> Cases:
    """Pairs each user's `past` [N] with that user's `future` [N] of items not seen before."""
    user, item = interactions.user.astype(np.int64), interactions.item.astype(np.int64)
    pair = user * (item.max() + 1) + item
    chosen = np.flatnonzero(future & ~np.isin(pair, pair[past]))
    # An item chosen twice in one period is one target: its first time.
    chosen = chosen[np.sort(np.unique(pair[chosen], return_index=True)[1])]
    seen = np.bincount(user[past], minlength=int(user.max()) + 1)
    chosen = chosen[seen[user[chosen]] >= min_history]
    users = np.unique(user[chosen])
    targets = _lists(interactions, chosen, users)
    history = _lists(interactions, np.flatnonzero(past & np.isin(user, users)), users)
    first = np.full(int(user.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, user[chosen], interactions.time[chosen])
    return Cases(users.astype(np.int32), first[users], history, targets)


def _lists(interactions: Interactions, chosen: np.ndarray, users: np.ndarray) -> Ragged:
    """Groups interactions `chosen` (positions in order of time) by user, in order of `users`."""
    order = chosen[np.argsort(interactions.user[chosen], kind="stable")]
    starts = np.searchsorted(interactions.user[order], users)
    return Ragged(
        interactions.item[order],
        interactions.labels[order],
        np.append(starts, len(order)).astype(np.int64),
    )


def _pad(
    ragged: Ragged, cases: np.ndarray, width: int, *, align: str
) -> tuple[np.ndarray, np.ndarray]:
    """Copies some lists into one array [b, width]: the first of each, or with "right" the last."""
    if width < 1:
        raise ValueError(f"{width=} must be at least 1")
    cases = np.asarray(cases)
    known = cases >= 0
    begin = np.where(known, ragged.starts[cases], 0)[:, None]
    end = np.where(known, ragged.starts[cases + 1], 0)[:, None]
    column = np.arange(width)[None]
    at = end - width + column if align == "right" else begin + column
    filled = (at >= begin) & (at < end)
    at = np.where(filled, at, 0)
    items = np.where(filled, ragged.items[at], -1).astype(np.int32)
    labels = np.where(filled[..., None], ragged.labels[at], 0).astype(np.float32)
    return items, labels
