"""Stage 6, OverArch: a learned score for each pair of user and candidate, one logit per task.

Two forms behind one interface. `item_inputs` is all that the item side contributes; it is
computed once per item at index build and cached as one flat vector. `__call__` runs on requests.
It reads what the towers know and gives no gradient back: it learns from few choices (those kept
from the towers, `training.held_out`), and through the shared tables it would learn them by heart.
Every logit is of the joint event ("the user chooses this item, and likes it"), so that
probabilities of different tasks can be added up by the Value Model.
"""

from __future__ import annotations

from silverjax.config import OverArchConfig, TowerConfig
from silverjax.cross_network import CrossNetwork
from silverjax.mixture_of_logits import MixtureOfLogits
from silverjax.towers import ItemEncoder


def make_over_arch(
    config: OverArchConfig, *, tower: TowerConfig, encoder: ItemEncoder, tasks: int
) -> MixtureOfLogits | CrossNetwork:
    """The form that `config.kind` names."""
    form = MixtureOfLogits if config.kind == "mol" else CrossNetwork
    return form(config=config, tower=tower, encoder=encoder, tasks=tasks)
