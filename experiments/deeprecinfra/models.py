"""The eight models of DeepRecInfra in Flax Linen.

Each maps items (dense features and ids) to probabilities. They are the networks of their papers:
the reference code adds where NCF multiplies, sums where DIN attends, has no wide part, no GRU, and
no candidate in DIEN's attention.
"""

from __future__ import annotations

import functools
import os
import pathlib
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.deeprecinfra.layers import GRU, MLP, FusedTables, TaskHeads
from experiments.deeprecinfra.model_config import ModelConfig, check_fits


class Inputs(NamedTuple):
    """Items to score.

    Attributes:
        dense: Numbers; of width 0 where a model has none.
        ids: Rows of tables, by group, table and lookup; each counts from 0 in its own table.
    """

    dense: Float[Array, "batch dense"]
    ids: Int[Array, "batch lookups"]


class NCF(nn.Module):
    """Neural collaborative filtering: NeuMF of He et al. (WWW 2017, 3.4)."""

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Inputs) -> Float[Array, "batch 1"]:
        found = _tables(self.config)(inputs.ids)
        product = found["user_mf"][:, 0] * found["item_mf"][:, 0]
        pair = jnp.concatenate([found["user_mlp"][:, 0], found["item_mlp"][:, 0]], -1)
        deep = MLP(self.config.bottom, name="bottom")(pair)
        joined = MLP(self.config.top, name="top")(jnp.concatenate([product, deep], -1))
        return nn.sigmoid(nn.Dense(1, name="out")(joined))


class WideAndDeep(nn.Module):
    """Wide & Deep (Cheng et al., 2016) for one task or several.

    The wide part is linear in the dense features and in the presence of each id: the weights of
    an id lie in the same row as its embedding, so that they cost no lookup of their own.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Inputs) -> Float[Array, "batch tasks"]:
        config = self.config
        found = jnp.concatenate(list(_tables(config)(inputs.ids).values()), 1)
        deep, wide = found[..., : config.dim], found[..., config.dim :].sum(1)
        x = jnp.concatenate([inputs.dense, deep.reshape(len(deep), -1)], -1)
        x = MLP(config.top, name="top")(x)
        logits = TaskHeads(config.tasks, config.task_top, name="heads")(x)
        return nn.sigmoid(logits + wide + nn.Dense(config.tasks, name="wide")(inputs.dense))


class DLRM(nn.Module):
    """DLRM (Naumov et al., 2019) with bags of ids per table: RMC1, RMC2 and RMC3."""

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Inputs) -> Float[Array, "batch 1"]:
        config = self.config
        dense = MLP(config.bottom, name="bottom")(inputs.dense)
        vectors = _tables(config)(inputs.ids)["sparse"]
        if config.interaction == "dot":
            vectors = jnp.concatenate([dense[:, None], vectors], 1)
            products = vectors @ vectors.swapaxes(1, 2)
            sparse = products[:, *np.tril_indices(vectors.shape[1], -1)]
        else:
            sparse = vectors.reshape(len(vectors), -1)
        x = MLP(config.top, name="top")(jnp.concatenate([dense, sparse], -1))
        return nn.sigmoid(nn.Dense(1, name="out")(x))


class DIN(nn.Module):
    """Deep interest network (Zhou et al., KDD 2018).

    The weight of a behaviour is what a small network says of (behaviour, product with the ad,
    ad); as in the paper (4.3) the weights are not normalised.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Inputs) -> Float[Array, "batch 1"]:
        found = _tables(self.config)(inputs.ids)
        past, ad = found["behaviour"], found["ad"]
        unit = jnp.concatenate([past, past * ad, jnp.broadcast_to(ad, past.shape)], -1)
        hidden = MLP(self.config.attention, None, name="attention")(unit)
        weight = nn.Dense(1, name="weight")(hidden)
        interest = (weight * past).sum(1)
        parts = [found["profile"][:, 0], interest, ad[:, 0], found["context"][:, 0]]
        return _click(self.config, parts)


class DIEN(nn.Module):
    """Deep interest evolution network (Zhou et al., AAAI 2019).

    A GRU reads the behaviours, the ad attends to its states (softmax of h W ad), and an AUGRU,
    whose update gate is scaled by that attention, ends in the interest. The paper's auxiliary
    loss belongs to training.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Inputs) -> Float[Array, "batch 1"]:
        config = self.config
        found = _tables(config)(inputs.ids)
        ad = found["ad"][:, 0]
        states = GRU(config.recurrent, name="extractor")(found["behaviour"])
        query = nn.Dense(config.recurrent, use_bias=False, name="attention")(ad)
        attention = nn.softmax(jnp.einsum("bth,bh->bt", states, query))
        interest = GRU(config.recurrent, name="evolution")(states, attention)[:, -1]
        return _click(config, [found["profile"][:, 0], interest, ad, found["context"][:, 0]])


def _tables(config: ModelConfig) -> FusedTables:
    return FusedTables(config.tables, config.row_width, name="tables")


def _click(config: ModelConfig, parts: list[Array]) -> Float[Array, "batch 1"]:
    """The last layers of DIN and DIEN: PReLU, and a softmax over (no click, click)."""
    x = MLP(config.top, None, name="top")(jnp.concatenate(parts, -1))
    return nn.softmax(nn.Dense(2, name="out")(x))[:, 1:]


_KINDS = {"ncf": NCF, "wide_and_deep": WideAndDeep, "dlrm": DLRM, "din": DIN, "dien": DIEN}


def make_model(config: ModelConfig) -> nn.Module:
    """The network of a configuration.

    Raises:
        ValueError: DLRM with products whose bottom MLP does not end in the width of a vector.
    """
    if config.interaction == "dot" and config.bottom[-1:] != (config.dim,):
        raise ValueError(
            f"interaction 'dot' of {config.name} ({config.preset}) multiplies the last layer of "
            f"bottom={config.bottom} with embeddings of dim={config.dim}; make them equal"
        )
    return _KINDS[config.kind](config)  # type: ignore[arg-type]


def init(config: ModelConfig, *, seed: int = 0) -> dict[str, Any]:
    """Random parameters.

    Raises:
        MemoryError: The tables do not fit; says which `table_scale` does.
    """
    check_fits(config, _free_bytes())
    model = make_model(config)
    start = random_inputs(config, 1)
    return dict(jax.jit(model.init)(jax.random.key(seed), start))


@functools.partial(jax.jit, static_argnums=0)
def predict(
    config: ModelConfig, variables: dict[str, Any], inputs: Inputs
) -> Float[Array, "batch tasks"]:
    """Probabilities of a batch; compiled once per configuration and batch size."""
    return make_model(config).apply(variables, inputs)  # type: ignore[return-value]


def random_inputs(config: ModelConfig, batch: int, *, seed: int = 0) -> Inputs:
    """Items with normal dense features and uniform ids: the worst locality there is."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, group.rows, (batch, group.ids)) for group in config.tables]
    return Inputs(
        jnp.asarray(rng.normal(size=(batch, config.dense)), jnp.float32),
        jnp.asarray(np.concatenate(ids, 1), jnp.int32),
    )


def _free_bytes() -> int:
    """Of the default device."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    memory = pathlib.Path("/proc/meminfo")
    if memory.exists():
        lines = dict(line.split(":") for line in memory.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
