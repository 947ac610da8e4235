"""How far a query goes: the rule that every backend of `filtered_search` follows, bit for bit.

The affinity a of a cluster lies `REACH` standard deviations `spread` above the mean of its slots'
scores: of two clusters with the same mean, the wider one has more of the best. If n of its slots
pass, it is expected to hold n * Q((t - a) / spread + REACH) scores over t, where Q is the upper
tail of the normal distribution. A query whose k-th best score so far is t has found the share
`recall` of the best k when the clusters that it has not visited are expected to hold
(1 - recall) * k over t.

Expectations are integers (slots in units of 1 / `UNIT`), so that no order of adding changes them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

REACH = 2
UNIT = 2**16  # fine enough for the far tail of a million slots: 1 / UNIT is that at 4.2 deviations
GROWTH = 4  # times more slots than before, at most, before the rule is asked again
_STEPS, _END = 8, 5  # steps per standard deviation; beyond 5 of them no more is expected
_COUNTED = 2**14  # slots of a cluster that count: with UNIT, a product stays within 2**30
_CEILING = 2**30  # of sums; what is allowed lies below

# Per step of (t - a) / spread from -_END: at its lower end, which errs towards going on.
TAIL = np.array(
    [
        round(UNIT * 0.5 * math.erfc((step / _STEPS - _END + REACH) / math.sqrt(2)))
        for step in range(2 * _END * _STEPS)
    ],
    np.int32,
)


class Course(NamedTuple):
    """The clusters of each query in the order of visiting them.

    Attributes:
        order: int32 [B, C]; by affinity. What shall not be visited comes last.
        length: int32 [B]; how many may be visited.
        counts: int32 [B, C]; slots that pass, in the order; None where nobody counted.
        affinity: float32 [B, C], in the order.
        spread: float32 [B, C], in the order.
        adaptive: bool [B]; the others go on only until they have found k.
    """

    order: jax.Array
    length: jax.Array
    counts: jax.Array | None
    affinity: jax.Array
    spread: jax.Array | None
    adaptive: jax.Array


def allowed(k: int, recall: float) -> int:
    """What may be left unseen, in units of 1 / UNIT."""
    return min(_CEILING - 1, math.floor((1 - recall) * k * UNIT))


def next_goal(
    course: Course, at: jax.Array, found: jax.Array, least: jax.Array, *, allowance: int,
    k: int, probes: int,
) -> jax.Array:  # fmt: skip
    """Clusters to have visited before the rule is asked again; `at` where a query is done.

    Args:
        at: int32 [B]; clusters visited.
        found: int32 [B]; slots found.
        least: float32 [B]; the k-th best score.
    """
    more = jnp.where(found < k, at + probes, at)
    if course.counts is not None:
        enough = _enough(course, at, least, allowance)
        enough = jnp.where(found < k, course.length, jnp.maximum(enough, at))
        more = jnp.where(course.adaptive, jnp.minimum(enough, _grown(course.counts, at)), more)
    return jnp.minimum(more, course.length)


def _enough(course: Course, at: jax.Array, least: jax.Array, allowance: int) -> jax.Array:
    """Clusters after which no more is expected than is allowed."""
    assert course.counts is not None
    assert course.spread is not None
    deviations = (least[:, None] - course.affinity) / course.spread
    step = jnp.floor(deviations * _STEPS)
    last = _END * _STEPS
    # In this form a NaN ends at -last.
    step = jnp.where(step > -last, jnp.where(step < last - 1, step, last - 1), -last)
    tail = jnp.asarray(TAIL)[step.astype(jnp.int32) + last]
    expected = jnp.minimum(course.counts, _COUNTED) * tail
    expected = jnp.where(jnp.arange(expected.shape[1]) < at[:, None], 0, expected)
    left = jax.lax.associative_scan(_add, expected, axis=1, reverse=True)
    return jnp.sum(left > allowance, axis=1, dtype=jnp.int32)


def _add(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.minimum(one + other, _CEILING)


def _grown(counts: jax.Array, at: jax.Array) -> jax.Array:
    """Clusters that hold GROWTH times the slots of the first `at`."""
    total = jnp.cumsum(counts, axis=1)
    so_far = jnp.take_along_axis(total, jnp.maximum(at - 1, 0)[:, None], axis=1)
    return jnp.sum(total // GROWTH < so_far, axis=1, dtype=jnp.int32) + 1
