"""Made-up data whose true probabilities are known, of any size.

A user is a mixture over groups, an item belongs to two groups, and the next choice is drawn from

    P(item | user) = sum over the item's groups g of  mixture[user, g] * share[item, g],

where the shares of all items in one group sum to 1 and follow a Zipf law, so that a few items
are popular. Drawing a choice costs two binary searches, so the size is bounded by memory alone,
and the exact distribution over all items is one small product. Other tasks are logistic in an
inner product of tastes plus the quality of the item: what is chosen most is not what is liked
most. User features betray the mixture, item features the groups, both with noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from training.datasets.build import Feedback, build_dataset
from training.datasets.dataset import Dataset
from training.datasets.encode import Encoded, categorical, multi, numeric
from training.datasets.tables import IdTable

_TASTES = 8
_ROUNDS = 50  # draws thrown away as repeats are drawn again at most so often
_START, _YEAR = 1_600_000_000, 365 * 86_400  # seconds
_LANGUAGES = ("en", "fr", "es", "de", "ja", "hi", "ko", "it", "pt", "sv")
_SKEW = 1.1  # exponent of the Zipf law of popularity; about that of film ratings
DEFAULT_TASKS = ("watched=*", "liked=liked>=1", "shared=shared>=1")


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """What a perfect model would know.

    Attributes:
        mixture: float64 [users, groups], rows sum to 1.
        groups: int64 [items, 2], the two different groups of each item.
        shares: float64 [items, 2], the item's share of the choices in each of its groups.
        user_taste: float64 [tasks, users, tastes], for the tasks after engagement.
        item_taste: float64 [tasks, items, tastes].
        item_bias: float64 [tasks, items].
    """

    mixture: np.ndarray
    groups: np.ndarray
    shares: np.ndarray
    user_taste: np.ndarray
    item_taste: np.ndarray
    item_bias: np.ndarray

    def choice(self, users: np.ndarray) -> np.ndarray:
        """float64 [len(users), items]: the probability that a draw is each item; rows sum to 1.

        It is that of one draw on its own. The data set holds every (user, item) once, so it
        is drawn from this distribution without repeats.
        """
        return np.einsum("bik,ik->bi", self.mixture[users][:, self.groups], self.shares)

    def task(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float64 [tasks, len(users)]: P(label = 1) of user-item pairs, tasks after engagement."""
        match = np.einsum("tnd,tnd->tn", self.user_taste[:, users], self.item_taste[:, items])
        return 1.0 / (1.0 + np.exp(-(match + self.item_bias[:, items])))


def generate(
    *,
    users: int = 1000,
    items: int = 500,
    interactions: int = 30_000,
    groups: int = 16,
    seed: int = 0,
    tasks: str | Sequence[str] | None = None,
) -> tuple[Dataset, GroundTruth]:
    """Draws a data set and returns it with the truth behind it; equal arguments, equal data.

    Args:
        users: Rows of the user table; each has at least one interaction.
        items: Rows of the item table; the least popular ones may have none.
        interactions: How many (user, item) pairs; at most half of all pairs, so that drawing
            without repeats ends.
        groups: Kinds of items; more make the choice harder to model.
        seed: Seed of everything.
        tasks: Rules over the columns `liked`, `shared` (0 or 1); None takes DEFAULT_TASKS.
    Raises:
        ValueError: A size is out of range; says which one and the limit.
    """
    _check_sizes(users, items, interactions, groups)
    rng = np.random.default_rng(seed)
    truth = _draw_truth(rng, users, items, groups)
    user, item = _draw_choices(rng, truth, users, items, interactions)
    labels = rng.random((2, len(user))) < truth.task(user, item)
    columns = {
        "liked": labels[0].astype(np.float64),
        "shared": labels[1].astype(np.float64),
        "timestamp": _times(rng, user, users),
    }
    user_table, item_table = IdTable(), IdTable()
    user_table.rows([f"u{row}" for row in range(users)])
    item_table.rows([f"i{row}" for row in range(items)])
    item_features, attributes = _item_side(rng, truth)
    dataset = build_dataset(
        "synthetic",
        users=user_table,
        items=item_table,
        titles=[f"Item {row}" for row in range(items)],
        user_features=_user_side(rng, truth),
        item_features=item_features,
        attributes=attributes,
        feedback=Feedback(user, item, columns),
        tasks=DEFAULT_TASKS if tasks is None else tasks,
        rating=None,
    )
    return dataset, truth


def _check_sizes(users: int, items: int, interactions: int, groups: int) -> None:
    if users < 1 or items < 2:
        raise ValueError(f"synthetic: {users=} must be at least 1 and {items=} at least 2.")
    if not 2 <= groups <= items:
        raise ValueError(f"synthetic: {groups=} must lie between 2 and {items=}.")
    if not users <= interactions <= users * items // 2:
        raise ValueError(
            f"synthetic: {interactions=} must lie between {users=} (one each) and half of all "
            f"pairs, {users * items // 2}."
        )


def _draw_truth(rng: np.random.Generator, users: int, items: int, groups: int) -> GroundTruth:
    mixture = rng.dirichlet(np.full(groups, 0.3), users)
    first = rng.permutation(items) % groups  # every group gets items
    second = (first + rng.integers(1, groups, items)) % groups
    member = np.stack([first, second], axis=1)
    popularity = (1.0 + rng.permutation(items)) ** -_SKEW
    weight = popularity[:, None] * np.array([0.75, 0.25])
    totals = np.bincount(member.ravel(), weight.ravel(), minlength=groups)
    taste = rng.normal(0, _TASTES**-0.25, (2, users + items, _TASTES))
    # A quality of the item's own, apart from its popularity: 40 % are liked, 10 % shared.
    bias = rng.normal(np.array([[-0.4], [-2.6]]), 0.7, (2, items))
    return GroundTruth(
        mixture, member, weight / totals[member], taste[:, :users], taste[:, users:], bias
    )


