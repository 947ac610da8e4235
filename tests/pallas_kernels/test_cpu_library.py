"""The library of CPU kernels: found or missed, which instructions it uses, and its threads."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import cpu_library
from pallas_kernels.filtered_search import cpu, reference
from pallas_kernels.filtered_search.arg_specs import Spec
from tests.pallas_kernels.cpu import INSTRUCTIONS

VALUES = jnp.asarray([[1.0, 3.0, 2.0]])
built = pytest.mark.skipif(not INSTRUCTIONS, reason="the CPU kernels were not built")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A place where no library is, until a test puts a file there."""
    path = tmp_path / "cpu_kernels.so"
    monkeypatch.setattr(cpu_library, "FILE", path)
    cpu_library.load.cache_clear()
    yield path
    cpu_library.load.cache_clear()


def test_without_the_library_the_reference_serves(
    elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for k in (1, 2):
            best, _ = pallas_kernels.top_k(VALUES, k=k)
            assert best.tolist() == [[3.0, 2.0][:k]]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the CPU kernels are missing, so XLA runs their (slower) references"
    ]
    rows = {(row.op, row.backend): row for row in pallas_kernels.backend_report(platform="cpu")}
    assert not rows["top_k", "cpu"].serves
    assert "was not built; install a C++20 compiler" in rows["top_k", "cpu"].note
    assert rows["top_k", "reference"].note == "default"


def test_rejects_forced_cpu_without_the_library(elsewhere: Path) -> None:
    message = "cpu cannot serve top_k on 'cpu': cpu_kernels.so was not built; .* run on .*reference"
    with pytest.raises(NotImplementedError, match=message):
        pallas_kernels.top_k(VALUES, k=1, backend="cpu")


def test_a_file_that_is_no_library_is_a_reason(elsewhere: Path) -> None:
    elsewhere.write_text("not a library")
    assert "cpu_kernels.so: " in str(cpu_library.why_not("cpu"))


def test_serves_no_other_platform() -> None:
    assert cpu_library.why_not("gpu") == "C++ for the CPU only"


@built
def test_environment_names_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for k, name in enumerate(INSTRUCTIONS, start=1):  # a new k is traced anew
        monkeypatch.setenv(cpu_library.ENVIRONMENT_VARIABLE, name)
        text = jax.jit(functools.partial(pallas_kernels.top_k, k=k)).lower(VALUES).as_text()
        assert f'instructions = "{name}"' in text


@built
def test_rejects_unknown_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpu_library.ENVIRONMENT_VARIABLE, "sse9")
    with pytest.raises(ValueError, match="no instruction set 'sse9', only avx512, avx2, portable"):
        jax.clear_caches()
        pallas_kernels.top_k(VALUES, k=1)


@built
def test_rejects_instructions_that_this_cpu_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_library, "INSTRUCTIONS", (*INSTRUCTIONS, "amx"))
    with pytest.raises(NotImplementedError, match="this CPU lacks the instruction set 'amx'"):
        cpu.filtered_search(*SMALL, k=1, probes=1, max_probes=1, recall=0.95, instructions="amx")


SMALL = Spec(clusters=1, slots=8, dim=16, queries=1, probes=1, k=1).make()


@built
@pytest.mark.parametrize("name", INSTRUCTIONS)
@pytest.mark.parametrize("queries", [1, 40])
def test_many_threads_give_the_same_answer(queries: int, name: str) -> None:
    """Enough work for XLA's whole pool: few queries share their probes out, many themselves."""
    case = Spec(clusters=96, slots=256, dim=64, queries=queries, probes=64, k=300, columns=0)
    answer = cpu.filtered_search(*case.make(), **sizes_of(case), instructions=name)
    for got, wanted in zip(answer, expected_of(queries, case), strict=True):
        np.testing.assert_array_equal(np.asarray(got), wanted)


@functools.cache
def expected_of(queries: int, case: Spec) -> list[np.ndarray]:
    answer = reference.filtered_search(*case.make(), **sizes_of(case))
    return [np.asarray(part) for part in answer]


def sizes_of(case: Spec) -> dict[str, Any]:
    return {"k": case.k, "probes": case.probes, "max_probes": case.most, "recall": case.recall}
