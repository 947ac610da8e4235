"""One download over HTTP that fails fast and shows its progress."""

from __future__ import annotations

import http.client
import pathlib
import queue
import threading
import urllib.request
from typing import Any

import rich.console
import rich.progress
import rich.status

_BLOCK = 1 << 16


class DownloadError(Exception):
    """Something could not be downloaded; the message says why."""


def download(url: str, target: pathlib.Path, *, timeout: float = 5.0) -> pathlib.Path:
    """Downloads `url` to the file `target`.

    Args:
        timeout: Seconds to wait for the answer to begin, and for each block of it.
    Raises:
        DownloadError: No answer in time, an error status, or the answer ends early.
    """
    try:
        with _opened(url, timeout) as answer, target.open("wb") as out, _progress() as progress:
            total = int(answer.headers.get("Content-Length") or 0)
            task = progress.add_task(f"Downloading {target.name}", total=total or None)
            while block := answer.read(_BLOCK):
                out.write(block)
                progress.advance(task, len(block))
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{type(error).__name__}: {error}") from error
    if total and target.stat().st_size != total:
        raise DownloadError(f"ended after {target.stat().st_size} of {total} bytes")
    return target


def waiting(message: str) -> rich.status.Status:
    """Shows that something of unknown length is under way, for use in a `with`."""
    return rich.console.Console(stderr=True).status(message)


def _opened(url: str, timeout: float) -> Any:
    """Opens `url` within `timeout` seconds, the search for the host's address included.

    The address look-up knows no time limit of its own and can hang for half a minute, so it
    all runs in a thread that is left behind when the time is up.
    """
    answers: queue.Queue[Any] = queue.Queue()

    def attempt() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=timeout))
        except Exception as error:  # handed to the caller below
            answers.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _progress() -> rich.progress.Progress:
    return rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.DownloadColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
    )
