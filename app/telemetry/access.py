"""The id of every request; one log line for each, and its place in the metrics."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import Any, Final

from opentelemetry.trace import format_trace_id, get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry.logs import log_info
from app.telemetry.metrics import UNKNOWN_ROUTE, metrics_of
from app.telemetry.stages import get_stages
from app.wire.problems import CLIENT_CLOSED_REQUEST, InternalError, shorten
from app.wire.request_id import REQUEST_ID_HEADER, generate_request_id, request_id
from app.wire.scope import get_header, get_key_id, get_outcome, get_route

log = logging.getLogger("app.access")

OK: Final = "ok"
HUNG_UP: Final = "hung_up"  # the client did, before there was an answer
_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
MAX_PATH: Final = 256  # characters in the log, of the 64 KiB that a head may have
MAX_ID: Final = 128  # printable characters of a caller's id; others are replaced


class AccessLog:
    """Give each request an id, the caller's if it has one, and log and count what became of it."""

    def __init__(self, app: ASGIApp, *, traced: bool) -> None:
        self._app = app
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        identity = _choose_id(scope)
        request_id.set(identity)
        status = 500  # what the client gets if the application raises before it answers

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, identity.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            _count_request(scope, status, seconds)
            if log.isEnabledFor(logging.INFO):
                self._write(scope, status, seconds)

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        client = scope.get("client")
        members: dict[str, Any] = {
            "method": scope["method"],
            "path": shorten(scope["path"], MAX_PATH),
            "status": status,
            "route": get_route(scope),
            "outcome": _determine_outcome(scope, status),
            "duration_ms": round(seconds * 1e3, 2),
        }
        if stages := get_stages(scope):
            for stage, spent in stages.seconds.items():
                members[f"{stage}_ms"] = round(spent * 1e3, 3)
            members["model"] = stages.model
            members["digits"] = stages.digits
            if stages.digits:  # but not which: that is the client's, and logs are kept
                members["confidence"] = round(stages.confidence, 4)
        members["client"] = client[0] if client else None
        members["key"] = get_key_id(scope)
        if self._traced and (span := get_current_span().get_span_context()).is_valid:
            members["trace_id"] = format_trace_id(span.trace_id)
        log_info(log, "request", members)


def _count_request(scope: Scope, status: int, seconds: float) -> None:
    metrics = metrics_of(scope)
    metrics.count_request(scope["method"], get_route(scope) or UNKNOWN_ROUTE, status, seconds)
    if stages := get_stages(scope):
        metrics.observe_stages(stages.seconds)
    outcome = _determine_outcome(scope, status)
    if outcome != OK:
        metrics.count_refusal(outcome)


def _choose_id(scope: Scope) -> str:
    given = get_header(scope, _HEADER).decode("latin-1")
    if 0 < len(given) <= MAX_ID and given.isascii() and given.isprintable():
        return given
    return generate_request_id()


def _determine_outcome(scope: Scope, status: int) -> str:
    if outcome := get_outcome(scope):
        return outcome
    if status == CLIENT_CLOSED_REQUEST:
        return HUNG_UP
    return InternalError.code if status == HTTPStatus.INTERNAL_SERVER_ERROR else OK
