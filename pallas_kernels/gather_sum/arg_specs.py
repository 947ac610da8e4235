"""Shapes and contents of `gather_sum` calls: small ones for tests, a large one for benchmarks."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.int8_table import random_table


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of one call, named as in `api.gather_sum`."""

    table: int  # N
    groups: int  # G
    dim: int  # M
    batch: int  # B
    sums: int  # V
    rows: int  # H

    def make(self, seed: int = 0) -> tuple[jax.Array, ...]:
        """Random arguments, among them rows outside the table."""
        rng = np.random.default_rng(seed)
        n, g, b = self.table, self.groups, self.batch
        return (
            *random_table(rng, (n, g, self.dim), (b, self.rows)),
            jnp.asarray(rng.standard_normal((b, self.sums, self.rows), np.float32)),
        )


SMALL = {
    "one_of_all": Spec(table=1, groups=1, dim=1, batch=1, sums=1, rows=1),
    "odd": Spec(table=37, groups=3, dim=21, batch=3, sums=2, rows=19),
    "a_request": Spec(table=500, groups=3, dim=128, batch=2, sums=4, rows=50),
    "training": Spec(table=200, groups=3, dim=72, batch=2, sums=32, rows=50),
    "no_rows": Spec(table=5, groups=2, dim=8, batch=2, sums=1, rows=0),
}
# The histories of a batch of requests among a million items.
SERVING = Spec(table=1_000_000, groups=3, dim=128, batch=64, sums=4, rows=50)
