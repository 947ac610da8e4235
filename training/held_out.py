"""Choices that the towers do not learn from while OverArch finds out what their scores are worth.

What the towers learned by heart they score too well: an OverArch trained on the same choices
trusts them more than it should when new ones come. So it learns from others (stacked
generalisation: Wolpert, Neural Networks 1992). In the end the towers learn from all of them
(`TrainConfig.refit`), as stacking refits its first level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool

from training.datasets.dataset import Interactions

_ODD = np.array([0x9E3779B1, 0x85EBCA77, 0x2C1B3C6D], np.uint32)
_HALF, _STEPS = np.uint32(16), np.uint32(1 << 16)


def held_out(user: Any, item: Any, share: float) -> Any:
    """Whether each (user, item) is kept from the towers: a hash, the same wherever it is asked.

    Args:
        user: int32, of JAX or NumPy; broadcasts with `item`.
        item: int32; what is said of padding (-1) means nothing.
        share: Share of the pairs, in [0, 1).
    Returns:
        bool, of the same library.
    """
    # A finaliser of 32-bit hashes: multiply, fold the high bits down, and again.
    mixed = user.astype(np.uint32) * _ODD[0] + item.astype(np.uint32) * _ODD[1]
    mixed = (mixed ^ (mixed >> _HALF)) * _ODD[2]
    mixed = mixed ^ (mixed >> _HALF)
    return mixed % _STEPS < np.uint32(round(share * int(_STEPS)))


def for_towers(interactions: Interactions, share: float) -> Interactions:
    """What is left for the towers."""
    kept: Bool[np.ndarray, "n"] = ~held_out(interactions.user, interactions.item, share)
    return interactions.take(kept)
