from __future__ import annotations

import json
import pathlib

import pytest

from experiments.deeprecinfra.processor import Processor, main, module_of, operators


def test_operators_are_told_apart_by_their_module() -> None:
    assert module_of("jit(predict)/DIEN/extractor/while/body/dot_general") == "recurrence"
    assert module_of("jit(predict)/NCF/tables/gather") == "embeddings"
    assert module_of("jit(predict)/DIN/mul") == "elsewhere"
    hlo = (
        '%fusion.1 = f32[] fusion(%a), metadata={op_name="jit(f)/W/top/dot"}\n  %b = f32[] add()\n'
    )
    assert operators(hlo) == {"fusion.1": "layers"}


def test_a_run_measures_each_instruction_set_and_shares_add_up(tmp_path: pathlib.Path) -> None:
    asked = Processor(
        models=("ncf",), isas=("SSE4_2",), table_scale=0.001, seconds=0.01, folder=tmp_path
    )
    (found,) = main(asked)
    assert found.ms > 0
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.shares["embeddings"] > 0
    assert found.shares["layers"] > 0
    assert found.shares["recurrence"] == 0
    document = json.loads((tmp_path / "deeprecinfra-processor.json").read_text())
    assert document["figures"]["models"][0]["isa"] == "SSE4_2"
    assert "| ncf |" in (tmp_path / "deeprecinfra-processor.md").read_text()


def test_instruction_sets_that_do_not_exist_are_rejected() -> None:
    with pytest.raises(ValueError, match="isas .'AVX3'. do not exist; there are SSE4_2, AVX2"):
        main(Processor(isas=("AVX3",)))
