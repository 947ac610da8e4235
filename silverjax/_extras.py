"""Parts of the project that need packages a plain install does not bring."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class MissingExtraError(ImportError):
    """A package of an extra is not installed; the message says how to get it."""


@contextlib.contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Turns the failed import of a package into advice.

    Args:
        extra: Its name in `pyproject.toml`.
        what: What the import is for, such as `serving`.
    Raises:
        MissingExtraError: A module that is imported inside is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} needs {error.name}, which is not installed; "
            f"run: pip install 'silverjax[{extra}]'",
            name=error.name,
        ) from error
