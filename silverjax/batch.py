"""Stage 1: what goes into the model, as pytrees of fixed shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flax.struct
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from silverjax.schema import Feature, FeatureKind, Schema


@flax.struct.dataclass
class Users:
    """One row per request or training example.

    Attributes:
        id: User rows; -1 is a user without an id embedding.
        features: By `schema.user_features`, leading axis batch.
        history: Item rows, oldest first, the most recent LAST, -1 padding at the FRONT.
        history_labels: Task labels of those interactions, 0 where padded.
        day: When they ask, in days since the epoch (UTC); `None` is the end of what is known.
    """

    id: Int[Array, "batch"]
    features: dict[str, Array]
    history: Int[Array, "batch h"]
    history_labels: Float[Array, "batch h tasks"]
    day: Int[Array, "batch"] | None = None


@flax.struct.dataclass
class Items:
    """Any arrangement of items.

    Attributes:
        id: Item rows; -1 is an item without an id embedding (a new item).
        features: By `schema.item_features`, leading axes like `id`.
    """

    id: Int[Array, "..."]
    features: dict[str, Array]


def take_items(items: Items, rows: Int[Array, "..."]) -> Items:
    """The items at `rows` of a catalogue (leading axis n); rows must lie in [0, n)."""
    return jax.tree.map(lambda column: column[rows], items)


def pad_histories(
    histories: Sequence[Sequence[int]],
    labels: Sequence[np.ndarray],
    *,
    length: int,
    tasks: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Keeps the last `length` interactions of each user and pads at the front.

    Args:
        histories: Item rows per user, oldest first.
        labels: Per user float [len(history), tasks].
    Returns:
        Rows int32 [users, length], -1 where padded; labels float32 [users, length, tasks].
    """
    rows = np.full((len(histories), length), -1, np.int32)
    label = np.zeros((len(histories), length, tasks), np.float32)
    for row, (history, given) in enumerate(zip(histories, labels, strict=True)):
        kept = min(len(history), length)
        if kept:
            rows[row, -kept:] = np.asarray(history[-kept:], np.int32)
            label[row, -kept:] = np.asarray(given, np.float32)[-kept:]
    return rows, label


def check_users(users: Users, schema: Schema) -> None:
    """Validates a batch at the edge, on the host, before it meets a compiled function.

    Raises:
        ValueError: A feature is missing or unknown, a shape does not fit, or an id is outside
            its table.
    """
    batch = np.shape(users.id)[0]
    _check_rows("user id", np.asarray(users.id), schema.users)
    _check_rows("history row", np.asarray(users.history), schema.items)
    want = (*np.shape(users.history), len(schema.tasks))
    if np.shape(users.history_labels) != want or want[0] != batch:
        raise ValueError(
            f"history_labels has shape {np.shape(users.history_labels)}; {batch} users with "
            f"history {np.shape(users.history)} and tasks {schema.tasks} need {want}."
        )
    if users.day is not None and np.shape(users.day) != (batch,):
        raise ValueError(
            f"day has shape {np.shape(users.day)}; it must be ({batch},), one per user, or None."
        )
    _check_features(users.features, schema.user_features, (batch,), "user")


def check_items(items: Items, schema: Schema) -> None:
    """Like `check_users`, for items."""
    _check_rows("item id", np.asarray(items.id), schema.items)
    _check_features(items.features, schema.item_features, np.shape(items.id), "item")


def _check_rows(what: str, rows: np.ndarray, size: int) -> None:
    if rows.size and (rows.min() < -1 or rows.max() >= size):
        bad = rows[(rows < -1) | (rows >= size)].flat[0]
        raise ValueError(
            f"{what} {bad} is outside [0, {size}); use -1 for one that the model does not know."
        )


def _check_features(
    values: Mapping[str, Array], features: Sequence[Feature], leading: tuple[int, ...], owner: str
) -> None:
    names = {feature.name for feature in features}
    if set(values) != names:
        missing, extra = sorted(names - set(values)), sorted(set(values) - names)
        raise ValueError(
            f"{owner} features do not fit the schema: missing {missing}, unknown {extra}; "
            f"it has {sorted(names)}."
        )
    for feature in features:
        value = np.asarray(values[feature.name])
        want = (*leading, feature.width) if feature.kind is FeatureKind.MULTI else leading
        if value.shape != want:
            raise ValueError(
                f"{owner} feature {feature.name!r} has shape {value.shape}; it must be {want}."
            )
        if feature.kind is FeatureKind.NUMERIC:
            if not np.isfinite(value).all():
                raise ValueError(f"{owner} feature {feature.name!r} has a NaN or infinite value.")
        elif value.size and (value.min() < 0 or value.max() >= feature.size):
            raise ValueError(
                f"{owner} feature {feature.name!r} has codes in [{value.min()}, {value.max()}]; "
                f"its vocabulary is [0, {feature.size}) and 0 means unknown."
            )
