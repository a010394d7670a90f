"""The application: `create_app(settings)`. Nothing happens at import."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import cv2
from anyio import CapacityLimiter
from fastapi import FastAPI

from app import __version__, cores
from app.api import feedback, health, metrics, models, number, openapi, page, predict, problems
from app.api.direct import Direct
from app.api.v2 import infer, repository, server
from app.digits.catalogue import Catalogue
from app.guard.bodies import BodyGuard, UnreadGuard
from app.guard.cors import Cors
from app.guard.headers import HeaderGuard
from app.guard.keys import PUBLIC, KeyGuard, Keyring
from app.guard.places import Places, Room
from app.guard.proxies import ProxyGuard
from app.guard.rates import Buckets, RateGuard, WrongKeys
from app.guard.routes import HeadGuard, RouteGuard
from app.settings import Settings, load_settings
from app.signals import drain_on_sigterm, reload_on_sighup
from app.state import Readiness, State
from app.telemetry import tracing
from app.telemetry.access import HEADER, AccessLog
from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from app.feedback.keeper import Keeper

log = logging.getLogger("app")

DESCRIPTION = """Reads pictures of handwritten digits: phone photos, scans, drawings.

Every error is `application/problem+json` (RFC 9457); its `code` is for programs, its `detail` for people.
"""


def create_app(settings: Settings | None = None, keyring: Keyring | None = None) -> FastAPI:
    """Return the ASGI application; models are loaded when its lifespan begins.

    Args:
        settings: read from the environment if not given.
        keyring: read as the settings say if not given.

    Raises:
        SettingsError: the environment holds a wrong setting.
        BadKeys, OSError: the keys can't be read.
    """
    settings = settings or load_settings()
    keyring = keyring or Keyring(settings.api_keys, settings.api_keys_file)
    traces = tracing.provider()
    app = FastAPI(
        title="Digits",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's loads its scripts from elsewhere; `page` has our own
        license_info=openapi.LICENSE,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=lambda route: route.name,  # what generated clients call it
        lifespan=lambda app: _lifespan(app, settings, keyring, traces),
        telemetry=tracing.config(traces),
        redirect_slashes=False,  # `RouteGuard` redirects, with a status that keeps the method
        redoc_url=None,
    )
    for group in (predict, number, feedback, models, health, metrics, server, infer, repository):
        app.include_router(group.router)
    page.install(app)
    problems.install(app)
    # the last one added is the first that a request meets
    app.add_middleware(Direct)
    app.add_middleware(HeadGuard)
    app.add_middleware(BodyGuard, settings=settings)
    buckets = Buckets(settings.rate_limit) if settings.rate_limit else None
    if buckets is not None:
        app.add_middleware(RateGuard, buckets=buckets)
    if keyring.keys:
        wrong = WrongKeys(buckets)
        app.add_middleware(KeyGuard, keyring=keyring, public_docs=settings.public_docs, wrong=wrong)
    app.add_middleware(RouteGuard, application=app)
    app.add_middleware(UnreadGuard)
    if settings.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", "Authorization", "X-API-Key", HEADER, infer.JSON_LENGTH],
            expose_headers=[
                HEADER,
                "Server-Timing",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
                infer.JSON_LENGTH,
            ],
        )
    app.add_middleware(HeaderGuard)
    if traces:
        app.add_middleware(tracing.RequestSpan)
    app.add_middleware(AccessLog)
    if settings.trusted_proxies:
        app.add_middleware(ProxyGuard, trusted=settings.trusted_proxies)
    return app


@asynccontextmanager
async def _lifespan(
    app: FastAPI, settings: Settings, keyring: Keyring, traces: TracerProvider | None
) -> AsyncIterator[State]:
    cv2.setNumThreads(1)  # pictures are small: threads would wait for each other
    logging.captureWarnings(capture=True)
    document = app.openapi()  # `RouteGuard` asks for it; made within the first request, it would hold that up
    openapi.complete(document, public=PUBLIC, locked=bool(keyring.keys))
    started = time.perf_counter()
    catalogue = Catalogue.load(settings.models_dir, default=settings.default_model)
    log.info(
        "ready", extra={"models": catalogue.versions(), "seconds": round(time.perf_counter() - started, 3)}
    )
    readiness, places, threads = Readiness(), Places(settings.max_in_flight), CapacityLimiter(cores.usable())
    numbers = Metrics(catalogue, places, threads, feedback=settings.feedback_url is not None)
    with drain_on_sigterm(readiness, delay=settings.drain_delay), reload_on_sighup(catalogue, keyring):
        async with numbers.kept(), tracing.exported(traces) as tracer, _keeper(settings) as keeper:
            yield State(
                settings=settings,
                catalogue=catalogue,
                places=places,
                room=Room(settings.max_bytes_in_flight),
                readiness=readiness,
                threads=threads,
                metrics=numbers,
                feedback=keeper,
                tracer=tracer,
            )
    log.info("stopped")


@asynccontextmanager
async def _keeper(settings: Settings) -> AsyncIterator[Keeper | None]:
    """Keep pictures while the block runs, where there is a database for them."""
    if settings.feedback_url is None:
        yield None
        return
    from app.feedback.keeper import Keeper  # noqa: PLC0415  an extra

    keeper = Keeper(settings.feedback_url, most=settings.feedback_max_bytes)
    try:
        yield keeper
    finally:
        await keeper.close()
