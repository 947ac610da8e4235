"""Stage 7, the Value Model: task probabilities x the request's weights -> one value per item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@flax.struct.dataclass
class ValueWeights:
    """Per-request weights: arrays, so that a new value never recompiles anything.

    Attributes:
        linear: Weight of each probability in the sum.
        power: Exponent of each probability in the product; all 0 makes the product 1.
    """

    linear: Float[Array, "batch tasks"]
    power: Float[Array, "batch tasks"]


def value(
    probabilities: Float[Array, "batch k tasks"],
    weights: ValueWeights,
) -> Float[Array, "batch k"]:
    """`(sum_t linear_t p_t) * prod_t p_t ** power_t`.

    The sum is the expected worth of showing the item, when `linear_t` is what event t is worth;
    the product re-weights it, the way multi-task rankers trade events against each other. With
    all powers 0 only the sum is left; `parse_weights` sets the sum to 1 where only powers are
    given.

    Args:
        probabilities: In [0, 1].
    Returns:
        Float32 [batch, k]; larger is better; may be negative.
    """
    linear = jnp.einsum("bkt,bt->bk", probabilities, weights.linear)
    # A probability that underflows to 0 would make 0 * -inf for power 0.
    log_p = jnp.log(jnp.maximum(probabilities, jnp.finfo(jnp.float32).tiny))
    product = jnp.exp(jnp.einsum("bkt,bt->bk", log_p, weights.power))
    only_powers = jnp.all(weights.linear == 0.0, axis=-1) & jnp.any(weights.power != 0.0, axis=-1)
    return jnp.where(only_powers[:, None], product, linear * product)


def parse_weights(text: str, tasks: Sequence[str]) -> ValueWeights:
    """Reads `liked=1,disliked=-0.5` (a weighted sum) and `watched^0.5` (a power), on the host.

    Returns:
        Weights of one request, float32 [1, tasks].
    Raises:
        ValueError: A term that cannot be read, an unknown task, a task given twice, a weight
            that is NaN or infinite, or no weight at all.
    """
    linear: dict[str, float] = {}
    power: dict[str, float] = {}
    for term in text.split(","):
        name, mark, number = term.partition("^" if "^" in term else "=")
        if not mark:
            raise ValueError(
                f"cannot read the weight {term.strip()!r}; write task=number or task^number, "
                "comma-separated, such as 'liked=1,disliked=-0.5'."
            )
        kind = power if mark == "^" else linear
        if name.strip() in kind:
            raise ValueError(f"task {name.strip()!r} has two weights in {text!r}; give it one.")
        try:
            kind[name.strip()] = float(number)
        except ValueError:
            raise ValueError(
                f"the weight of task {name.strip()!r} is {number.strip()!r}, not a number."
            ) from None
    return make_weights(linear, tasks, power=power)


def make_weights(
    linear: Mapping[str, float],
    tasks: Sequence[str],
    *,
    power: Mapping[str, float] | None = None,
) -> ValueWeights:
    """Like `parse_weights`, from mappings of task name to weight."""
    power = power or {}
    for name, number in [*linear.items(), *power.items()]:
        if name not in tasks:
            raise ValueError(f"unknown task {name!r}; the model has {', '.join(tasks)}.")
        if not math.isfinite(number):
            raise ValueError(f"the weight of task {name!r} is {number}; it must be finite.")
    if not any(linear.values()) and not any(power.values()):
        raise ValueError("all weights are zero, so every item would have the same value.")

    def row(given: Mapping[str, float]) -> Any:  # NumPy: on the host there is nothing to compile
        return np.array([[given.get(task, 0.0) for task in tasks]], np.float32)

    return ValueWeights(linear=row(linear), power=row(power))
