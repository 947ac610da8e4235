from __future__ import annotations

import importlib

import pytest

import experiments.__main__ as runner
from experiments import readme
from experiments.__main__ import BENCHMARKS, Choice, main


def test_benchmarks_are_modules_that_can_be_run() -> None:
    for command in BENCHMARKS:
        module = importlib.import_module(command.split()[0])
        if hasattr(module, "__path__"):  # a package runs by its __main__
            module = importlib.import_module(f"{module.__name__}.__main__")
        assert callable(module.main)


def test_main_rejects_a_choice_that_runs_nothing() -> None:
    with pytest.raises(SystemExit, match=r"no benchmark holds \('sift',\); there are: exp"):
        main(Choice(only=("sift",)))


def test_main_writes_the_table_only_if_all_went_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []

    def write() -> list[readme.Row]:
        written.append(1)
        return []

    monkeypatch.setattr(readme, "write", write)
    monkeypatch.setattr(runner, "BENCHMARKS", ("this", "no_such_module --x 1"))
    assert main(Choice()) == 1
    assert written == []
    assert main(Choice(only=("this",))) == 0
    assert written == [1]
