"""OpenTelemetry traces. They are off, and cost nothing, unless the environment names an endpoint.

FastAPI starts a span for each request, as a child of the caller's span (`traceparent`);
`app.telemetry.stages` adds one for each stage.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Tracer, get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..environment import is_installed
from ..version import VERSION
from ..wire.request_id import request_id
from ..wire.scope import get_outcome, get_route
from .stages import get_stages

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger("app")

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
REQUIRED_MODULES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
PACKAGES: Final = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"  # of the extra in pyproject.toml
UNTRACED_PATHS: Final = frozenset({"/health/live", "/health/ready", "/metrics"})  # polled


def find_provider(environment: Mapping[str, str] = os.environ) -> TracerProvider | None:
    """Return a tracer provider, or None if tracing is off or its extra is not installed.

    OpenTelemetry's SDK reads all other variables (sampling, headers, compression, …) by itself.
    """
    endpoint = next((name for name in ENDPOINT_VARIABLES if environment.get(name)), None)
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if endpoint is None or is_disabled or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if not all(is_installed(name) for name in REQUIRED_MODULES):
        log.warning(
            "no traces: the extra 'tracing' is not installed; pip install %s",
            PACKAGES,
            extra={endpoint: environment[endpoint]},
        )
        return None
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415  extra `tracing`
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    environment_attributes = OTELResourceDetector().detect().attributes
    defaults = {"service.name": "digits", "service.version": VERSION}
    resource = Resource.create({**defaults, **environment_attributes})
    return TracerProvider(resource=resource, shutdown_on_exit=False)


def configure(provider: TracerProvider | None) -> TelemetryConfig:
    """Return FastAPI's configuration: one span per request, or none; never metrics or logs."""
    is_traced = provider is not None
    config = TelemetryConfig(tracing=is_traced, metrics=False, logs=False, operation_spans=False)
    if provider is not None:
        config["tracer_provider"] = provider
        config["auto_configure"] = False  # otherwise FastAPI exports through a provider of its own
        config["exclude"] = lambda scope: scope["path"] in UNTRACED_PATHS
    return config


@asynccontextmanager
async def export(provider: TracerProvider | None) -> AsyncIterator[Tracer | None]:
    """Export spans in a thread while the block runs, and the remaining ones at its end."""
    if provider is None:
        yield None
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("digits", VERSION)
    finally:
        await asyncio.to_thread(provider.shutdown)


class CallSpan:
    """Middleware that starts a span for a gRPC call, as FastAPI does for other requests."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self._app = app
        self._tracer = provider.get_tracer("digits", VERSION)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        parent = propagate.extract(headers)
        with self._tracer.start_as_current_span(scope["path"], parent, kind=SpanKind.SERVER):
            await self._app(scope, receive, send)


class RequestSpan:
    """Middleware that describes a request's span: its route, outcome, model and number of digits.

    FastAPI does not see the route of requests that bypass its routing (`app.api.direct`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        span = get_current_span()
        if not span.is_recording():
            await self._app(scope, receive, send)
            return
        span.set_attribute("digits.request_id", request_id.get() or "")

        async def send_and_describe(message: Message) -> None:
            if message["type"] == "http.response.start":
                _describe(span, scope)
            await send(message)

        await self._app(scope, receive, send_and_describe)


def _describe(span: Span, scope: Scope) -> None:
    if route := get_route(scope):
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
    span.set_attribute("digits.outcome", get_outcome(scope) or "ok")
    if stages := get_stages(scope):
        span.set_attribute("digits.model", stages.model)
        span.set_attribute("digits.digits", stages.digits)
