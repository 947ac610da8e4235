"""What people call things: ids, titles and readable attributes beside the model's row numbers.

The model knows rows only. A catalogue is looked up on the host, before and after the jit.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from silverjax.batch import Items, Users

_TOGETHER = 256  # ids between two pauses: twenty microseconds


@dataclasses.dataclass(frozen=True)
class Ragged(Sequence[Sequence[int]]):
    """Lists of numbers, one behind the other: a tenth of the memory of Python's, and gone at once.

    Attributes:
        flat: All numbers, int32.
        at: Where each list begins, and where the last ends.
    """

    flat: np.ndarray
    at: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """Lists of any kind; what is ragged already is given back."""
        if isinstance(lists, Ragged):
            return lists
        at = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(one) for one in lists], out=at[1:])
        flat = np.fromiter(itertools.chain.from_iterable(lists), np.int32, count=int(at[-1]))
        return cls(flat, at)

    def __len__(self) -> int:
        return len(self.at) - 1

    def __getitem__(self, row: Any) -> Any:
        row = range(len(self))[row]
        return self.flat[self.at[row] : self.at[row + 1]].tolist()


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Names of items and users, and what the model is given of them.

    Attributes:
        item_ids: External id of each item row.
        titles: Readable name of each item row.
        attributes: Filter features: per name and item row the list of values.
        items: Encoded content features of all item rows.
        user_ids: External id of each user row.
        users: Encoded profiles and histories of all user rows, as of publication.
        seen: Item rows each user row has chosen, oldest first; may be left empty.
    """

    item_ids: Sequence[str]
    titles: Sequence[str]
    attributes: dict[str, list[list[str]]]
    items: Items
    user_ids: Sequence[str]
    users: Users
    seen: Sequence[Sequence[int]] = ()

    def user_row(self, user_id: str, *, unknown: int | None = None) -> int:
        """The row of a user.

        Args:
            unknown: Given instead where nobody has this id.

        Raises:
            KeyError: Nobody has this id; the message gives the size and one id that exists.
        """
        row = self._user_rows.get(user_id, unknown)
        if row is None:
            raise KeyError(
                f"no user {user_id!r} among the {len(self.user_ids)} of this snapshot "
                f"(one that exists: {self.user_ids[0]!r}); leave the user out for a cold start"
            )
        return row

    def item_row(self, item_id: str) -> int:
        """The row of an item; `KeyError` if there is none of this id."""
        if item_id not in self._item_rows:
            raise KeyError(
                f"no item {item_id!r} among the {len(self.item_ids)} of this snapshot "
                f"(one that exists: {self.item_ids[0]!r})"
            )
        return self._item_rows[item_id]

    def tabulate(self, like: Catalogue, *, pause: Callable[[], None]) -> None:
        """Makes the tables of ids, which otherwise the first one to ask for an id waits for.

        Args:
            like: Its tables are shared where the ids are.
            pause: Called every few ids.
        """
        for table, column in (("_user_rows", "user_ids"), ("_item_rows", "item_ids")):
            names = getattr(self, column)
            shared = names is getattr(like, column)
            self.__dict__[table] = getattr(like, table) if shared else _rows_of(names, pause)

    def users_at(self, rows: Sequence[int] | np.ndarray) -> Users:
        """Profiles and histories of some users; -1 is a stranger without either."""
        at = np.asarray(rows, np.int32)
        strangers = at < 0
        users = jax.tree.map(
            lambda column: np.take(np.asarray(column), at, axis=0, mode="clip"), self.users
        )
        if not strangers.any():
            return users
        for column, nothing in zip(jax.tree.leaves(users), jax.tree.leaves(stranger(users, 1))):
            column[strangers] = nothing
        return users

    @functools.cached_property
    def _user_rows(self) -> dict[str, int]:
        return _rows_of(self.user_ids)

    @functools.cached_property
    def _item_rows(self) -> dict[str, int]:
        return _rows_of(self.item_ids)


def _rows_of(names: Sequence[str], pause: Callable[[], None] = lambda: None) -> dict[str, int]:
    rows: dict[str, int] = {}
    for start in range(0, len(names), _TOGETHER):
        rows.update(zip(names[start : start + _TOGETHER], itertools.count(start)))
        pause()
    return rows


def stranger(like: Users, batch: int) -> Users:
    """Users of whom nothing is known, with the shapes of `like`."""

    def nothing(column: np.ndarray) -> np.ndarray:
        return np.zeros((batch, *np.shape(column)[1:]), np.asarray(column).dtype)

    empty = jax.tree.map(nothing, like)
    nobody: Any = np.full(batch, -1, np.int32)
    nothing_seen: Any = np.full_like(empty.history, -1)
    return dataclasses.replace(empty, id=nobody, history=nothing_seen)
