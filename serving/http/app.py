"""Which operation lies at which address, on the data port and on the admin port."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.routing import Route

from serving.http.admin import Admin
from serving.http.endpoint import Endpoint, Guard, Handler
from serving.http.front import Front, not_found
from serving.http.live_stream import LiveStream
from serving.http.page import Page
from serving.security import Operation

Routes = Iterable[tuple[str, str, Operation, Handler]]

_VERSION = "/versions/{version}"
OPEN, INFER, METRICS = Operation.OPEN, Operation.INFER, Operation.METRICS


def data_app(front: Front, live: LiveStream, page: Page, guard: Guard) -> Starlette:
    """The data port: everything but changing what is served."""
    return _app(
        guard,
        [
            ("GET", "/", OPEN, page.index),
            ("GET", "/page/{name}", OPEN, page.file),
            ("POST", "/v1/recommend", INFER, front.recommend),
            ("POST", "/v1/explain", INFER, front.explain),
            ("GET", "/v1/examples", INFER, front.examples),
            ("GET", "/v1/live", METRICS, live.figures),
            ("GET", "/v2", INFER, front.server_metadata),
            ("GET", "/v2/health/live", OPEN, front.live),
            ("GET", "/v2/health/ready", OPEN, front.ready),
            ("GET", "/v2/models/stats", METRICS, front.model_statistics),
            *_of_model("POST", "/infer", INFER, front.infer),
            *_of_model("GET", "", INFER, front.model_metadata),
            *_of_model("GET", "/config", INFER, front.model_config),
            *_of_model("GET", "/ready", OPEN, front.model_ready),
            *_of_model("GET", "/stats", METRICS, front.model_statistics),
            ("POST", "/v2/repository/index", INFER, front.repository_index),
            ("GET", "/healthz", OPEN, front.health),
            ("GET", "/livez", OPEN, front.live),
            ("GET", "/readyz", OPEN, front.ready),
            ("GET", "/metrics", METRICS, front.prometheus),
            ("GET", "/openapi.json", INFER, front.schema),
        ],
    )


def admin_app(admin: Admin, guard: Guard) -> Starlette:
    """The admin port: which snapshot is served."""
    return _app(
        guard,
        [
            ("GET", "/v1/snapshots", Operation.ADMIN, admin.snapshots),
            ("POST", "/v1/swap", Operation.ADMIN, admin.swap),
            ("POST", "/v1/rollback", Operation.ADMIN, admin.rollback),
        ],
    )


def _of_model(method: str, path: str, operation: Operation, handler: Handler) -> Routes:
    """The address of an operation on the model, and on one version of it."""
    model = "/v2/models/{model}"
    return [(method, at + path, operation, handler) for at in (model, model + _VERSION)]


def _app(guard: Guard, routes: Routes) -> Starlette:
    made = []
    for method, path, operation, handler in routes:
        endpoint = Endpoint(path, operation, handler, guard)
        made.append(Route(path, endpoint, methods=[method]))
    missing = Endpoint("other", OPEN, not_found, guard)
    app = Starlette(routes=made)
    app.router.default = missing
    app.router.redirect_slashes = False
    return app
