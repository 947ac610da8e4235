"""Single files that are replaced whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replaces `path` at once: a reader, or a run that was killed, sees the old or the new.

    Folders above it are made. Nothing stays behind when writing fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    aside = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)  # mkstemp leaves it to the owner alone
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
