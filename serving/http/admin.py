"""The operations of the admin port: which snapshot is served."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from serving.http.endpoint import Call, json_response
from serving.problems import Refused
from serving.service import Service
from silverjax.snapshot import versions
from silverjax.snapshot_errors import SnapshotError


class SwapRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which version to serve; none is the newest."""

    version: str | None = None


class Admin:
    """Handlers; each returns an answer or raises what is wrong."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._root = service.versions.engine.snapshot.path.parent

    async def snapshots(self, call: Call) -> Response:
        """`GET /v1/snapshots`: what is there, what serves, what a rollback would serve."""
        service = self._service
        return json_response(
            {
                "versions": [path.name for path in versions(self._root)],
                "serving": service.version,
                "previous": service.versions.previous,
                "degraded": service.degraded,
            }
        )

    async def swap(self, call: Call) -> Response:
        """`POST /v1/swap`: `{"version": "00000007"}`; the newest where none is named."""
        wanted = msgspec.json.decode(call.body or b"{}", type=SwapRequest).version
        # Looked up by name among what is there: a caller cannot name a path.
        known = {path.name: path for path in versions(self._root)}
        if wanted is not None and wanted not in known:
            raise Refused(
                404, f"no version {wanted[:60]!r}; there are: {', '.join([*known][-5:]) or 'none'}"
            )
        return await self._changed(self._service.swap(known[wanted] if wanted else self._root))

    async def rollback(self, call: Call) -> Response:
        """`POST /v1/rollback`: serves the version before the current one."""
        return await self._changed(self._service.rollback())

    async def _changed(self, change) -> Response:  # type: ignore[no-untyped-def]
        try:
            version = await change
        except SnapshotError as error:
            # The error names paths of this machine; they are for the log.
            raise Refused(
                409,
                f"the version was refused ({type(error).__name__}); {self._service.version} goes "
                "on, and the log says why",
            ) from error
        return json_response({"serving": version, "previous": self._service.versions.previous})
