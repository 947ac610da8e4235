"""A study as a command: options from the command line, bad ones told in one message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from silverjax.bad_input import BAD_INPUT, complain

T = TypeVar("T")


def run_command(main: Callable[[T], object], options: type[T], description: str | None) -> None:
    """Calls `main` with options from the command line; exits with status 2 on bad input."""
    try:
        main(tyro.cli(options, description=description))
    except BAD_INPUT as error:
        sys.exit(complain(error))
