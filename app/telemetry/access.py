"""The id of every request; one log line for each, and its place in the metrics."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import Any, Final

from opentelemetry.trace import format_trace_id, get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import CLIENT_CLOSED_REQUEST, OUTCOME, InternalError, shorten
from app.api.work import WORK, Stages
from app.guard.headers import header
from app.guard.keys import KEY_ID
from app.guard.routes import ROUTE
from app.telemetry.logs import new_id, request_id, told
from app.telemetry.metrics import NOWHERE, Metrics

log = logging.getLogger("app.access")

HEADER: Final = "X-Request-ID"
OK: Final = "ok"
HUNG_UP: Final = "hung_up"  # the client did, before there was an answer
_HEADER: Final = HEADER.lower().encode()
MAX_PATH: Final = 256  # characters in the log, of the 64 KiB that a head may have
LONGEST_ID: Final = 128  # printable characters of a caller's id; others are replaced


class AccessLog:
    """Give each request an id, the caller's if it has one, and log what became of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        identity = _identity(scope)
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
            _count(scope, status, seconds)
            if log.isEnabledFor(logging.INFO):
                _write(scope, status, seconds)


def _identity(scope: Scope) -> str:
    given = header(scope, _HEADER).decode("latin-1")
    if 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return new_id()


def _count(scope: Scope, status: int, seconds: float) -> None:
    metrics: Metrics = scope["state"]["metrics"]
    metrics.answered(scope["method"], scope.get(ROUTE, NOWHERE), status, seconds)
    if WORK in scope:
        metrics.worked(scope[WORK].spent)
    outcome = _outcome(scope, status)
    if outcome != OK:
        metrics.refused(outcome)


def _outcome(scope: Scope, status: int) -> str:
    if OUTCOME in scope:
        return str(scope[OUTCOME])
    if status == CLIENT_CLOSED_REQUEST:
        return HUNG_UP
    return InternalError.code if status == HTTPStatus.INTERNAL_SERVER_ERROR else OK


def _write(scope: Scope, status: int, seconds: float) -> None:
    client = scope.get("client")
    members: dict[str, Any] = {
        "method": scope["method"],
        "path": shorten(scope["path"], MAX_PATH),
        "status": status,
        "route": scope.get(ROUTE),
        "outcome": _outcome(scope, status),
        "duration_ms": round(seconds * 1e3, 2),
    }
    if WORK in scope:
        work: Stages = scope[WORK]
        for stage, spent in work.spent.items():
            members[f"{stage}_ms"] = round(spent * 1e3, 3)
        members["model"] = work.model
        members["digits"] = work.digits
        if work.digits:  # but not which: that is the client's, and logs are kept
            members["confidence"] = round(work.confidence, 4)
    members["client"] = client[0] if client else None
    members["key"] = scope.get(KEY_ID)
    if scope["state"]["tracer"] and (span := get_current_span().get_span_context()).is_valid:
        members["trace_id"] = format_trace_id(span.trace_id)
    told(log, "request", members)
