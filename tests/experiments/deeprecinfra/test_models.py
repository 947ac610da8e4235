"""The models against an oracle that shares no code with them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.deeprecinfra import models
from experiments.deeprecinfra.layers import FusedTables, pooled
from experiments.deeprecinfra.model_config import (
    MODELS,
    PRESETS,
    ModelConfig,
    Tables,
    check_fits,
    model_config,
)
from experiments.deeprecinfra.models import init, make_model, predict, random_inputs
from tests.experiments.deeprecinfra.oracle import oracle

SMALL = 1e-4


def drawn(config: ModelConfig) -> Any:
    """Parameters without zeros: biases and slopes must matter. (Compiling `init` takes longer.)"""
    rng = np.random.default_rng(1)
    start = random_inputs(config, 1)
    shapes = jax.eval_shape(make_model(config).init, jax.random.key(0), start)

    def draw(leaf: Any) -> jax.Array:
        scale = 1 / np.sqrt(leaf.shape[-2]) if len(leaf.shape) > 1 else 0.1
        return jnp.asarray(rng.normal(0, min(scale, 0.2), leaf.shape), jnp.float32)

    return jax.tree.map(draw, shapes)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", MODELS)
def test_matches_the_oracle(name: str, preset: str) -> None:
    config = model_config(name, preset, table_scale=SMALL, tasks=3)
    variables, inputs = drawn(config), random_inputs(config, 5, seed=2)
    got = np.asarray(predict(config, variables, inputs))
    want = oracle(config, variables, np.asarray(inputs.dense), np.asarray(inputs.ids))
    assert got.shape == want.shape == (5, 3 if name == "mt-wnd" else 1)
    assert np.ptp(want) > 1e-4  # the items do differ
    # Sums of up to 2,560 float32 products of order 1 under a sigmoid.
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_dlrm_with_products_matches_the_oracle() -> None:
    config = dataclasses.replace(model_config("rmc2", table_scale=SMALL), interaction="dot")
    variables, inputs = drawn(config), random_inputs(config, 4)
    want = oracle(config, variables, np.asarray(inputs.dense), np.asarray(inputs.ids))
    np.testing.assert_allclose(predict(config, variables, inputs), want, atol=2e-5)


def test_products_of_vectors_of_two_widths_are_rejected() -> None:
    config = dataclasses.replace(model_config("rmc1"), interaction="dot", dim=16)
    with pytest.raises(ValueError, match=r"'dot' of rmc1 .*bottom=\(64, 32\).*dim=16"):
        make_model(config)


@pytest.mark.parametrize("name", ["din", "dien"])
def test_the_ad_changes_what_is_made_of_the_past(name: str) -> None:
    config = model_config(name, table_scale=SMALL)
    variables, inputs = drawn(config), random_inputs(config, 3)
    ad = config.tables[0].ids + config.tables[1].ids
    other = inputs._replace(ids=inputs.ids.at[:, ad].add(1))

    def interest(given: models.Inputs) -> np.ndarray:
        _, state = make_model(config).apply(
            variables, given, capture_intermediates=True, mutable=["intermediates"]
        )
        seen = state["intermediates"]
        key = "weight" if name == "din" else "evolution"
        return np.asarray(seen[key]["__call__"][0])

    assert np.abs(interest(inputs) - interest(other)).max() > 1e-4


def test_an_id_beyond_its_table_reads_the_last_row_and_no_other_table() -> None:
    config = model_config("ncf", table_scale=SMALL)
    variables, inputs = drawn(config), random_inputs(config, 2)
    rows = config.tables[0].rows
    last = predict(config, variables, inputs._replace(ids=inputs.ids.at[:, 0].set(rows - 1)))
    beyond = predict(config, variables, inputs._replace(ids=inputs.ids.at[:, 0].set(rows + 5)))
    np.testing.assert_array_equal(last, beyond)


@pytest.mark.parametrize("name", MODELS)
def test_all_tables_are_read_by_one_gather(name: str) -> None:
    config = model_config(name, table_scale=SMALL)
    variables, inputs = drawn(config), random_inputs(config, 2)
    text = str(jax.make_jaxpr(make_model(config).apply)(variables, inputs))
    platforms = 1 if config.tables[0].lookups == 1 else 2  # bags are summed in two ways
    assert len(re.findall(r"= gather\[", text)) == platforms
    assert f"f32[{config.rows},{config.row_width}]" in text


def test_bags_are_summed() -> None:
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.normal(size=(50, 8)), jnp.float32)
    where = jnp.asarray(rng.integers(0, 50, (3, 4, 7)), jnp.int32)
    want = np.asarray(table, np.float64)[np.asarray(where)].sum(2)
    np.testing.assert_allclose(pooled(table, where), want, atol=1e-5)


def test_tables_that_pool_other_numbers_stand_side_by_side() -> None:
    groups = (Tables("a", 2, 5, 3), Tables("b", 1, 4), Tables("c", 2, 3, 2, "none"))
    module = FusedTables(groups, 4)
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 3, (6, 11)), jnp.int32)
    variables: Any = module.init(jax.random.key(0), ids)
    rows, at = np.asarray(variables["params"]["rows"]), np.asarray(ids)
    found: Any = module.apply(variables, ids)
    np.testing.assert_allclose(
        found["a"], np.stack([rows[at[:, :3]].sum(1), rows[5 + at[:, 3:6]].sum(1)], 1), rtol=1e-5
    )
    np.testing.assert_array_equal(found["b"], rows[10 + at[:, 6:7]])
    starts = np.array([14, 14, 17, 17])
    np.testing.assert_array_equal(found["c"], rows[starts + at[:, 7:]])


# Work per item as counted by hand from the reference's files: multiply-adds of its layers.
@pytest.mark.parametrize(
    ("name", "gigabytes", "lookups"),
    [
        ("ncf", 0.086, 4),
        ("rmc1", 4.10, 640),
        ("rmc2", 4.10, 3840),
        ("rmc3", 2.56, 200),
        ("din", 5.89, 759),
        ("dien", 3.90, 43),
    ],
)
def test_repo_sizes_are_the_references(name: str, gigabytes: float, lookups: int) -> None:
    config = model_config(name)
    assert config.table_bytes / 1e9 == pytest.approx(gigabytes, rel=0.01)
    assert config.lookups == lookups


def test_wide_weights_add_one_number_per_task_to_a_row() -> None:
    assert model_config("wnd").table_bytes == 4 * 27_000_000 * 33
    assert model_config("mt-wnd", tasks=5).table_bytes == 4 * 30_500_000 * 37


def test_a_model_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(ValueError, match="'rmc4' does not exist; there are ncf, wnd,.* dien"):
        model_config("rmc4")


def test_a_preset_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(ValueError, match="preset 'isca' of din does not exist; use paper or repo"):
        model_config("din", "isca")


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, float("nan")])
def test_a_scale_that_is_no_share_is_rejected(scale: float) -> None:
    with pytest.raises(ValueError, match="table_scale=.* above 0 and at most 1"):
        model_config("ncf", table_scale=scale)


def test_no_task_is_rejected() -> None:
    with pytest.raises(ValueError, match="tasks=0 must be at least 1"):
        model_config("mt-wnd", tasks=0)


def test_tables_beyond_memory_are_rejected_with_a_scale_that_fits() -> None:
    config = model_config("rmc1")
    with pytest.raises(MemoryError, match=r"4.10 GB of tables and needs 8.19 GB.* 2.00 GB") as got:
        check_fits(config, 2_000_000_000)
    found = re.search(r"table_scale of ([\d.]+)", str(got.value))
    assert found
    scale = float(found[1])
    check_fits(model_config("rmc1", table_scale=scale), 2_000_000_000)
    with pytest.raises(MemoryError):
        check_fits(model_config("rmc1", table_scale=1.2 * scale), 2_000_000_000)


def test_init_gives_what_the_network_wants() -> None:
    config = model_config("ncf", table_scale=SMALL)
    made, wanted = init(config, seed=3), drawn(config)
    assert jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), made) == jax.tree.map(
        lambda leaf: (leaf.shape, str(leaf.dtype)), wanted
    )
    rows = np.asarray(made["params"]["tables"]["rows"])
    assert rows.std() == pytest.approx(1 / np.sqrt(64), rel=0.1)


def test_init_rejects_what_the_device_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_free_bytes", lambda: 1_000)
    with pytest.raises(MemoryError, match="ncf .repo. has 0.00 GB of tables"):
        init(model_config("ncf", table_scale=SMALL))
