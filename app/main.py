"""The ASGI application, built by `create_app`. Importing this module has no side effects."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .api import explain, feedback, health, models, number, openapi, page, predict, tensorflow_serving
from .api import metrics as metrics_route
from .api.direct import DirectDispatch
from .api.errors import EXPECTED_ERRORS, answer_error
from .api.v2 import infer, repository, server
from .batching import Batcher
from .capacity import BodyBudget, Places, Readiness, Threads
from .digits.catalogue import Catalogue
from .digits.errors import UnknownModel
from .digits.process import set_up_process
from .guard.bodies import BodyGuard
from .guard.cors import Cors
from .guard.headers import HeaderGuard
from .guard.keys import KeyGuard, Keyring
from .guard.prefix import PrefixGuard
from .guard.proxies import ProxyGuard
from .guard.rates import Buckets, RateGuard, WrongKeyLimiter
from .guard.routes import HeadAsGet, RouteGuard
from .settings import Settings, load_settings
from .state import STATE, State
from .telemetry import tracing
from .telemetry.access import AccessLog
from .telemetry.metrics import METRICS, Metrics
from .version import VERSION
from .wire.paths import OPENAPI_PATH
from .wire.request_id import REQUEST_ID_HEADER

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from .feedback.async_store import AsyncStore
    from .label_studio.pictures import LabelStudio

log = logging.getLogger("app")

DESCRIPTION = """Reads pictures of handwritten digits: phone photos, scans, drawings.

Every error is `application/problem+json` (RFC 9457); its `code` is for programs, its `detail` for people.
"""


def create_app(
    settings: Settings | None = None,
    keyring: Keyring | None = None,
    *,
    catalogue: Catalogue | None = None,
    threads: int | None = None,
    open_registry: Callable[[], CollectorRegistry | None] = lambda: None,
) -> FastAPI:
    """Return the ASGI application.

    Args:
        settings: by default, read from the environment.
        keyring: by default, read from the settings or the file that they name.
        catalogue: the models; by default, they are loaded when the application's lifespan starts.
        threads: number of threads for work that is too long for the event loop; by default, the number of
            cores.
        open_registry: called when the lifespan starts; returns the registry that the workers share, if any.

    Raises:
        SettingsError: a setting in the environment is invalid.
        InvalidKeys, OSError: the keys can't be read.
    """
    settings = settings or load_settings()
    buckets = Buckets(settings.rate_limit) if settings.rate_limit else None
    parts = _Parts(
        settings=settings,
        keyring=keyring or Keyring(settings.api_keys, settings.api_keys_file),
        catalogue=catalogue,
        buckets=buckets,
        wrong_keys=WrongKeyLimiter(buckets),
        open_registry=open_registry,
        readiness=Readiness(),
        body_budget=BodyBudget(settings.max_bytes_in_flight),
        threads=threads or os.cpu_count() or 1,
        tracer_provider=tracing.find_provider(),
    )
    app = _create_application(parts)
    _include_routes(app, settings)
    page.install_page(app)
    return app


def _create_application(parts: _Parts) -> FastAPI:
    root_path = parts.settings.root_path
    return openapi.Application(
        requires_key=bool(parts.keyring.keys),
        title="Digits",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's page loads scripts from a CDN; `page` serves ours
        license_info=openapi.LICENSE,
        openapi_tags=openapi.TAGS,
        openapi_url=OPENAPI_PATH,
        responses=openapi.ANY_ERROR,
        servers=[{"url": root_path}] if root_path else None,
        generate_unique_id_function=lambda route: route.name,  # names the functions of generated clients
        lifespan=lambda _: _lifespan(parts),
        middleware=_build_middleware(parts),
        exception_handlers=dict.fromkeys((*EXPECTED_ERRORS, Exception), answer_error),
        telemetry=tracing.configure(parts.tracer_provider),
        redirect_slashes=False,  # `RouteGuard` does it
        redoc_url=None,
    )


def _include_routes(app: FastAPI, settings: Settings) -> None:
    for module in (predict, number, explain, feedback, models, health, metrics_route):
        app.include_router(module.router)
    for module in (server, infer, repository, tensorflow_serving):
        app.include_router(module.router)
    if settings.mcp:
        from .mcp import http  # noqa: PLC0415  needs the extra `mcp`

        app.include_router(http.router)
    if settings.label_studio_url is not None:
        from .api.label_studio import backend  # noqa: PLC0415  needs the extra `labelstudio`

        app.include_router(backend.router)
    if settings.sagemaker:
        from .api import sagemaker  # noqa: PLC0415  off by default

        app.include_router(sagemaker.router)


class HttpOnly:
    """Send only HTTP requests through the middleware; the lifespan goes directly to the router."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        app = self._app if scope["type"] == "http" else scope["app"].router
        await app(scope, receive, send)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a worker that exist before its lifespan starts."""

    settings: Settings
    keyring: Keyring
    catalogue: Catalogue | None  # None if it is loaded when the lifespan starts
    buckets: Buckets | None  # None if there is no rate limit
    wrong_keys: WrongKeyLimiter
    open_registry: Callable[[], CollectorRegistry | None]
    readiness: Readiness
    body_budget: BodyBudget
    threads: int
    tracer_provider: TracerProvider | None


def _build_middleware(parts: _Parts) -> list[Middleware]:
    """Return the middleware, outermost first."""
    settings = parts.settings
    cors = [_configure_cors(settings.cors_origins)] if settings.cors_origins else []
    return [
        Middleware(HttpOnly),
        *_build_observers(parts),
        Middleware(HeaderGuard),
        *cors,
        Middleware(RouteGuard),
        *_build_guards(parts),
        Middleware(HeadAsGet),
        Middleware(DirectDispatch),
    ]


def _build_observers(parts: _Parts) -> list[Middleware]:
    """Return what finds out who sends a request and what becomes of it."""
    root_path, trusted = parts.settings.root_path, parts.settings.trusted_proxies
    return [
        *([Middleware(PrefixGuard, root_path=root_path)] if root_path else []),
        *([Middleware(ProxyGuard, trusted=trusted)] if trusted else []),
        Middleware(AccessLog, traced=parts.tracer_provider is not None),
        *([Middleware(tracing.RequestSpan)] if parts.tracer_provider else []),
    ]


def _build_guards(parts: _Parts) -> list[Middleware]:
    """Return what decides whether a request is served."""
    return [
        *([_configure_keys(parts)] if parts.keyring.keys else []),
        *([] if parts.buckets is None else [Middleware(RateGuard, buckets=parts.buckets)]),
        Middleware(BodyGuard, settings=parts.settings, body_budget=parts.body_budget),
    ]


def _configure_cors(origins: Sequence[str]) -> Middleware:
    return Middleware(
        Cors,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=[
            "Content-Type",
            "Authorization",
            "X-API-Key",
            REQUEST_ID_HEADER,
            infer.JSON_LENGTH_HEADER,
        ],
        expose_headers=[
            REQUEST_ID_HEADER,
            "Server-Timing",
            "Retry-After",
            "RateLimit",
            "RateLimit-Policy",
            infer.JSON_LENGTH_HEADER,
        ],
    )


def _configure_keys(parts: _Parts) -> Middleware:
    public_docs = parts.settings.public_docs
    return Middleware(KeyGuard, keyring=parts.keyring, public_docs=public_docs, wrong_keys=parts.wrong_keys)


@asynccontextmanager
async def _lifespan(parts: _Parts) -> AsyncIterator[Mapping[str, Any]]:
    set_up_process()
    logging.captureWarnings(capture=True)
    settings = parts.settings
    catalogue = parts.catalogue or Catalogue.load(settings.models_dir, default=settings.default_model)
    log.info("ready", extra={"models": catalogue.get_recipe_versions()})
    _warn_of_missing_models(catalogue)
    places, threads = Places(settings.max_in_flight), Threads(parts.threads)
    has_feedback = settings.feedback_url is not None
    registry = parts.open_registry()
    metrics = Metrics(catalogue, places, threads, has_feedback=has_feedback, shared_registry=registry)
    async with (
        tracing.export(parts.tracer_provider) as tracer,
        _open_feedback_store(settings) as store,
        _connect_label_studio(settings) as label_studio,
    ):
        state = State(
            settings=settings,
            keyring=parts.keyring,
            catalogue=catalogue,
            readiness=parts.readiness,
            places=places,
            batcher=Batcher(),
            body_budget=parts.body_budget,
            threads=threads,
            metrics=metrics,
            feedback_store=store,
            label_studio=label_studio,
            tracer=tracer,
        )
        lifespan = {STATE: state, METRICS: metrics}
        async with _serve_grpc(parts, lifespan), _serve_mcp(settings) as further_state:
            yield lifespan | further_state
    log.info("stopped")


@asynccontextmanager
async def _serve_mcp(settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """Yield what /mcp adds to the lifespan's state."""
    if not settings.mcp:
        yield {}
        return
    from .mcp import http  # noqa: PLC0415  needs the extra `mcp`

    async with http.run(settings) as manager:
        yield {http.MANAGER: manager}


