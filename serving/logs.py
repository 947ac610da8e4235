"""Logs as JSON, one object a line, for machines; as plain text for a terminal."""

from __future__ import annotations

import datetime
import json
import logging
import sys

_PLAIN = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
# What every record has; the rest was given as `extra`.
_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        fields = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _USUAL},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def configure(form: str = "auto") -> None:
    """Sends all logs to standard error.

    Args:
        form: "json", "text", or "auto": text on a terminal, JSON elsewhere.
    Raises:
        ValueError: `form` is none of these.
    """
    if form not in ("auto", "json", "text"):
        raise ValueError(f"{form=} must be auto, json or text")
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_PLAIN) if is_text else JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("serving", "silverjax"):
        logging.getLogger(ours).setLevel(logging.INFO)
    # uvicorn warns of every malformed request; the client is told, which is enough.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
