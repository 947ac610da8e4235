"""Repairs the one link file that is known to be wrong: that of RecBole's `ml-100k`.

The file was cut out of a linkage of MovieLens 20M to Freebase and kept that release's film ids,
but MovieLens 100K numbers its films differently: item 313 is Titanic here and The Swan Princess
there, so taken as it is, the file gives Titanic the facts of The Swan Princess, and nearly all
others those of a wrong film too (https://github.com/RUCAIBox/RecSysDatasets/issues/130).
`movielens_100k_ids.tsv` lists which film of 100K is which film of the later releases (matched by
title and year); films that were numbered above 1682 there have no entry in the link file.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import pathlib
from collections.abc import Mapping

_MISKEYED_SHA256 = "524dca2c3d62619688ab99b3ec53ea2acb9b64d38eafec3e02bdd0dc6bb7d948"


def repaired(path: pathlib.Path, entities: Mapping[str, str]) -> Mapping[str, str]:
    """Item id -> entity id as it should be.

    Args:
        path: The link file; only the known wrong one, told by its SHA-256, is changed.
        entities: Item id -> entity id as the file has it.
    """
    if hashlib.sha256(path.read_bytes()).hexdigest() != _MISKEYED_SHA256:
        return entities
    return {item: entities[later] for item, later in _later_ids().items() if later in entities}


def _later_ids() -> dict[str, str]:
    table = importlib.resources.files(__package__).joinpath("movielens_100k_ids.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines if not line.startswith("#"))