@asynccontextmanager
async def _serve_grpc(parts: _Parts, lifespan: Mapping[str, Any]) -> AsyncIterator[None]:
    """Serve gRPC while the block runs, if a port is configured for it."""
    if parts.settings.grpc_port is None:
        yield
        return
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when it is imported; the log is ours
    from .rpc.transport import serve  # noqa: PLC0415  needs the extra `grpc`

    provider = parts.tracer_provider
    spans = [] if provider is None else [Middleware(tracing.CallSpan, provider=provider)]
    middleware = [*spans, *_build_observers(parts), *_build_guards(parts)]
    async with serve(middleware, parts.settings, lifespan):
        yield


def _warn_of_missing_models(catalogue: Catalogue) -> None:
    """Tell the operator of an older folder of models that /predict/number can't answer."""
    try:
        catalogue.get_number_reader()
    except UnknownModel as error:
        log.warning(error.detail)


@asynccontextmanager
async def _open_feedback_store(settings: Settings) -> AsyncIterator[AsyncStore | None]:
    if settings.feedback_url is None:
        yield None
        return
    from .feedback.async_store import AsyncStore  # noqa: PLC0415  needs the extra `feedback`

    store = AsyncStore(settings.feedback_url, max_bytes=settings.feedback_max_bytes)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _connect_label_studio(settings: Settings) -> AsyncIterator[LabelStudio | None]:
    if settings.label_studio_url is None:
        yield None
        return
    from .label_studio.pictures import LabelStudio  # noqa: PLC0415  needs the extra `labelstudio`

    label_studio = LabelStudio(settings.label_studio_url, settings.label_studio_key)
    try:
        yield label_studio
    finally:
        await label_studio.close()
