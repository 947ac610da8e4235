"""The learned part: one item encoder, two towers and OverArch, with one tree of parameters."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.batch import Items, Users
from silverjax.config import RetrieverConfig
from silverjax.cross_network import CrossNetwork
from silverjax.engagement import Evidence, evidence_of, no_engagement
from silverjax.mixture_of_logits import MixtureOfLogits
from silverjax.schema import Schema
from silverjax.towers import ItemEncoder, ItemTower, Positions, UserState, UserTower


@flax.struct.dataclass
class ItemState:
    """The item side, computed at index build and cached.

    Attributes:
        embedding: What the search compares, float32 [..., dim].
        inputs: What OverArch reads, part by part, float32 [..., width of the part].
    """

    embedding: Float[Array, "... dim"]
    inputs: dict[str, Float[Array, "... _"]]


class Model(nn.Module):
    """Towers and OverArch of one schema."""

    schema: Schema
    config: RetrieverConfig = RetrieverConfig()

    def setup(self) -> None:
        tower = self.config.tower
        self.items = ItemEncoder(self.schema, tower)
        self.user_tower = UserTower(self.schema, self.items, tower)
        self.item_tower = ItemTower(self.items, tower)
        form = MixtureOfLogits if self.config.over_arch.kind == "mol" else CrossNetwork
        self.over_arch = form(self.config.over_arch, self.items, tasks=len(self.schema.tasks))

    def __call__(self, users: Users, items: Items) -> Float[Array, "batch k tasks"]:
        """Logits of `items` [batch, k] for `users`; touches every parameter, so use it to init."""
        nothing = no_engagement(1, self.config.engagement)
        evidence = evidence_of(
            nothing, users, jnp.zeros_like(items.id), windows=self.config.engagement.windows
        )
        return self.score(self.embed_users(users), self.embed_items(items), evidence)

    def embed_users(self, users: Users, *, train: bool = False) -> UserState:
        return self.user_tower(users, train=train)

    def embed_positions(self, users: Users, *, train: bool = False) -> Positions:
        """Like `embed_users` after every prefix of the history (for training)."""
        return self.user_tower.positions(users, train=train)

    def embed_items(self, items: Items, *, train: bool = False) -> ItemState:
        embedding = self.item_tower(items, train=train)
        return ItemState(embedding, self.over_arch.item_inputs(items, train=train))

    def score(
        self, user: UserState, item: ItemState, evidence: Evidence, *, train: bool = False
    ) -> Float[Array, "*batch k tasks"]:
        similarity = jnp.einsum("b...d,bkd->b...k", user.embedding, item.embedding)
        return self.over_arch(user, similarity, item.inputs, evidence, train=train)

    def score_found(
        self,
        user: UserState,
        similarity: Float[Array, "batch k"],
        inputs: dict[str, Float[Array, "items _"]],
        evidence: Evidence,
    ) -> Float[Array, "batch k tasks"]:
        """Like `score`, with the inner products of a search: no embedding is read again.

        They are of int8 embeddings, which is what training has shown to the OverArch. `inputs` are
        of all items; the candidates' are looked up.
        """
        rows = evidence.candidates
        inputs = {name: part[jnp.maximum(rows, 0)] for name, part in inputs.items()}
        return self.over_arch(user, jnp.where(rows < 0, 0.0, similarity), inputs, evidence)


def check_params(model: Model, params: Any, users: Users, items: Items) -> None:
    """Checks that parameters are those of this model; runs nothing.

    Args:
        model: A `Model` or a `Retriever`.
        params: Its parameters, as they were loaded.
        users: One or more users of its schema.
        items: Items of its schema, leading axis n.

    Raises:
        ValueError: A parameter is missing, is too many, or has another shape.
    """
    whole = Model(model.schema, model.config)
    one, pairs = (jax.tree.map(lambda column: column[:1], tree) for tree in (users, items))
    pairs = jax.tree.map(lambda column: column[:, None], pairs)
    wanted = _shapes(jax.eval_shape(whole.init, jax.random.key(0), one, pairs)["params"])
    given = _shapes(params)
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            has = f"has shape {given[name]}" if name in given else "is missing"
            needs = f"needs {wanted[name]}" if name in wanted else "has no such parameter"
            raise ValueError(
                f"parameter {name} {has}; the model {needs}. They were trained with other settings "
                "or another version of silverjax: use that one, or train again"
            )


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in leaves}
