"""What users did with each item, as data beside the index: the OverArch reads it, nobody trains it.

Two towers cannot have it: an item's embedding is fixed when the index is built. These columns are
looked up for the candidates of a request, as of its moment, and may be replaced without training
(SilverTorch, arXiv 2511.14881: engagement features streamed into the live model).
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int8

from silverjax.batch import Users
from silverjax.quantize import quantize

SECONDS_PER_DAY = 86_400
ALIKE = 3


@dataclasses.dataclass(frozen=True)
class EngagementConfig:
    """What is kept of the interactions with each item.

    Attributes:
        width: Length of a vector; each item has one per way of being alike.
        near: How close two choices of a user are that are chosen "one after the other".
        days: Days of counts that are kept; what is older counts to the first of them.
        windows: Days before a request in which choices are counted, besides all of them.
    """

    width: int = 128
    near: int = 10
    days: int = 400
    windows: tuple[int, ...] = (1, 3, 7, 14, 30)

    def __post_init__(self) -> None:
        for name in ("width", "near", "days"):
            if getattr(self, name) < 1:
                raise ValueError(f"EngagementConfig.{name}={getattr(self, name)} must be >= 1")
        if any(not 1 <= window <= self.days for window in self.windows):
            raise ValueError(
                f"EngagementConfig.windows={self.windows} must lie from 1 to days={self.days}"
            )

    @property
    def counts(self) -> int:
        """Counts per item: one a window, and all."""
        return len(self.windows) + 1


@flax.struct.dataclass
class Engagement:
    """By catalogue row; past the last item zeros.

    Vectors are int8, since the vectors of a request's candidates are most of what OverArch reads.

    Attributes:
        vectors: Times `scales`, vectors whose inner products tell how alike two items are, in
            `ALIKE` ways: in who chooses them, in being chosen one after the other, and in their
            content.
        scales: One for each vector.
        totals: `totals[d, i]`: how often item i was chosen before day `first_day + d`.
        first_day: Days since the epoch (UTC).
    """

    vectors: Int8[Array, "capacity alike m"]
    scales: Float[Array, "capacity alike"]
    totals: Int[Array, "days capacity"]
    first_day: Int[Array, ""]

    @classmethod
    def of(
        cls,
        vectors: Float[np.ndarray, "items alike m"],
        totals: Int[np.ndarray, "days items"],
        *,
        first_day: int,
    ) -> Engagement:
        """Rounds float32 vectors to int8."""
        codes, scales = quantize(jnp.asarray(vectors))
        return cls(codes, scales, jnp.asarray(totals), jnp.int32(first_day))


@flax.struct.dataclass
class Evidence:
    """What engagement says of candidates for users at p positions of their histories.

    Attributes:
        vectors: Of all items, as in `Engagement`.
        scales: Of the vectors.
        history: Rows of the items in the history, -1 where there is none.
        lag: Items back from the position, 0 for the latest; -1 where there is none.
        candidates: Rows of the candidates, -1 past the last one.
        counts: `log(1 + choices)` of the candidates, by window.
    """

    vectors: Int8[Array, "items alike m"]
    scales: Float[Array, "items alike"]
    history: Int[Array, "b h"]
    lag: Int[Array, "b p h"]
    candidates: Int[Array, "b k"]
    counts: Float[Array, "b p w k"]


def no_engagement(capacity: int, config: EngagementConfig) -> Engagement:
    """Of items that nobody has chosen yet."""
    return Engagement(
        vectors=jnp.zeros((capacity, ALIKE, config.width), jnp.int8),
        scales=jnp.zeros((capacity, ALIKE)),
        totals=jnp.zeros((config.days + 1, capacity), jnp.int32),
        first_day=jnp.int32(0),
    )


def check_engagement(engagement: Engagement, config: EngagementConfig, *, items: int) -> None:
    """Raises ValueError if it is of other items or of other sizes than the model's."""
    for name, got, want in (
        ("vectors", np.shape(engagement.vectors), (items, ALIKE, config.width)),
        ("scales", np.shape(engagement.scales), (items, ALIKE)),
        ("totals", np.shape(engagement.totals), (config.days + 1, items)),
    ):
        if got != want:
            raise ValueError(
                f"engagement.{name} has shape {got}; {items} items and {config} need {want}"
            )


def evidence_of(
    engagement: Engagement,
    users: Users,
    rows: Int[Array, "b k"],
    *,
    windows: tuple[int, ...],
    at: Int[Array, "b p"] | None = None,
    day: Int[Array, "b p"] | None = None,
) -> Evidence:
    """Looks up what a request's candidates have to show.

    Args:
        engagement: Beside the index.
        users: Who asks; `users.day` is when.
        rows: Candidates, -1 past the last one.
        windows: Days back to count.
        at: In training, positions of the history to stand at; `None` is its end.
        day: In training, the days of those positions.
    """
    batch, length = users.history.shape
    if at is None:
        at = jnp.full((batch, 1), length - 1)
        day = None if users.day is None else users.day[:, None]
    lag = at[..., None] - jnp.arange(length)
    known = (users.history >= 0)[:, None]
    return Evidence(
        vectors=engagement.vectors,
        scales=engagement.scales,
        history=users.history,
        lag=jnp.where(known, jnp.maximum(lag, -1), -1),
        candidates=rows,
        counts=_counts(engagement, jnp.maximum(rows, 0), at.shape[1], day, windows),
    )


def _counts(
    engagement: Engagement,
    rows: Int[Array, "b k"],
    positions: int,
    day: Int[Array, "b p"] | None,
    windows: tuple[int, ...],
) -> Float[Array, "b p w k"]:
    """`log(1 + choices)` in the full days before `day`; `None` is the day after the last.

    The day itself is left out, so that no training example sees its own choice.
    """
    end = engagement.totals.shape[0] - 1
    if day is None:
        at = jnp.full((len(rows), positions), end)
    else:
        at = jnp.clip(day - engagement.first_day, 0, end)

    days = jnp.stack([*(at - window for window in windows), at], axis=2)  # [b, p, w]
    until = engagement.totals[jnp.maximum(days, 0)[..., None], rows[:, None, None]]
    # The last is of all choices; the others become those within the window.
    within = until[:, :, -1:] - until[:, :, :-1]
    return jnp.log1p(jnp.concatenate([within, until[:, :, -1:]], axis=2).astype(jnp.float32))
