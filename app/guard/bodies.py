"""How long a request's body may be, and how long it may take to arrive."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.v2.paths import infers
from app.guard.headers import header
from app.guard.places import Room
from app.settings import Settings

SWALLOWED: Final = 262_144  # bytes: about what a socket's buffers hold
BATCH_PATH: Final = "/predict/batch"


class UnreadGuard:
    """Close a connection whose large body nobody waited for: uvicorn would swallow the rest of it.

    A small one may be swallowed: it has mostly arrived already, and a new connection costs both sides more.

    Stands outside of all that may refuse a request before its body is read. Also asks clients to come
    back over a new connection while the worker drains.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        whole = _declared(scope) <= SWALLOWED

        async def receive_and_note() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                draining = scope["state"]["readiness"].draining
                if not whole or draining:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive_and_note, send_and_close)


class BodyGuard:
    """Refuse a body by its declared length before it is read, by its counted length and age after.

    All bodies of a worker share its room. What has arrived fills it: a client that declares much and sends
    little should not keep others out.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        batch = scope["path"] == BATCH_PATH or infers(scope["path"])
        limit = self._settings.max_batch_body_bytes if batch else self._settings.max_body_bytes
        declared = int(header(scope, b"content-length") or 0)
        # a header that is no number never gets here: the HTTP parser refuses the request
        if declared > limit:
            await problems.response(_too_large(declared, limit))(scope, receive, send)
            return
        room: Room = scope["state"]["room"]
        try:
            room.check(declared)
        except problems.Overloaded as error:
            await problems.response(error)(scope, receive, send)
            return
        body = _Body(receive, room, limit=limit, seconds=self._settings.read_timeout)
        try:
            await self._app(scope, body.receive, send)
        finally:
            room.clear(body.counted)


class _Body:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, room: Room, *, limit: int, seconds: float) -> None:
        self._receive = receive
        self._room = room
        self._limit = limit
        self._seconds = seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.counted = 0
        self.whole = False

    async def receive(self) -> Message:
        if self.whole:  # what comes now is the client's hanging up, which may take as long as it likes
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            msg = (
                f"The body had not arrived after {self._seconds:g} s, {self.counted} bytes of it had. "
                "Send a smaller picture, or send it over a faster connection."
            )
            raise problems.SlowUpload(msg) from None
        size = len(message.get("body", b""))
        self._room.fill(size)
        self.counted += size
        self.whole = not message.get("more_body", False)
        if self.counted > self._limit:
            raise _too_large(self.counted, self._limit)
        return message


def _declared(scope: Scope) -> float:
    """Return the body's length as it was declared, infinite for one in chunks."""
    return math.inf if header(scope, b"transfer-encoding") else int(header(scope, b"content-length") or 0)


def _too_large(length: int, limit: int) -> problems.BodyTooLarge:
    msg = (
        f"The body has {length} bytes or more, at most {limit} are allowed. Send a smaller picture, or fewer."
    )
    return problems.BodyTooLarge(msg, limit=limit)
