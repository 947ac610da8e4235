"""The ceilings are what the machine does, and a share is work over time over ceiling."""

from __future__ import annotations

import pytest

from experiments.search import machine
from experiments.search.machine import Machine, Work


def test_shares_are_of_both_ceilings() -> None:
    ceilings = Machine(copy=1e9, int8=4e9)
    assert ceilings.shares(Work(bytes=1e6, operations=1e6), 2e-3) == (0.5, 0.125)
    assert Machine(1e9, None).shares(Work(1e6, 1e6), 1e-3) == (1.0, None)


def test_measures_a_copy_and_what_registers_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_COPIED", 1 << 22)
    monkeypatch.setattr(machine, "_ROUNDS", 1 << 14)
    found = machine.measure(2)
    assert found.copy > 1e7
    assert found.int8 is None or found.int8 > found.copy / 100


def test_without_a_compiler_the_int8_ceiling_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(machine, "_COPIED", 1 << 20)
    assert machine.measure(1).int8 is None
