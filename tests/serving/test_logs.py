"""Logs that machines read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from serving import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was, after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("restored")
def test_a_line_is_one_json_object_with_what_was_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("auto")  # no terminal: JSON
    logging.getLogger("serving.x").info("two\nlines %d", 7, extra={"trace_id": "ab", "ms": 1.5})
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("serving.x").exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["message"] == "two\nlines 7"
    assert (first["level"], first["logger"], first["trace_id"], first["ms"]) == (
        "info",
        "serving.x",
        "ab",
        1.5,
    )
    assert "ValueError: why" in second["exception"]


@pytest.mark.usefixtures("restored")
def test_other_libraries_only_warn(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logging.getLogger("absl").info("chatter")
    logging.getLogger("absl").warning("careful")
    told = capsys.readouterr().err
    assert "chatter" not in told
    assert "careful" in told


def test_rejects_an_unknown_form() -> None:
    with pytest.raises(ValueError, match="must be auto, json or text"):
        logs.configure("xml")
