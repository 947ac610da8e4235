"""Sizes of the eight models, in two presets.

`repo` follows the JSON files of the reference code, where every number is known. `paper` follows
Table I of the paper, as far as it says: number of tables, lookups and layers. The rows of the RMC
models in that table are confirmed by LazyDP (ASPLOS 2024), which took them over; the other rows
are not confirmed by a second source. What neither says (rows of a table, and width in the paper)
is the repository's, and "tens" is the repository's number.

In both, the first number of a bottom MLP is the width of the dense input, as in the reference.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

PRESETS = ("paper", "repo")
TASKS = 5  # of MT-Wide&Deep; the reference leaves its default, 1, which makes it Wide&Deep


@dataclasses.dataclass(frozen=True)
class Tables:
    """Embedding tables that are looked up in the same way.

    Attributes:
        name: What they hold; models find their inputs by it.
        count: Number of tables.
        rows: Of each table.
        lookups: Ids per item and table.
        pooling: `sum`: one vector per table. `none`: one per lookup, as a sequence needs.
    """

    name: str
    count: int
    rows: int
    lookups: int = 1
    pooling: Literal["sum", "none"] = "sum"

    @property
    def ids(self) -> int:
        """Lookups per item in all of them."""
        return self.count * self.lookups

    @property
    def vectors(self) -> int:
        """Vectors per item that come out."""
        return self.count if self.pooling == "sum" else self.ids


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: One of `MODELS`.
        preset: One of `PRESETS`.
        kind: Which network; see `models.py`.
        tables: All embedding tables, in the order of their ids.
        dim: Width of an embedding.
        dense: Width of the dense input; 0: there is none.
        bottom: Widths of the layers over the dense input.
        top: Widths of the hidden layers over everything.
        task_top: Widths of further hidden layers that each task has of its own.
        tasks: Probabilities per item.
        interaction: Of DLRM: `concat`, as both presets have it, or `dot`, as Naumov et al. (2019).
        attention: Hidden widths of DIN's activation unit.
        recurrent: Width of DIEN's states.
    """

    name: str
    preset: str
    kind: Literal["ncf", "wide_and_deep", "dlrm", "din", "dien"]
    tables: tuple[Tables, ...]
    dim: int
    dense: int = 0
    bottom: tuple[int, ...] = ()
    top: tuple[int, ...] = ()
    task_top: tuple[int, ...] = ()
    tasks: int = 1
    interaction: Literal["concat", "dot"] = "concat"
    attention: tuple[int, ...] = ()
    recurrent: int = 0

    @property
    def rows(self) -> int:
        """Of all tables together."""
        return sum(group.count * group.rows for group in self.tables)

    @property
    def lookups(self) -> int:
        """Ids per item."""
        return sum(group.ids for group in self.tables)

    @property
    def row_width(self) -> int:
        """Numbers per row; with the weights of the wide part where there is one."""
        return self.dim + (self.tasks if self.kind == "wide_and_deep" else 0)

    @property
    def table_bytes(self) -> int:
        """Of all tables, float32."""
        return 4 * self.rows * self.row_width


