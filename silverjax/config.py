"""Settings of the model: frozen dataclasses, one per stage that has parameters.

The defaults were chosen on the validation items of MovieLens 100K, among what two CPU cores train
in a minute or two; `experiments/results/` has what they reach on the test items.
"""

from __future__ import annotations

import dataclasses
import math

from silverjax.engagement import EngagementConfig
from silverjax.index_config import IndexConfig, SearchConfig


def _require(ok: bool, config: object, name: str, limit: str) -> None:
    if not ok:
        owner = type(config).__name__
        raise ValueError(f"{owner}.{name} is {getattr(config, name)!r}; it must be {limit}.")


@dataclasses.dataclass(frozen=True)
class TowerConfig:
    """Both towers.

    Attributes:
        dim: Length d of the user and item embeddings that the search compares.
        width: Width of the hidden states and of the id and feature tables.
        history: Most recent interactions that the user tower reads, H.
        recent: How many of them OverArch compares with each candidate, one by one.
        layers: Self-attention blocks over the history.
        heads: Attention heads; must divide `width`.
        dropout: Rate on the outputs of the blocks and on the id vectors of the history.
        item_id_dropout: Share of items that training shows without their id, so that the content
            alone learns to place an item nobody has chosen yet.
        user_id_dropout: Share of users that training shows without their id, so that profile
            and history alone learn to place a new user.
        int8: Whether training sees the embeddings as the index will store them (int8).
    """

    dim: int = 64
    width: int = 64
    history: int = 50
    recent: int = 16
    layers: int = 1
    heads: int = 2
    dropout: float = 0.1
    item_id_dropout: float = 0.05
    user_id_dropout: float = 0.5
    int8: bool = True

    def __post_init__(self) -> None:
        for name in ("dim", "width", "history", "recent", "heads"):
            _require(getattr(self, name) >= 1, self, name, "at least 1")
        _require(self.layers >= 0, self, "layers", "at least 0")
        _require(self.width % self.heads == 0, self, "heads", f"a divisor of width={self.width}")
        for name in ("dropout", "item_id_dropout", "user_id_dropout"):
            _require(0.0 <= getattr(self, name) < 1.0, self, name, "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class OverArchConfig:
    """The learned scoring layer.

    Attributes:
        kind: `mol`, Mixture of Logits (arXiv 2306.04039), or `cross`, DCN-v2 cross layers and an
            MLP (arXiv 2008.13535).
        component_dim: Length of one component embedding.
        user_components: User-side components (`mol`).
        item_components: Item-side components (`mol`).
        attention_heads: Heads that compare a candidate with each recent item of the history.
        hidden: Width of the gates (`mol`) or of the MLP (`cross`).
        cross_layers: Cross layers (`cross`).
        cross_rank: Rank of a cross layer's matrix (`cross`).
        reaches: How many items back the likeness to the history looks, one signal each: its
            weight falls by 1/e within so many.
        evidence_hidden: Width of the MLP over the signals that both forms share.
        dropout: Rate on the gates (`mol`) or the MLP (`cross`).
    """

    kind: str = "mol"
    component_dim: int = 16
    user_components: int = 2
    item_components: int = 2
    attention_heads: int = 2
    hidden: int = 16
    cross_layers: int = 2
    cross_rank: int = 32
    reaches: tuple[float, ...] = (1.0, 3.0, 10.0, 40.0)
    evidence_hidden: int = 16
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _require(self.kind in ("mol", "cross"), self, "kind", "'mol' or 'cross'")
        for name in (
            "component_dim",
            "user_components",
            "item_components",
            "hidden",
            "evidence_hidden",
        ):
            _require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("attention_heads", "cross_layers", "cross_rank"):
            _require(getattr(self, name) >= 0, self, name, "at least 0")
        sound = all(0.0 < reach < math.inf for reach in self.reaches)
        _require(bool(self.reaches) and sound, self, "reaches", "one or more, positive and finite")
        _require(0.0 <= self.dropout < 1.0, self, "dropout", "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class RetrieverConfig:
    """The whole: what is learned, what is built from it, and how it is searched."""

    tower: TowerConfig = TowerConfig()
    over_arch: OverArchConfig = OverArchConfig()
    index: IndexConfig = IndexConfig()  # noqa: RUF009 (frozen)
    engagement: EngagementConfig = EngagementConfig()  # noqa: RUF009 (frozen)
    search: SearchConfig = SearchConfig()  # noqa: RUF009 (frozen)
