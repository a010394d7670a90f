"""How long a request's body may be, and how long it may take to arrive."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.capacity import BodyBudget, Readiness
from app.settings import Settings
from app.wire.paths import is_batch_path, is_picture_path
from app.wire.problems import BodyTooLarge, LengthRequired, Overloaded, ProblemResponse, SlowUpload
from app.wire.scope import get_header

MAX_SWALLOWED_BYTES: Final = 262_144  # bytes: about what a socket's buffers hold
# bytes within `STALL_SECONDS`: a twentieth of what a weak mobile connection sends
PROGRESS_BYTES: Final = 16_384
STALL_SECONDS: Final = 1.0  # seconds
NO_LENGTH: Final = "The request has no Content-Length, and its body does not come in chunks. Send either."


class UnreadGuard:
    """Close a connection whose large body nobody waited for: uvicorn would swallow the rest of it.

    A small one may be swallowed: it has mostly arrived already, and a new connection costs both sides more.

    Stands outside of all that may refuse a request before its body is read. Also asks clients to come
    back over a new connection while the worker drains.
    """

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_complete = False

        async def receive_and_note() -> Message:
            nonlocal is_complete
            message = await receive()
            is_complete = is_complete or not message.get("more_body", False)
            return message

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and (
                self._readiness.draining or not (is_complete or _may_be_swallowed(scope))
            ):
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive_and_note, send_and_close)


class BodyGuard:
    """Refuse a body by its declared length before it is read, by its counted length and age after.

    All bodies of a worker share its room. What has arrived fills it: a client that declares much and sends
    little does not keep others out.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, room: BodyBudget) -> None:
        self._app = app
        self._settings = settings
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings = self._settings
        limit = settings.max_batch_body_bytes if is_batch_path(scope["path"]) else settings.max_body_bytes
        declared = int(get_header(scope, b"content-length") or 0)  # the HTTP parser lets no other text pass
        if declared > limit:
            await ProblemResponse(_build_too_large(declared, limit))(scope, receive, send)
            return
        if not declared and _takes_picture(scope) and not _has_length(scope):
            await ProblemResponse(LengthRequired(NO_LENGTH))(scope, receive, send)
            return
        try:
            self._room.check(declared)
        except Overloaded as error:
            await ProblemResponse(error)(scope, receive, send)
            return
        body = _IncomingBody(receive, self._room, limit=limit, seconds=settings.read_timeout)
        self._room.begin(body)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._room.end(body)


class _IncomingBody:
    """A request's body on its way in."""

    __slots__ = (
        "_arrived_bytes",
        "_clock",
        "_deadline",
        "_is_complete",
        "_limit",
        "_next_progress",
        "_progressed_at",
        "_receive",
        "_room",
        "_seconds",
        "_timeout",
        "held_bytes",
    )

    def __init__(self, receive: Receive, room: BodyBudget, *, limit: int, seconds: float) -> None:
        self._receive = receive
        self._room = room
        self._limit = limit
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._progressed_at = self._clock()
        self._deadline = self._progressed_at + seconds
        self._timeout: asyncio.Timeout | None = None
        self._next_progress = PROGRESS_BYTES  # bytes, which will count as progress once they have arrived
        self._arrived_bytes = 0
        self._is_complete = False
        self.held_bytes = 0  # bytes that are held: all that have arrived, until the body is given up

    def is_stalled(self) -> bool:
        """Tell whether it has made no progress for a while."""
        return not self._is_complete and self._clock() - self._progressed_at > STALL_SECONDS

    def give_up(self) -> None:
        """End its time now."""
        self._deadline = self._clock()
        if self._timeout is not None:
            self._timeout.reschedule(self._deadline)

    async def receive(self) -> Message:
        if self._is_complete:  # what comes now is the client's hanging up, which may take as long as it likes
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline) as self._timeout:
                message = await self._receive()
        except TimeoutError:
            raise self._build_slow_upload() from None
        finally:
            self._timeout = None
        self._count(len(message.get("body", b"")))
        self._is_complete = not message.get("more_body", False)
        return message

    def _count(self, size: int) -> None:
        self._room.reserve(size)
        self.held_bytes += size
        self._arrived_bytes += size
        if self._arrived_bytes >= self._next_progress:
            self._progressed_at, self._next_progress = self._clock(), self._arrived_bytes + PROGRESS_BYTES
        if self._arrived_bytes > self._limit:
            raise _build_too_large(self._arrived_bytes, self._limit)

    def _build_slow_upload(self) -> SlowUpload:
        given_up = self.held_bytes < self._arrived_bytes
        if given_up:
            reason = f"stalled after {self._arrived_bytes} bytes, and others needed their memory."
        else:
            reason = f"had not arrived after {self._seconds:g} s, {self._arrived_bytes} bytes of it had."
        return SlowUpload(f"The body {reason} Send a smaller picture, or send it over a faster connection.")


def _takes_picture(scope: Scope) -> bool:
    return scope["method"] == "POST" and is_picture_path(scope["path"])


def _has_length(scope: Scope) -> bool:
    return bool(get_header(scope, b"content-length") or get_header(scope, b"transfer-encoding"))


def _may_be_swallowed(scope: Scope) -> bool:
    """Tell whether the rest of a body is short, as far as its length is known."""
    if get_header(scope, b"transfer-encoding"):
        return False
    length = get_header(scope, b"content-length")
    return int(length) <= MAX_SWALLOWED_BYTES if length else not _takes_picture(scope)


def _build_too_large(length: int, limit: int) -> BodyTooLarge:
    msg = (
        f"The body has {length} bytes or more, at most {limit} are allowed. Send a smaller picture, or fewer."
    )
    return BodyTooLarge(msg, limit=limit)