def _draw_choices(
    rng: np.random.Generator, truth: GroundTruth, users: int, items: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) pairs in the order in which they were drawn."""
    activity = rng.lognormal(0, 1, users)
    activity = np.cumsum(activity / activity.sum())
    # User u's cumulative mixture lies in (u, u + 1], so that all users share one search.
    groups = truth.mixture.shape[1]
    by_mixture = (np.cumsum(truth.mixture, axis=1) + np.arange(users)[:, None]).ravel()
    # Items of group g in one run, so that a draw within a group is one search in a cumulative sum.
    order = np.argsort(truth.groups.ravel(), kind="stable")
    within = np.cumsum(truth.shares.ravel()[order])
    starts = np.searchsorted(truth.groups.ravel()[order], np.arange(groups))
    base = np.concatenate([[0.0], within])[starts]

    pairs = np.zeros(0, np.int64)
    for round_ in range(_ROUNDS):
        missing = count - len(pairs)
        # In order of users while searching (five times faster than at random places), then mixed.
        drawn = np.searchsorted(activity, np.sort(rng.random(missing + missing // 4)))
        mixed = rng.permutation(len(drawn))
        if round_ == 0:  # one for everyone, and these come first so that none is cut off
            drawn = np.concatenate([np.arange(users), drawn])
            mixed = np.concatenate([rng.permutation(users), users + mixed])
        drawn = np.minimum(drawn, users - 1)
        group = np.searchsorted(by_mixture, drawn + rng.random(len(drawn))) - drawn * groups
        group = np.clip(group, 0, groups - 1)
        place = np.searchsorted(within, base[group] + rng.random(len(drawn)), side="right")
        item = order[np.minimum(place, len(order) - 1)] // 2
        pairs = np.concatenate([pairs, (drawn * items + item)[mixed]])
        pairs = pairs[np.sort(np.unique(pairs, return_index=True)[1])][:count]
        if len(pairs) == count:
            break
    if len(pairs) < count:
        raise ValueError(
            f"synthetic: only {len(pairs)} of interactions={count} distinct pairs were found, "
            "because active users have chosen all they like; ask for fewer."
        )
    return pairs // items, pairs % items


def _times(rng: np.random.Generator, user: np.ndarray, users: int) -> np.ndarray:
    """Each user begins some day of the year and goes on for weeks, in the order drawn."""
    begin = rng.uniform(0, _YEAR, users)
    gaps = rng.exponential(86_400, len(user))
    order = np.argsort(user, kind="stable")
    total = np.cumsum(gaps[order])
    first = np.searchsorted(user[order], np.arange(users))
    since = total - np.concatenate([[0.0], total])[first][user[order]]
    times = np.empty(len(user))
    times[order] = begin[user[order]] + since
    return _START + np.floor(times)


def _user_side(rng: np.random.Generator, truth: GroundTruth) -> list[Encoded]:
    users, groups = truth.mixture.shape
    # One user in ten states a favourite at random.
    favourite = np.where(
        rng.random(users) < 0.1, rng.integers(0, groups, users), truth.mixture.argmax(axis=1)
    )
    top = np.argsort(-truth.mixture, axis=1)[:, : min(3, groups)]
    stated = rng.random(top.shape) < 0.7
    ages = np.array(["18-24", "25-34", "35-44", "45-plus"])[rng.integers(0, 4, users)]
    # The first taste that decides "liked" shows as a number: a feature that helps one task only.
    patience = truth.user_taste[0, :, 0] + rng.normal(0, 0.3, users)
    return [
        categorical("favourite", [f"c{g}" for g in favourite]),
        multi(
            "interests",
            [[f"c{g}" for g in row[keep]] for row, keep in zip(top, stated, strict=True)],
        ),
        categorical("age", ages.tolist()),
        numeric("patience", patience),
    ]


def _item_side(
    rng: np.random.Generator, truth: GroundTruth
) -> tuple[list[Encoded], dict[str, list[list[str]]]]:
    items, groups = len(truth.groups), truth.mixture.shape[1]
    category = [sorted({f"c{g}" for g in row}) for row in truth.groups]
    chance = 1.0 / np.arange(1, len(_LANGUAGES) + 1)
    language = rng.choice(_LANGUAGES, items, p=chance / chance.sum())
    # A creator stays in one group, and the first ones of a group make most of its items.
    makers = max(1, items // (groups * 5))
    maker = np.minimum(rng.geometric(min(0.5, 3 / makers), items) - 1, makers - 1)
    creator = [f"m{g}_{m}" for g, m in zip(truth.groups[:, 0], maker, strict=True)]
    decade = [f"{year}s" for year in 1980 + 10 * rng.integers(0, 5, items)]
    minutes = np.exp(rng.normal(3 + 0.1 * (truth.groups[:, 0] % 5), 0.4))
    features = [
        multi("category", category),
        categorical("language", language.tolist()),
        categorical("creator", creator),
        categorical("decade", decade),
        numeric("minutes", np.log(minutes)),
    ]
    attributes = {
        "category": category,
        "language": [[value] for value in language.tolist()],
        "creator": [[value] for value in creator],
        "decade": [[value] for value in decade],
    }
    return features, attributes
