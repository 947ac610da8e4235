"""The one in-memory form of every data set, whatever files it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from silverjax.schema import Feature, FeatureKind, Schema
from training.datasets.errors import DataError


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Timed choices of items by users, sorted by time, ties by (user, order in the file).

    Attributes:
        user: int32 [n], user rows.
        item: int32 [n], item rows.
        time: int64 [n], unix seconds; the place in the file where a source has no times.
        labels: float32 [n, tasks], in the order of `schema.tasks`; column 0 is 1 everywhere.
        value: float32 [n], the raw rating, nan where the source has none.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    labels: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Interactions:
        """Keeps `rows` (a mask or sorted positions), in their order."""
        fields = (field.name for field in dataclasses.fields(self))
        return Interactions(**{name: getattr(self, name)[rows] for name in fields})


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Users, items and what happened between them.

    Attributes:
        name: Name of the data set.
        schema: Sizes, features and tasks, as the model sees them.
        user_ids: str [users], external id of each user row.
        item_ids: str [items], external id of each item row.
        titles: Readable title of each item row.
        user_features: One array per `schema.user_features`, leading axis users.
        item_features: One array per `schema.item_features`, leading axis items.
        attributes: Filter features: name -> per item row its readable values.
        interactions: What happened, in order of time.
        user_vocabularies: Readable values of each categorical or multi user feature; entry 0
            is the unknown value "". Encodes the profile of a user the data set never saw.
        item_vocabularies: The same for item features: encodes new items.
    """

    name: str
    schema: Schema
    user_ids: np.ndarray
    item_ids: np.ndarray
    titles: list[str]
    user_features: dict[str, np.ndarray]
    item_features: dict[str, np.ndarray]
    attributes: dict[str, list[list[str]]]
    interactions: Interactions
    user_vocabularies: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    item_vocabularies: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        validate(self)

    def filter_core(self, k: int) -> Dataset:
        """Keeps users and items with at least `k` interactions each, and renumbers the rows.

        Removing an item may take a user below `k` and the reverse, so it repeats until
        nothing changes; the result is the largest such subset. Vocabularies and feature
        encodings stay as they are. `k=0` changes nothing.

        Raises:
            ValueError: `k` is negative.
            DataError: Nothing is left.
        """
        if k < 0:
            raise ValueError(f"filter_core: k={k} must be 0 or more.")
        if k == 0:
            return self
        seen = self.interactions
        keep = np.ones(len(seen), bool)
        while True:
            users = np.bincount(seen.user[keep], minlength=self.schema.users) >= k
            items = np.bincount(seen.item[keep], minlength=self.schema.items) >= k
            smaller = keep & users[seen.user] & items[seen.item]
            if smaller.sum() == keep.sum():
                break
            keep = smaller
        if not keep.any():
            raise DataError(
                f"{self.name}: no user and item have {k} interactions each; choose a smaller k."
            )
        return self._select(np.flatnonzero(users), np.flatnonzero(items), seen.take(keep))

    def _select(self, users: np.ndarray, items: np.ndarray, seen: Interactions) -> Dataset:
        """The data set of some user rows and item rows, renumbered from 0."""
        new_user = np.full(self.schema.users, -1, np.int32)
        new_user[users] = np.arange(len(users))
        new_item = np.full(self.schema.items, -1, np.int32)
        new_item[items] = np.arange(len(items))
        return dataclasses.replace(
            self,
            schema=dataclasses.replace(self.schema, users=len(users), items=len(items)),
            user_ids=self.user_ids[users],
            item_ids=self.item_ids[items],
            titles=[self.titles[i] for i in items],
            user_features={k: v[users] for k, v in self.user_features.items()},
            item_features={k: v[items] for k, v in self.item_features.items()},
            attributes={k: [v[i] for i in items] for k, v in self.attributes.items()},
            interactions=dataclasses.replace(
                seen, user=new_user[seen.user], item=new_item[seen.item]
            ),
        )