def model_config(
    name: str, preset: str = "repo", *, table_scale: float = 1.0, tasks: int = TASKS
) -> ModelConfig:
    """The sizes of a model.

    Args:
        name: One of `MODELS`.
        preset: One of `PRESETS`.
        table_scale: Share of each table's rows that is kept, for machines with less memory. The
            work per item stays; the locality of lookups does not.
        tasks: Of MT-Wide&Deep.

    Raises:
        ValueError: Unknown name or preset, a scale outside (0, 1], or no task.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} does not exist; there are {', '.join(MODELS)}")
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} of {name} does not exist; use {' or '.join(PRESETS)}")
    if not 0 < table_scale <= 1:
        raise ValueError(f"{table_scale=} must be a share of the rows, above 0 and at most 1")
    if tasks < 1:
        raise ValueError(f"{tasks=} must be at least 1")
    config = _CONFIGS[preset][name]
    tables = tuple(
        dataclasses.replace(group, rows=max(1, math.ceil(table_scale * group.rows)))
        for group in config.tables
    )
    return dataclasses.replace(
        config, preset=preset, tables=tables, tasks=tasks if name == "mt-wnd" else config.tasks
    )


def check_fits(config: ModelConfig, free_bytes: int) -> None:
    """Refuses tables that memory cannot hold.

    Making them needs their size twice for a moment: random bits, then numbers.

    Raises:
        MemoryError: Says how much is needed, how much there is, and which `table_scale` fits.
    """
    need = 2 * config.table_bytes
    if need > free_bytes:
        scale = math.floor(1000 * 0.95 * free_bytes / need) / 1000
        fix = f"pass a table_scale of {scale:g} times the present one" if scale else "free some"
        raise MemoryError(
            f"{config.name} ({config.preset}) has {config.table_bytes / 1e9:.2f} GB of tables and "
            f"needs {need / 1e9:.2f} GB to make them; {free_bytes / 1e9:.2f} GB are free: {fix}"
        )


_NCF_TABLES = tuple(
    Tables(name, 1, rows)
    for name, rows in (
        ("user_mf", 140_000),
        ("user_mlp", 140_000),
        ("item_mf", 28_000),
        ("item_mlp", 28_000),
    )
)
_MTWND_TABLES = (Tables("small", 41, 500_000), Tables("large", 2, 5_000_000))
# 43 tables, as the reference: 41 of 0.5 million rows (a profile, 40 behaviours), 2 of 5 million.
_DIEN_TABLES = (
    Tables("profile", 1, 500_000),
    Tables("behaviour", 40, 500_000),
    Tables("ad", 1, 5_000_000),
    Tables("context", 1, 5_000_000),
)


def _din_tables(behaviours: Tables) -> tuple[Tables, ...]:
    lookups = behaviours.lookups if behaviours.pooling == "sum" else 1
    return (
        Tables("profile", 1, 1_000_000, lookups),
        behaviours,
        Tables("ad", 1, 10_000_000, lookups),
        Tables("context", 1, 10_000_000, lookups),
    )


def _dlrm(name: str, tables: Tables, dim: int, *widths: tuple[int, ...]) -> ModelConfig:
    (dense, *bottom), top = widths
    return ModelConfig(name, "", "dlrm", (tables,), dim, dense, tuple(bottom), top)


_REPO = (
    ModelConfig("ncf", "", "ncf", _NCF_TABLES, 64, bottom=(256, 256, 128, 64), top=(64,)),
    ModelConfig(
        "wnd", "", "wide_and_deep", (Tables("sparse", 27, 1_000_000),), 32, 512,
        top=(1024, 512, 256),
    ),
    ModelConfig(
        "mt-wnd", "", "wide_and_deep", _MTWND_TABLES, 32, 512, top=(1024, 512),
        task_top=(256, 128), tasks=TASKS,
    ),
    _dlrm("rmc1", Tables("sparse", 8, 4_000_000, 80), 32, (128, 64, 32), (256, 64)),
    _dlrm("rmc2", Tables("sparse", 32, 500_000, 120), 64, (256, 128, 64), (128, 64)),
    _dlrm("rmc3", Tables("sparse", 10, 2_000_000, 20), 32, (2560, 1024, 256, 32), (512, 256)),
    ModelConfig(  # 250 behaviours, as its file asks for; the reference runs it with one
        "din", "", "din", _din_tables(Tables("behaviour", 250, 100_000, 3)), 32, top=(200, 80),
    ),
    ModelConfig("dien", "", "dien", _DIEN_TABLES, 32, top=(200, 80), recurrent=64),
)  # fmt: skip
_PAPER = (
    ModelConfig("ncf", "", "ncf", _NCF_TABLES, 64, bottom=(256, 256, 128)),
    _REPO[1],
    dataclasses.replace(_REPO[2], top=(), task_top=(1024, 512, 256)),
    _dlrm("rmc1", Tables("sparse", 10, 4_000_000, 80), 32, (256, 128, 32), (256, 64)),
    _dlrm("rmc2", Tables("sparse", 40, 500_000, 80), 32, (256, 128, 32), (512, 128)),
    _dlrm("rmc3", Tables("sparse", 10, 2_000_000, 20), 32, (2560, 512, 32), (512, 128)),
    ModelConfig(  # tens of tables, hundreds of lookups, each a behaviour; the unit of Zhou et al.
        "din", "", "din", _din_tables(Tables("behaviour", 25, 100_000, 10, "none")), 32,
        top=(200, 80), attention=(36,),
    ),
    _REPO[7],
)  # fmt: skip
_CONFIGS = {
    "repo": {config.name: config for config in _REPO},
    "paper": {config.name: config for config in _PAPER},
}
MODELS = tuple(_CONFIGS["repo"])
