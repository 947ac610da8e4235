"""Stage 6, OverArch: a learned score for each pair of user and candidate, one logit per task.

`item_inputs` is all that the item side contributes; it is computed once per item at index build
and cached part by part: a request then reads each part straight from its table, where parts of one
long vector would first have to be cut out of it. `__call__` runs on requests.
It reads what the towers know and gives no gradient back: it learns from few choices (those kept
from the towers, `training.held_out`), and through the shared tables it would learn them by heart.
Every logit is of the joint event ("the user chooses this item, and likes it"), so that
probabilities of different tasks can be added up by the Value Model.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from silverjax.batch import Items
from silverjax.config import OverArchConfig
from silverjax.engagement import Evidence
from silverjax.pair_signals import EvidenceScore
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
        self.evidence = EvidenceScore(self.tasks, self.config.evidence_hidden, self.config.reaches)

    def item_inputs(self, items: Items, *, train: bool = False) -> dict[str, Float[Array, "... _"]]:
        """The parts of each item, and `bias`: one for each task."""
        x = self.item_norm(jax.lax.stop_gradient(self.encoder(items, train=train)))
        return {**self.item_parts(x), "bias": self.item_bias(x)}

    def __call__(
        self,
        user: UserState,
        similarity: Float[Array, "b *p k"],
        item_inputs: dict[str, Float[Array, "b k _"]],
        evidence: Evidence,
        *,
        train: bool = False,
    ) -> Float[Array, "b *p k tasks"]:
        """Logits float32; the axis p is there where `user` has it (in training).

        `similarity` is the inner product of the towers' embeddings.
        """
        # Written over [batch, positions]: training scores the same candidates at many positions
        # of one history, a request at one.
        request = user.embedding.ndim == 2
        if request:
            user = jax.tree.map(lambda column: column[:, None], user)
        user, similarity = jax.lax.stop_gradient((user, similarity))
        dot = similarity.reshape(-1, 1, similarity.shape[-1])
        logits = self.form(user, item_inputs, dot, train=train) + self.evidence(user, dot, evidence)
        logits, bias = logits.swapaxes(1, 2), item_inputs["bias"]
        if request:
            return logits + bias
        return logits.reshape(*user.context.shape[:2], *bias.shape[1:]) + bias[:, None]

    def item_parts(self, x: Float[Array, "... width"]) -> dict[str, Float[Array, "... _"]]:
        """What the form needs of items, from their normalised encoding."""
        raise NotImplementedError

    def form(
        self,
        user: UserState,
        parts: dict[str, Float[Array, "b k _"]],
        dot: Float[Array, "n 1 k"],
        *,
        train: bool,
    ) -> Float[Array, "n tasks k"]:
        """The form's own logits, given the users with positions and the towers' inner product."""
        raise NotImplementedError


def numbered(name: str, x: Float[Array, "... _"], count: int) -> dict[str, Float[Array, "... _"]]:
    """Parts `name_0`, `name_1` and so on of equal width."""
    width = x.shape[-1] // max(count, 1)
    return {f"{name}_{i}": x[..., i * width : (i + 1) * width] for i in range(count)}
