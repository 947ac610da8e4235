"""`gather_dot`: what NumPy gives, bit for bit, on every backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.gather_dot import cpu, reference
from pallas_kernels.gather_dot.api import gather_dot
from pallas_kernels.gather_dot.arg_specs import SMALL, Spec
from tests.pallas_kernels.cpu import INSTRUCTIONS

BACKENDS: dict[str, Callable[..., jax.Array]] = {
    "reference": reference.gather_dot,
    **{
        f"cpu_{name}": functools.partial(cpu.gather_dot, instructions=name) for name in INSTRUCTIONS
    },
}


def oracle(*arguments: Any) -> np.ndarray:
    """Row by row; NumPy rounds after every operation."""
    codes, scales, rows, vectors, vector_scales = map(np.asarray, arguments)
    out = np.zeros((*vectors.shape[:3], rows.shape[1]), np.float32)
    for b, k in np.ndindex(rows.shape):
        if not 0 <= rows[b, k] < len(codes):
            continue
        items = codes[rows[b, k]].astype(np.int64)
        dots = (items[:, None] * vectors[b]).sum(-1).astype(np.float32)  # [G, V]
        out[b, :, :, k] = dots * scales[rows[b, k]][:, None] * vector_scales[b]
    return out


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", SMALL.values(), ids=SMALL)
def test_matches_numpy(spec: Spec, backend: str) -> None:
    arguments = spec.make()
    got = np.asarray(BACKENDS[backend](*arguments))
    np.testing.assert_array_equal(got, oracle(*arguments))


def test_a_row_gives_the_same_bits_in_any_batch() -> None:
    codes, scales, rows, *vectors = SMALL["a_request"].make(2)
    together = gather_dot(codes, scales, rows, *vectors)
    alone = gather_dot(codes, scales, rows[1:, 200:], *(column[1:] for column in vectors))
    np.testing.assert_array_equal(np.asarray(together)[1:, ..., 200:], np.asarray(alone))


def test_vmap() -> None:
    codes, scales, *columns = SMALL["odd"].make(4)
    twice = jax.vmap(functools.partial(gather_dot, codes, scales))(
        *(jnp.stack([column, column[::-1]]) for column in columns)
    )
    back = gather_dot(codes, scales, *(column[::-1] for column in columns))
    np.testing.assert_array_equal(np.asarray(twice[1]), np.asarray(back))


def test_a_table_whose_codes_32_bits_cannot_count_is_refused() -> None:
    shapes = [
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (
            ((2**31, 3, 1), jnp.int8),
            ((2**31, 3), jnp.float32),
            ((1, 1), jnp.int32),
            ((1, 3, 1, 1), jnp.int8),
            ((1, 3, 1), jnp.float32),
        )
    ]
    with pytest.raises(NotImplementedError, match="a table of 6442450944 codes, more than 42949"):
        jax.eval_shape(cpu.gather_dot, *shapes)


@pytest.mark.parametrize(
    ("at", "wrong", "message"),
    [
        (0, jnp.zeros((37, 3, 21)), "codes has dtype float32, must be int8"),
        (1, jnp.zeros((37, 1)), r"scales has shape \(37, 1\), must be \[N, G\] = \(37, 3\)"),
        (2, jnp.zeros((19,), jnp.int32), r"rows has shape \(19,\)"),
        (3, jnp.zeros((3, 3, 2, 5), jnp.int8), r"vectors has shape \(3, 3, 2, 5\), must be \[B"),
        (4, jnp.zeros((3, 3, 1)), r"vector_scales has shape \(3, 3, 1\), must be \[B, G, V\] = "),
    ],
)
def test_rejects_wrong_arguments(at: int, wrong: jax.Array, message: str) -> None:
    arguments = list(SMALL["odd"].make())
    arguments[at] = wrong
    with pytest.raises(ValueError, match=message):
        gather_dot(*arguments)
