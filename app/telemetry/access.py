"""Middleware that gives each request an id, logs it in one line and counts it in the metrics."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import Any, Final

from opentelemetry.trace import format_trace_id, get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..wire.problems import CLIENT_CLOSED_REQUEST, InternalError, shorten
from ..wire.request_id import REQUEST_ID_HEADER, generate_request_id, request_id
from ..wire.scope import get_header, get_key_id, get_outcome, get_route
from .logs import RequestRecord
from .metrics import UNKNOWN_ROUTE, get_metrics
from .stages import get_stages

log = logging.getLogger("app.access")

OK: Final = "ok"
HUNG_UP: Final = "hung_up"  # the client disconnected before the response began
_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
_DEFECT: Final = HTTPStatus.INTERNAL_SERVER_ERROR.value
MAX_PATH: Final = 256  # characters in the log; a request may send up to 64 KiB
MAX_ID: Final = 128  # printable ASCII characters of a client's id; other ids are replaced


class AccessLog:
    """Keeps or generates the id of each request, and logs and counts its outcome."""

    def __init__(self, app: ASGIApp, *, traced: bool) -> None:
        self._app = app
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started = time.perf_counter()
        chosen_id = _choose_id(scope)
        request_id.set(chosen_id)
        status = 500  # if the application raises before the response starts

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, chosen_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            _count_request(scope, status, seconds)
            if log.isEnabledFor(logging.INFO):
                self._log_request(scope, status, seconds)

    def _log_request(self, scope: Scope, status: int, seconds: float) -> None:
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
            for stage, duration in stages.seconds.items():
                members[f"{stage}_ms"] = round(duration * 1e3, 3)
            members["model"] = stages.model
            members["digits"] = stages.digits
            if stages.digits:  # never the digits themselves: they are private, and logs are stored
                members["confidence"] = round(stages.confidence, 4)
        members["client"] = client[0] if client else None
        members["key"] = get_key_id(scope)
        if self._traced and (span := get_current_span().get_span_context()).is_valid:
            members["trace_id"] = format_trace_id(span.trace_id)
        log.handle(RequestRecord(log, members))


def _count_request(scope: Scope, status: int, seconds: float) -> None:
    metrics = get_metrics(scope)
    metrics.count_request(scope["method"], get_route(scope) or UNKNOWN_ROUTE, status, seconds)
    if stages := get_stages(scope):
        metrics.observe_stages(stages.seconds)
    outcome = _determine_outcome(scope, status)
    if outcome != OK:
        metrics.count_refusal(outcome)


def _choose_id(scope: Scope) -> str:
    client_id = get_header(scope, _HEADER).decode("latin-1")
    if 0 < len(client_id) <= MAX_ID and client_id.isascii() and client_id.isprintable():
        return client_id
    return generate_request_id()


def _determine_outcome(scope: Scope, status: int) -> str:
    if outcome := get_outcome(scope):
        return outcome
    if status == CLIENT_CLOSED_REQUEST:
        return HUNG_UP
    return InternalError.code if status == _DEFECT else OK
