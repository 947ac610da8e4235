"""The live page: files of this package, served as they are. They hold no figures and no data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources

from starlette.responses import Response

from serving.http.endpoint import Call
from serving.problems import Refused

INDEX = "index.html"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
# Scripts, styles and connections of this server alone; nothing inline or evaluated, no frames.
_HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Page:
    """The files, by name, read once.

    Attributes:
        names: What there is.
    """

    def __init__(self) -> None:
        self._files = {name: _File(name, content) for name, content in _read().items()}
        self.names = sorted(self._files)

    async def index(self, call: Call) -> Response:
        """`GET /`."""
        return self._files[INDEX].response(call)

    async def file(self, call: Call) -> Response:
        """`GET /page/{name}`."""
        # Looked up by name among what was read: a caller cannot name a path.
        found = self._files.get(call.path["name"])
        if found is None:
            raise Refused(404, "the page has no such file")
        return found.response(call)


class _File:
    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        self._headers = {
            **_HEADERS,
            "content-type": _TYPES[name.rpartition(".")[2]],
            "etag": self._tag,
        }

    def response(self, call: Call) -> Response:
        if call.headers.get(b"if-none-match", b"").decode("latin-1") == self._tag:
            return Response(None, 304, self._headers)
        return Response(self._content, 200, self._headers)


def _read() -> Mapping[str, bytes]:
    folder = resources.files("serving.http") / "page"
    return {
        entry.name: entry.read_bytes()
        for place in (folder, folder / "vendor")
        for entry in place.iterdir()
        if entry.is_file() and entry.name.rpartition(".")[2] in _TYPES
    }
