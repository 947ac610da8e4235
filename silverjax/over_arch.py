"""Stage 6, OverArch: a learned score for each pair of user and candidate, one logit per task.

`item_inputs` is all that the item side contributes; it is computed once per item at index build
and cached as one flat vector. `__call__` runs on requests.
It reads what the towers know and gives no gradient back: it learns from few choices (those kept
from the towers, `training.held_out`), and through the shared tables it would learn them by heart.
Every logit is of the joint event ("the user chooses this item, and likes it"), so that
probabilities of different tasks can be added up by the Value Model.
"""

from __future__ import annotations

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from silverjax.batch import Items
from silverjax.config import OverArchConfig
from silverjax.engagement import Evidence
from silverjax.pair_signals import EvidenceScore, inner
from silverjax.towers import ItemEncoder, UserState

small_init = nn.initializers.normal(0.01)


class OverArch(nn.Module):
    """What every form shares: `logit_t = form_t(user, item) + evidence_t(user, item) + b_t(item)`.

    A form has `item_parts`, what it needs of an item, and `form`, which scores pairs with it.
    """

    config: OverArchConfig
    encoder: ItemEncoder
    tasks: int

    def setup(self) -> None:
        self.item_norm = nn.LayerNorm()
        # Logits begin at what is true of an item nobody knows: one in the catalogue is chosen.
        # From 0, every negative would first have to be pushed down, and the steps that do it harm
        # all that is shared.
        unknown = nn.initializers.constant(-math.log(max(self.encoder.schema.items, 2)))
        self.item_bias = nn.Dense(self.tasks, kernel_init=small_init, bias_init=unknown)
        self.evidence = EvidenceScore(self.tasks, self.config.evidence_hidden)

    def item_inputs(self, items: Items, *, train: bool = False) -> Float[Array, "... e"]:
        """The parts of each item and its task biases, as one vector."""
        x = self.item_norm(jax.lax.stop_gradient(self.encoder(items, train=train)))
        return jnp.concatenate((*self.item_parts(x), self.item_bias(x)), -1)

    def __call__(
        self,
        user: UserState,
        item_embedding: Float[Array, "b k dim"],
        item_inputs: Float[Array, "b k e"],
        evidence: Evidence,
        *,
        train: bool = False,
    ) -> Float[Array, "b *p k tasks"]:
        """Logits float32; the axis p is there where `user` has it (in training)."""
        # Written over [batch, positions]: training scores the same candidates at many positions
        # of one history, a request at one.
        request = user.embedding.ndim == 2
        if request:
            user = jax.tree.map(lambda column: column[:, None], user)
        user, item_embedding = jax.lax.stop_gradient((user, item_embedding))
        *parts, bias = jnp.split(item_inputs, self._ends(), axis=-1)
        dot = inner(user.embedding[:, :, None], item_embedding)
        logits = self.form(user, parts, dot, train=train) + self.evidence(user, dot, evidence)
        logits = logits.swapaxes(1, 2)
        if request:
            return logits + bias
        return logits.reshape(*user.context.shape[:2], *bias.shape[1:]) + bias[:, None]

    def _ends(self) -> list[int]:
        """Where each part of `item_inputs` ends."""
        return list(itertools.accumulate(self.part_widths()))

    def part_widths(self) -> list[int]:
        """Widths of `item_parts`."""
        raise NotImplementedError

    def item_parts(self, x: Float[Array, "... width"]) -> tuple[Float[Array, "... _"], ...]:
        """What the form needs of items, from their normalised encoding."""
        raise NotImplementedError

    def form(
        self,
        user: UserState,
        parts: list[Float[Array, "b k _"]],
        dot: Float[Array, "n 1 k"],
        *,
        train: bool,
    ) -> Float[Array, "n tasks k"]:
        """The form's own logits, given the users with positions and the towers' inner product."""
        raise NotImplementedError
