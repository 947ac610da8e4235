"""What is measured, and the sizes of the model that follow from it."""

from __future__ import annotations

import dataclasses
import math

from silverjax.config import RetrieverConfig, TowerConfig
from silverjax.engagement import EngagementConfig
from silverjax.index_config import IndexConfig, SearchConfig
from silverjax.schema import Feature, FeatureKind, Schema

TASKS = ("chosen", "liked", "finished")
COUNTRIES, LANGUAGES, CATEGORIES, MOST_CATEGORIES = 200, 40, 1_000, 5


ASKED = SearchConfig().filtered_recall  # by default


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        items: Items of the catalogue.
        batch: Requests that are answered together.
        batches: Distinct batches of the stream; each round answers all of them.
        rounds: Rounds in turn; the figures are their medians.
        recall: Recall of the search that probes are chosen for, of either side.
        candidates: Items that the search hands to the OverArch.
        k: Items returned.
        engagement: Length of the engagement vectors.
        clusters: Clusters of our index; 0 is its default.
        bloom_bits: Width of our Bloom signatures; 64 let 6 % of the items through a filter of 12
            creators, and each of them has to be checked.
        lists: Inverted lists of faiss; 0 is 4 sqrt(items).
        seed: Seeds everything.
        quick: 20,000 items and a short stream, to see that it runs.
    """

    items: int = 1_000_000
    batch: int = 64
    batches: int = 16
    rounds: int = 5
    recall: float = 0.95
    candidates: int = 256
    k: int = 20
    engagement: int = 32
    clusters: int = 0
    bloom_bits: int = 256
    lists: int = 0
    seed: int = 0
    quick: bool = False

    def __post_init__(self) -> None:
        for name, least in (("items", 10_000), ("batch", 1), ("batches", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if not 0 < self.recall < 1:
            raise ValueError(f"recall={self.recall} must lie between 0 and 1")

    def sized(self) -> Study:
        """The study itself, or its short form where `quick` asks for it."""
        if not self.quick:
            return self
        return dataclasses.replace(self, items=20_000, batches=4)

    @property
    def inverted_lists(self) -> int:
        """Of faiss."""
        return self.lists or round(4 * math.sqrt(self.items))

    @property
    def users(self) -> int:
        return max(1_000, self.items // 10)

    @property
    def creators(self) -> int:
        return self.items // 10

    def schema(self) -> Schema:
        return Schema(
            users=self.users,
            items=self.items,
            user_features=(
                Feature("country", FeatureKind.CATEGORICAL, COUNTRIES + 1),
                Feature("age", FeatureKind.CATEGORICAL, 10),
            ),
            item_features=(
                Feature("language", FeatureKind.CATEGORICAL, LANGUAGES + 1),
                Feature("category", FeatureKind.MULTI, CATEGORIES + 1, MOST_CATEGORIES),
            ),
            tasks=TASKS,
        )

    def config(self, *, probes: int = 8, asked: float = ASKED) -> RetrieverConfig:
        """The default model, with engagement of a size that a machine of 8 GB holds twice."""
        tower = TowerConfig()
        return RetrieverConfig(
            tower=tower,
            index=IndexConfig(
                clusters=self.clusters or None, bloom_bits=self.bloom_bits, seed=self.seed
            ),
            engagement=EngagementConfig(width=self.engagement, days=30),
            search=SearchConfig(
                k=self.k,
                candidates=self.candidates,
                probes=probes,
                filtered_recall=asked,
                excluded=tower.history,
            ),
        )
