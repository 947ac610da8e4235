"""What holds for every test: types and shapes are checked, dtype promotion is strict."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Generator, Iterator
from typing import Any

import jax
import jaxtyping
import pytest

# Before the first import of the packages: only what is imported afterwards is checked. A bare
# GPU machine may lack beartype; the kernels are tested there all the same.
if importlib.util.find_spec("beartype"):
    importlib.import_module("tests.typecheck")
    jaxtyping.install_import_hook(
        ["pallas_kernels", "silverjax", "training", "serving"], "tests.typecheck.check"
    )

# A silent float64 is a bug that only shows in the results.
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def weak_promotion() -> Iterator[None]:
    """For what trains: optax itself adds its integer step count to floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


if importlib.util.find_spec("hypothesis"):
    import hypothesis

    # Compiling makes the first example slow, so no deadline. CI draws the same examples every
    # time: a red run must be the fault of the change, and must come again when run again.
    hypothesis.settings.register_profile(
        "silverjax",
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("silverjax")


def _gpu_missing() -> str | None:
    """Why tests marked `gpu` cannot run here, or None where they can."""
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        return f"needs a GPU: {str(error).splitlines()[0]}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (reason := _gpu_missing()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Tests of messages (`test_..._reject...`) run unchecked, as the program does for users.

    Otherwise they would see the type checker's error instead of the project's own.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", "reject" in item.name)
    try:
        return (yield)
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