def sorted_interactions(
    user: np.ndarray, item: np.ndarray, time: np.ndarray, labels: np.ndarray, value: np.ndarray
) -> Interactions:
    """Puts interactions in order of time, ties by (user, order in the file)."""
    order = np.lexsort(
        (user, time)
    )  # stable, so that the order in the file breaks what ties remain
    return Interactions(
        user=np.asarray(user, np.int32)[order],
        item=np.asarray(item, np.int32)[order],
        time=np.asarray(time, np.int64)[order],
        labels=np.asarray(labels, np.float32)[order],
        value=np.asarray(value, np.float32)[order],
    )


def validate(dataset: Dataset) -> None:
    """Checks every promise that the types above make.

    Raises:
        DataError: Names the field, what was found and what must hold.
    """
    schema, seen, name = dataset.schema, dataset.interactions, dataset.name
    if not len(seen):
        raise DataError(f"{name}: no interactions; a data set needs at least one.")
    for what, got, want in (
        ("user_ids", len(dataset.user_ids), schema.users),
        ("item_ids", len(dataset.item_ids), schema.items),
        ("titles", len(dataset.titles), schema.items),
        *((f"interactions.{k}", len(getattr(seen, k)), len(seen)) for k in ("item", "time")),
        *((f"interactions.{k}", len(getattr(seen, k)), len(seen)) for k in ("labels", "value")),
        *((f"attributes[{k!r}]", len(v), schema.items) for k, v in dataset.attributes.items()),
    ):
        if got != want:
            raise DataError(f"{name}: {what} has {got} rows, expected {want}.")
    _check_rows(name, "user", seen.user, schema.users)
    _check_rows(name, "item", seen.item, schema.items)
    if seen.labels.shape != (len(seen), len(schema.tasks)):
        raise DataError(
            f"{name}: labels have shape {seen.labels.shape}, expected "
            f"({len(seen)}, {len(schema.tasks)}), one column for each of {schema.tasks}."
        )
    if not (seen.labels[:, 0] == 1).all():
        raise DataError(f"{name}: the first task, {schema.tasks[0]!r}, is engagement: always 1.")
    if (np.diff(seen.time) < 0).any():
        raise DataError(f"{name}: interactions are not sorted by time; see sorted_interactions.")
    _check_features(name, schema.user_features, dataset.user_features, schema.users)
    _check_features(name, schema.item_features, dataset.item_features, schema.items)


def _check_rows(name: str, what: str, rows: np.ndarray, size: int) -> None:
    if rows.min() < 0 or rows.max() >= size:
        raise DataError(
            f"{name}: interactions.{what} holds rows {rows.min()}..{rows.max()}; "
            f"there are {size} {what}s, so rows must lie in 0..{size - 1}."
        )


def _check_features(
    name: str, features: Sequence[Feature], arrays: Mapping[str, Any], rows: int
) -> None:
    if {f.name for f in features} != set(arrays):
        raise DataError(
            f"{name}: feature arrays {sorted(arrays)} do not match the schema's "
            f"{sorted(f.name for f in features)}."
        )
    for feature in features:
        array = arrays[feature.name]
        shape = (rows, feature.width) if feature.kind is FeatureKind.MULTI else (rows,)
        dtype = np.float32 if feature.kind is FeatureKind.NUMERIC else np.int32
        if array.shape != shape or array.dtype != dtype:
            raise DataError(
                f"{name}: feature {feature.name!r} is {array.dtype}{list(array.shape)}, "
                f"expected {np.dtype(dtype)}{list(shape)} for kind {feature.kind.value!r}."
            )
        if feature.kind is FeatureKind.NUMERIC:
            if not np.isfinite(array).all():
                raise DataError(f"{name}: feature {feature.name!r} holds nan or infinity.")
        elif array.size and (array.min() < 0 or array.max() >= feature.size):
            raise DataError(
                f"{name}: feature {feature.name!r} holds {array.min()}..{array.max()}; "
                f"its vocabulary allows 0..{feature.size - 1}."
            )
