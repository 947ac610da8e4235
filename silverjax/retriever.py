"""The whole: one function from a batch of requests to ranked items. Read this file first."""

from __future__ import annotations

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pallas_kernels.top_k.api import top_k
from silverjax.ann_search import Candidates, search
from silverjax.batch import Users
from silverjax.engagement import Engagement, evidence_of
from silverjax.filter_plan import FilterPlan
from silverjax.index_config import SearchConfig
from silverjax.item_index import ItemIndex
from silverjax.model import Model
from silverjax.towers import UserState
from silverjax.value_model import ValueWeights, value


@flax.struct.dataclass
class Request:
    """What is asked, one row per request. Only the shapes are compiled.

    Attributes:
        users: Who asks.
        weights: What an answer is worth, by task.
        plan: What is eligible, from `compile_filters`; `None` admits every item.
        exclude: Catalogue rows not to return, such as items already seen; -1 as padding.
    """

    users: Users
    weights: ValueWeights
    plan: FilterPlan | None = None
    exclude: Int[Array, "batch excluded"] | None = None


class Funnel(NamedTuple):
    """Items left after each stage, int32 [batch] each.

    Attributes:
        live: Of the whole index.
        probed: In the clusters that were visited.
        eligible: Of those, what the words of the filter admit.
        candidates: What the int8 search handed to the OverArch.
        returned: What the Value Model kept.
    """

    live: Int[Array, "batch"]
    probed: Int[Array, "batch"]
    eligible: Int[Array, "batch"]
    candidates: Int[Array, "batch"]
    returned: Int[Array, "batch"]


@flax.struct.dataclass
class Answer:
    """What is recommended, best first, and how it came about.

    Attributes:
        rows: Catalogue rows, -1 past the last one.
        scores: Values of the Value Model, -inf past the end.
        probabilities: Of each task.
        similarity: int8 inner product of user and item.
        place: Place among the candidates of the int8 search, from 0.
        coverage: Share of the live items that were searched.
        funnel: Items left after each stage.
    """

    rows: Int[Array, "batch k"]
    scores: Float[Array, "batch k"]
    probabilities: Float[Array, "batch k tasks"]
    similarity: Float[Array, "batch k"]
    place: Int[Array, "batch k"]
    coverage: Float[Array, "batch"]
    funnel: Funnel


class Retriever(Model):
    """Towers, index, OverArch and Value Model as one module.

    `variables = {"params": ..., "index": {"items": ItemIndex}}`. Gradients see `params` only; a
    new index of the same capacity takes the place of the old one without recompiling.

        answer = jax.jit(retriever.apply)(variables, request)
    """

    def __call__(self, request: Request) -> Answer:  # type: ignore[override]  # a Model scores
        """Stages 2 to 7 (SilverTorch, arXiv 2511.14881: index as model)."""
        index: ItemIndex = self.get_variable("index", "items")
        # 2 towers: the item tower ran when the index was built.
        user = self.embed_users(request.users)
        # 3 probe, 4 eligibility, 5 int8 search
        found = self.candidates(user, request)
        # 6 OverArch
        probabilities = jax.nn.sigmoid(self.logits(user, request, found))
        # 7 Value Model
        k = self._sizes(index).k
        return ranked(index, found, probabilities, value(probabilities, request.weights), k)

    def candidates(self, user: UserState, request: Request) -> Candidates:
        """Stages 3 to 5: the eligible items nearest to the user embedding."""
        index: ItemIndex = self.get_variable("index", "items")
        sizes = self._sizes(index)
        return search(
            index,
            user.embedding,
            request.plan,
            k=sizes.candidates,
            probes=sizes.probes,
            filtered_recall=sizes.filtered_recall,
            exclude=request.exclude,
        )

    def logits(
        self, user: UserState, request: Request, found: Candidates
    ) -> Float[Array, "batch n tasks"]:
        """Stage 6: what the OverArch makes of the candidates."""
        inputs, engagement = cached(self.get_variable("index", "items"))
        windows = self.config.engagement.windows
        evidence = evidence_of(engagement, request.users, found.rows, windows=windows)
        return self.score_found(user, found.scores, inputs, evidence)

    def _sizes(self, index: ItemIndex) -> SearchConfig:
        return self.config.search.fitted(index.clusters, index.slots_per_cluster)


def cached(index: ItemIndex) -> tuple[dict[str, Float[Array, "capacity _"]], Engagement]:
    """What the index keeps of all items for the OverArch: its inputs and the engagement."""
    cache = index.cache
    if cache is None or cache.inputs is None or cache.engagement is None:
        raise ValueError("the index holds no OverArch inputs; build it with `index_catalogue`")
    return cache.inputs, cache.engagement


def ranked(
    index: ItemIndex,
    found: Candidates,
    probabilities: Float[Array, "batch n tasks"],
    values: Float[Array, "batch n"],
    k: int,
) -> Answer:
    """The best `k` candidates by value; equal values keep the order of the search."""
    values = jnp.where(found.rows < 0, -jnp.inf, values)
    # Which items are best has no gradient; their values have.
    _, place = top_k(jax.lax.stop_gradient(values), k=k)
    scores = jnp.take_along_axis(values, place, axis=1)
    rows = jnp.take_along_axis(found.rows, place, axis=1)
    return Answer(
        rows=rows,
        scores=scores,
        probabilities=jnp.take_along_axis(probabilities, place[..., None], axis=1),
        similarity=jnp.take_along_axis(found.scores, place, axis=1),
        place=place,
        coverage=found.coverage,
        funnel=Funnel(
            live=jnp.broadcast_to(index.live_items, found.probed.shape),
            probed=found.probed,
            eligible=found.eligible,
            candidates=jnp.sum(found.rows >= 0, axis=1, dtype=jnp.int32),
            returned=jnp.sum(rows >= 0, axis=1, dtype=jnp.int32),
        ),
    )
