"""The HTTP application: routes over a `Backend`, whichever it is. Knows no torch and no Ray.

Open to everyone are /healthz, /readyz and the page; all else needs a key unless keys are off.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
from fastapi import Depends, FastAPI, Security
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles

from segray.config.serve import Keys, NoKeys, ServeConfig
from segray.serving import metrics
from segray.serving.backend import Backend, BusyError, ModelInfo, UnreadyError
from segray.serving.http import openapi, problems
from segray.serving.http.api import Api
from segray.serving.http.headers import HeadAsGet, SecurityHeaders
from segray.serving.http.hosts import OwnHosts
from segray.serving.http.keys import Keyring
from segray.serving.http.problems import ProblemError, responses
from segray.serving.http.query import only_query
from segray.serving.http.schemas import HealthAnswer, ModelsAnswer

PAGE: Final = Path(__file__).parents[1] / "page"
_KEPT: Final = {"Cache-Control": "no-cache"}
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    backend: Backend,
    config: ServeConfig,
    *,
    observers: Sequence[metrics.Observer] = (),
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The application; `observers` see every image that is segmented, in threads.

    Raises:
        ConfigError: the key file cannot be used.
    """
    # A redirect of a trailing slash would name the host and scheme that the request names.
    app = openapi.DocumentedFastAPI(lifespan=lifespan, redirect_slashes=False)
    counts = metrics.Metrics()
    problems.install(app)
    if isinstance(config.keys, NoKeys) and not config.keys.exposed:
        app.add_middleware(OwnHosts)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(metrics.RequestCounter, metrics=counts)
    app.add_middleware(HeadAsGet)
    guard = _guard(config.keys)
    api = Api(backend, config, (counts.image, *observers))
    api.add_segment(app, guard)
    if config.clicks is not None:
        api.add_masks(app, guard)
    asked = _Models(backend, config.limits.timeout_s)
    _add_models(app, asked, guard)
    _add_health(app, asked)
    _add_documents(app, counts, guard)
    if config.page:
        _add_page(app)
    return app


def _guard(keys: Keys) -> list[Any]:
    """What a route depends on so that only those with a key get through."""
    if isinstance(keys, NoKeys):
        return []
    ring = Keyring(keys.path)

    async def check(
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
        header: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
    ) -> None:
        given = bearer.credentials if bearer else header
        if given is None or not ring.admits(given):
            detail = "send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`" if given is None else "no such key"
            raise ProblemError(401, "no-key", detail, headers={"WWW-Authenticate": "Bearer"})

    return [Depends(check)]


class _Models:
    """What answers now, asked for within the time limit: copies that start may keep their callers waiting."""

    def __init__(self, backend: Backend, timeout_s: float) -> None:
        self._backend = backend
        self._timeout_s = timeout_s

    async def __call__(self) -> list[ModelInfo]:
        with anyio.move_on_after(self._timeout_s):
            return await self._backend.models()
        raise UnreadyError("no model answered within the time limit")


def _add_models(app: FastAPI, models: _Models, guard: list[Any]) -> None:
    @app.get("/v1/models", dependencies=[*guard, Depends(only_query())], responses=responses(401, 422, 429, 500, 503))
    async def listed() -> ModelsAnswer:
        """What answers now, the student first."""
        return ModelsAnswer(models=await models())


def _add_health(app: FastAPI, models: _Models) -> None:
    @app.get("/healthz")
    async def healthz() -> HealthAnswer:
        """Whether the process answers at all."""
        return HealthAnswer(status="alive")

    @app.get("/readyz", responses=responses(503))
    async def readyz() -> HealthAnswer:
        """Whether the models are loaded and warm; those with a full queue are."""
        with suppress(BusyError):
            await models()
        return HealthAnswer(status="ready")


def _add_documents(app: FastAPI, counts: metrics.Metrics, guard: list[Any]) -> None:
    @app.get("/metrics", dependencies=guard, response_class=Response, responses=responses(401))
    async def prometheus() -> Response:
        """Prometheus' text."""
        return Response(counts.text(), media_type=metrics.CONTENT_TYPE)

    @app.get("/openapi.json", dependencies=guard, include_in_schema=False)
    async def document() -> JSONResponse:
        return JSONResponse(app.openapi())


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=_KEPT)

    app.mount("/page", PageFiles(directory=PAGE, check_dir=False))


class PageFiles(StaticFiles):
    """The page's files, which a browser may keep and asks about each time."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Answer with a file."""
        response = super().file_response(*args, **options)
        response.headers.update(_KEPT)
        return response
