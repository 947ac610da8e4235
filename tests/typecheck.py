"""The type checker that the tests put on every function of the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do for a float


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype, for everything but `__init__`.

    The fields of a pytree dataclass are checked where functions take them, not where it is
    made: JAX rebuilds pytrees with placeholders (`jax.tree.map`, `vmap`, `eval_shape`), as
    https://docs.jax.dev/en/latest/pytrees.html asks constructors to allow for.
    """
    return function if function.__name__ == "__init__" else _checked(function)
