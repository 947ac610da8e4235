from __future__ import annotations

import pathlib

import pytest

from experiments.deeprecinfra.profiles import load
from silverjax.cli import main


def test_the_command_measures_and_writes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "profiles.json"
    asked = ["profile", "ncf", "--table-scale", "0.001", "--seconds", "0.01", "--path", str(path)]
    assert main(asked) == 0
    (found,) = load(path).values()
    assert (found.model, found.kind) == ("ncf", "measured")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["bert"], "model 'bert' does not exist; there are ncf"),
        (["ncf", "--preset", "mine"], "preset 'mine' of ncf does not exist; use paper or repo"),
        (["ncf", "--cores", "999"], "cores=999 must be from 1 to"),
        (["ncf", "--table-scale", "2"], "table_scale=2.0 must be a share"),
    ],
)
def test_what_cannot_be_measured_is_one_message(
    wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *wrong]) == 2
    assert message in capsys.readouterr().err
