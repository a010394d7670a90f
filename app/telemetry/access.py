"""The id of every request, and one log line for each."""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.guard.headers import header
from app.guard.keys import KEY_ID
from app.telemetry.logs import new_id, request_id

log = logging.getLogger("app.access")

HEADER: Final = "X-Request-ID"
_HEADER: Final = HEADER.lower().encode()
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
            _write(scope, status, milliseconds=(time.perf_counter() - started) * 1e3)


def _identity(scope: Scope) -> str:
    given = header(scope, _HEADER).decode("latin-1")
    if 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return new_id()


def _write(scope: Scope, status: int, *, milliseconds: float) -> None:
    if not log.isEnabledFor(logging.INFO):
        return
    client = scope.get("client")
    members = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "duration_ms": round(milliseconds, 2),
        "client": client[0] if client else None,
        "key": scope.get(KEY_ID),
    }
    # made by hand: log.info would look through the stack for the line of code that calls it
    log.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, "request", (), None, extra=members))
