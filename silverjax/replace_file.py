"""Files that are replaced at once: a reader, or a run that was killed, sees the old or the new."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, forces it to the disk, and renames it."""
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
