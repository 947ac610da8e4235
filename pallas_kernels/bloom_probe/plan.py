"""Boolean programs as fixed-shape arrays, so that a new filter never recompiles."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pallas_kernels.checks import check_array

BLOCK = 32  # slots in one word of eligibility
STACK_DEPTH = 8
AND, OR, NO_OP = -1, -2, -3  # tokens; i >= 0 pushes leaf i
ROWS, COMPLEMENT, ONES, ZEROS = 0, 1, 2, 3  # modes of a leaf


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("rows", "modes", "program"), meta_fields=()
)
@dataclasses.dataclass(frozen=True)
class Plan:
    """One boolean program per query over the bit rows of an index.

    Attributes:
        rows: int32 [B, L, K]; leaf l of query b is the AND of words[rows[b, l, :], c] over K.
        modes: int32 [B, L]; `ROWS` as they are, `COMPLEMENT` of them, `ONES` ("maybe"), `ZEROS`.
        program: int32 [B, P]; postfix: i >= 0 pushes leaf i, `AND`, `OR`, `NO_OP` (padding, only
            at the end). Nothing but `NO_OP` admits all. Never deeper than `STACK_DEPTH` values.
    """

    rows: jax.Array
    modes: jax.Array
    program: jax.Array

    @classmethod
    def admit_all(cls, batch: int) -> Plan:
        """The smallest plan for `batch` queries: each admits every live slot."""
        shape = (batch, 1)
        return cls(
            jnp.zeros((*shape, 1), jnp.int32),
            jnp.full(shape, ONES, jnp.int32),
            jnp.full(shape, NO_OP, jnp.int32),
        )


def check_plan(plan: Plan) -> None:
    """Raises ValueError unless the three arrays of a plan belong together."""
    check_array("plan.rows", plan.rows, jnp.int32, ("B", "L", "K"))
    check_array("plan.modes", plan.modes, jnp.int32, ("B", "L"))
    check_array("plan.program", plan.program, jnp.int32, ("B", "P"))
    batch = plan.program.shape[0]
    if plan.rows.shape[:2] != plan.modes.shape or plan.rows.shape[0] != batch:
        raise ValueError(
            f"plan.rows {plan.rows.shape}, plan.modes {plan.modes.shape} and plan.program "
            f"{plan.program.shape} must share B, and rows and modes must share L; build all three "
            "for the same queries"
        )
    if 0 in plan.rows.shape[1:]:
        raise ValueError(
            f"plan.rows has shape {plan.rows.shape}, limit: L >= 1 and K >= 1; pad with one leaf "
            "(Plan.admit_all is the smallest plan)"
        )


def evaluate(program: jax.Array, leaf: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Runs one postfix program per batch row over values of any boolean-like dtype.

    Cost follows the longest real program of the batch, not the padded length P, and a step that
    pushes in no row computes no leaf.

    Args:
        program: int32 [B, P], as in `Plan`.
        leaf: Given int32 [B] (which leaf of each row), returns its values [B, ...]: bool, or
            unsigned integers taken as sets of bits. Rows that push nothing at this step ask for
            leaf 0 and drop the answer.

    Returns:
        [B, ...] in the dtype of `leaf`; all ones (True) where a program holds only no-ops.
    """
    batch = program.shape[0]
    out = jax.eval_shape(leaf, jax.ShapeDtypeStruct((batch,), jnp.int32))
    ones = ~jnp.zeros(out.shape, out.dtype)
    if program.shape[1] == 0:
        return ones
    row = jnp.arange(batch)

    def column(mask: jax.Array) -> jax.Array:  # bool [B] -> [B, 1, ...]
        return mask.reshape(batch, *[1] * (len(out.shape) - 1))

    # The top of the stack travels apart from what lies below it: a push is one write, an
    # operator one read. The first push sets the initial `ones` aside in below[:, 0].
    def step(t: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        top, below, height = carry  # [B, ...], [B, STACK_DEPTH, ...], int32 [B]
        token = program[:, t]
        push, combine = token >= 0, (token == AND) | (token == OR)
        which = jnp.maximum(token, 0)
        value = jax.lax.cond(push.any(), leaf, lambda _: jnp.zeros_like(top), which)
        under = below[row, jnp.maximum(height - 1, 0)]
        both = jnp.where(column(token == AND), under & top, under | top)
        # Rows that do not push write past the end, where the update is dropped.
        below = below.at[row, jnp.where(push, height, STACK_DEPTH)].set(top, mode="drop")
        top = jnp.where(column(push), value, jnp.where(column(combine), both, top))
        return top, below, height + push.astype(jnp.int32) - combine.astype(jnp.int32)

    below = jnp.zeros((batch, STACK_DEPTH, *out.shape[1:]), out.dtype)
    steps = jnp.sum(program != NO_OP, axis=1).max(initial=0)
    height = jnp.zeros(batch, jnp.int32)
    return jax.lax.fori_loop(0, steps, step, (ones, below, height))[0]
