"""The error of everything that is wrong with data, not with the program."""

from __future__ import annotations


class DataError(ValueError):
    """A data file or data set is not what it must be; the message says where and what to do."""
