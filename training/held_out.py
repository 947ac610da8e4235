"""Choices that the towers do not learn from while OverArch finds out what their scores are worth.

What the towers learned by heart they score too well: an OverArch trained on the same choices
trusts them more than it should when new ones come. So it learns from others (stacked
generalisation: Wolpert, Neural Networks 1992). In the end the towers learn from all of them
(`TrainConfig.refit`), as stacking refits its first level.

They are the last ones of each user, for it will be asked about choices that come after all the
towers know. Of choices drawn at random the towers know what came after, which says much about them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from training.datasets.dataset import Interactions


def held_out(user: Int[np.ndarray, "n"], share: float) -> Bool[np.ndarray, "n"]:
    """Whether each interaction is one of the last of its user that are kept from the towers.

    Args:
        user: User rows; interactions of one user in the order of time.
        share: Share of each user's interactions, in [0, 1); their number is rounded.
    """
    order = np.argsort(user, kind="stable")
    mine = user[order]
    number = np.empty(len(user), np.int64)
    number[order] = np.arange(len(user)) - np.searchsorted(mine, mine)
    count = np.bincount(user)[user]
    kept: Bool[np.ndarray, "n"] = number < count - np.floor(share * count + 0.5)
    return ~kept


def for_towers(interactions: Interactions, share: float) -> Interactions:
    """What is left for the towers."""
    return interactions.take(~held_out(interactions.user, share))
