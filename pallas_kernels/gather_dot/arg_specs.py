"""Shapes and contents of `gather_dot` calls: small ones for tests, a large one for benchmarks."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.int8_table import random_table


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of one call, named as in `api.gather_dot`."""

    table: int  # N
    groups: int  # G
    dim: int  # M
    batch: int  # B
    vectors: int  # V
    rows: int  # K

    def make(self, seed: int = 0) -> tuple[jax.Array, ...]:
        """Random arguments, among them rows outside the table."""
        rng = np.random.default_rng(seed)
        n, g, b = self.table, self.groups, self.batch
        return (
            *random_table(rng, (n, g, self.dim), (b, self.rows)),
            jnp.asarray(rng.integers(-127, 128, (b, g, self.vectors, self.dim), np.int8)),
            jnp.asarray(rng.random((b, g, self.vectors), np.float32)),
        )


SMALL = {
    "one_of_all": Spec(table=1, groups=1, dim=1, batch=1, vectors=1, rows=1),
    "odd": Spec(table=37, groups=3, dim=21, batch=3, vectors=2, rows=19),
    "a_request": Spec(table=500, groups=3, dim=128, batch=2, vectors=4, rows=256),
    "training": Spec(table=200, groups=3, dim=32, batch=4, vectors=8, rows=104),
    "no_rows": Spec(table=5, groups=2, dim=8, batch=2, vectors=1, rows=0),
}
# The candidates of a batch of requests among a million items.
SERVING = Spec(table=1_000_000, groups=3, dim=128, batch=64, vectors=4, rows=256)
