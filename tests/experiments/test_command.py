"""Studies from the command line."""

from __future__ import annotations

import dataclasses

import pytest

from experiments.command import run_command


@dataclasses.dataclass(frozen=True)
class Options:
    """Some.

    Attributes:
        share: Of something.
    """

    share: float = 0.5


def run(options: Options) -> None:
    if options.share > 1:
        raise ValueError(f"share={options.share} must be at most 1")


def test_bad_options_end_with_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SILVERJAX_DEBUG", raising=False)
    monkeypatch.setattr("sys.argv", ["study", "--share", "2"])
    with pytest.raises(SystemExit) as ended:
        run_command(run, Options, "A study.")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: share=2.0 must be at most 1\n")


def test_debugging_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILVERJAX_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["study", "--share", "2"])
    with pytest.raises(ValueError, match="at most 1"):
        run_command(run, Options, None)


def test_good_options_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["study"])
    seen: list[Options] = []
    run_command(seen.append, Options, None)
    assert seen == [Options()]
