"""Which backend is picked, what is said when none fits, and what an import costs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import pallas_kernels
from pallas_kernels.bloom_probe import arg_specs
from pallas_kernels.dispatch import ENVIRONMENT_VARIABLE, Backend, Op, current_platform

PLATFORM = jax.default_backend()


def make_op(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Op:
    """An op `double` whose backends are named and answer as given; measured everywhere."""
    backends = []
    for name, answer in answers.items():

        def double(x: int, *, answer: Any = answer) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer * x

        module: Any = types.ModuleType(f"fake_{name}")
        module.double = double
        module.why_not = lambda platform, name=name: "no tray" if "tray" in name else None
        monkeypatch.setitem(sys.modules, module.__name__, module)
        backends.append(Backend(name, module.__name__, default_on=("*",)))
    return Op("double", tuple(backends))


@pytest.fixture(autouse=True)
def _no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


def test_first_backend_in_order_is_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_op(monkeypatch, a=10, b=20)(1) == 10


def test_not_implemented_goes_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    op = make_op(monkeypatch, a=NotImplementedError("odd x"), tray=5, b=20)
    assert op(2) == 40


def test_value_error_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    op = make_op(monkeypatch, a=ValueError("x is wrong"), b=20)
    with pytest.raises(ValueError, match="x is wrong"):
        op(1)


def test_argument_beats_environment_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    op = make_op(monkeypatch, a=10, b=20, c=30)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "b")
    assert op(1) == 20
    assert op(1, backend="c") == 30
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "")
    assert op(1) == 10


def test_unmeasured_backend_is_not_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = make_op(monkeypatch, a=10, b=20).backends
    op = Op("double", (Backend("a", "fake_a", default_on=("tpu",)), measured[1]))
    assert op(1) == 20
    assert op(1, backend="a") == 10


def test_rejects_forced_backend_that_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    op = make_op(monkeypatch, tray=10, a=NotImplementedError("odd x"), b=20)
    with pytest.raises(NotImplementedError, match=f"tray cannot serve double on '{PLATFORM}': no "):
        op(1, backend="tray")
    with pytest.raises(
        NotImplementedError, match=r"a cannot .*: odd x; backends that run on .*: b"
    ):
        op(1, backend="a")


def test_rejects_when_no_default_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    op = make_op(monkeypatch, a=NotImplementedError("odd x"), tray=1)
    with pytest.raises(NotImplementedError, match=r"a cannot .*odd x; tray cannot .*no tray; "):
        op(1)


def test_rejects_unknown_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    args = arg_specs.TESTS["small"].make()
    message = (
        "backend 'cuda' is unknown to bloom_probe, which has: cpu, reference, pallas_triton, "
        "jax_triton; pass"
    )
    with pytest.raises(ValueError, match=message):
        pallas_kernels.bloom_probe(*args, backend="cuda")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "cuda")
    with pytest.raises(ValueError, match=f"{message}.*unset {ENVIRONMENT_VARIABLE}"):
        pallas_kernels.bloom_probe(*args)


@pytest.mark.skipif(PLATFORM != "cpu", reason="Triton serves here")
def test_rejects_triton_on_cpu() -> None:
    args = arg_specs.TESTS["small"].make()
    message = "pallas_triton cannot .* GPUs only .*backends that run on 'cpu': cpu, reference"
    with pytest.raises(NotImplementedError, match=message):
        pallas_kernels.bloom_probe(*args, backend="pallas_triton")


def test_missing_module_is_a_reason() -> None:
    absent = Backend("absent", "pallas_kernels.absent")
    assert "cannot import it: No module named" in str(absent.why_not("gpu"))


def test_report_names_every_backend_and_its_reason() -> None:
    rows = {(row.op, row.backend): row for row in pallas_kernels.backend_report(platform="cpu")}
    for op in ("bloom_probe", "int8_search", "filtered_search"):
        reference, triton = rows[op, "reference"], rows[op, "pallas_triton"]
        assert reference.serves
        assert reference.default
        assert "default" in str(reference)
        assert (triton.serves, triton.default) == (False, False)
        assert "GPUs only" in triton.note
    on_gpu = {row.backend: row for row in pallas_kernels.backend_report(platform="gpu")}
    assert (on_gpu["pallas_triton"].serves, on_gpu["pallas_triton"].default) == (True, False)
    assert "opt-in: never measured" in on_gpu["pallas_triton"].note
    assert (
        rows["int8_search", "pallas_mosaic_gpu"].note == "Mosaic GPU compiles for NVIDIA GPUs only"
    )
    assert not on_gpu["pallas_mosaic_gpu"].default
    folder = pathlib.Path(pallas_kernels.__file__).parent
    ops = {path.parent.name for path in folder.glob("*/api.py")}
    assert {row.op for row in pallas_kernels.backend_report()} == ops


def test_platform_follows_the_default_device() -> None:
    assert current_platform() == PLATFORM
    with jax.default_device(jax.devices("cpu")[0]):
        assert current_platform() == "cpu"
        assert jax.jit(lambda x: x + len(current_platform()))(jnp.int32(1)) == 4


def test_import_touches_no_device_and_loads_no_kernel() -> None:
    code = (
        "import sys, pallas_kernels, jax._src.xla_bridge as bridge\n"
        "assert not bridge.backends_are_initialized()\n"
        "assert 'jax.experimental.pallas' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
