"""Limits on the size of a request's body and on the time in which it arrives."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..capacity import BodyBudget
from ..settings import Settings
from ..wire.paths import is_batch_path, is_picture_path
from ..wire.problems import BodyTooLarge, LengthRequired, Overloaded, ProblemResponse, SlowUpload
from ..wire.scope import Arrival, get_arrival, get_header

PROGRESS_BYTES: Final = 16_384  # within `STALL_SECONDS`; a weak mobile connection sends twenty times as much
STALL_SECONDS: Final = 1.0
NO_LENGTH: Final = "The request has neither a Content-Length nor a chunked body. Send one of the two."


class BodyGuard:
    """Refuse bodies that are too large or too slow, if possible before they are read.

    A body is refused by its Content-Length first, and by the bytes and seconds counted while it arrives.
    All bodies of a worker share one budget of bytes.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, body_budget: BodyBudget) -> None:
        self._app = app
        self._settings = settings
        self._body_budget = body_budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        settings = self._settings
        limit = settings.max_batch_body_bytes if is_batch_path(scope["path"]) else settings.max_body_bytes
        declared = int(get_header(scope, b"content-length") or 0)  # the HTTP parser accepts digits only
        if declared > limit:
            await ProblemResponse(_build_too_large(declared, limit))(scope, receive, send)
            return
        if not declared and _takes_picture(scope) and not _has_length(scope):
            # what follows may be its body, and no other request
            await ProblemResponse(LengthRequired(NO_LENGTH), {"Connection": "close"})(scope, receive, send)
            return
        arrival = get_arrival(scope)
        if not arrival.is_complete:
            try:
                self._body_budget.check(declared)
            except Overloaded as error:
                await ProblemResponse(error)(scope, receive, send)
                return
        body = _IncomingBody(receive, self._body_budget, arrival, limit=limit, seconds=settings.read_timeout)
        self._body_budget.add(body)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._body_budget.remove(body)


class _IncomingBody:
    def __init__(
        self, receive: Receive, body_budget: BodyBudget, arrival: Arrival, *, limit: int, seconds: float
    ) -> None:
        self._receive = receive
        self._body_budget = body_budget
        self._arrival = arrival
        self._limit = limit
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._progressed_at = self._clock()
        self._deadline = self._progressed_at + seconds
        self._timeout: asyncio.Timeout | None = None
        self._next_progress = PROGRESS_BYTES  # the number of arrived bytes that counts as progress
        self._arrived_bytes = 0
        self._is_complete = False
        self.held_bytes = 0  # all that have arrived, or 0 once the body is dropped

    def is_stalled(self) -> bool:
        return not self._is_complete and self._clock() - self._progressed_at > STALL_SECONDS

    def drop(self) -> None:
        self._deadline = self._clock()
        if self._timeout is not None:
            self._timeout.reschedule(self._deadline)

    async def receive(self) -> Message:
        if self._is_complete:  # the next message is the disconnect, for which there is no deadline
            return await self._receive()
        message = await (self._receive() if self._arrival.is_complete else self._receive_in_time())
        self._count(len(message.get("body", b"")))
        self._is_complete = not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline) as self._timeout:
                return await self._receive()
        except TimeoutError:
            raise self._build_slow_upload() from None
        finally:
            self._timeout = None

    def _count(self, size: int) -> None:
        self._body_budget.reserve(size)
        self.held_bytes += size
        self._arrived_bytes += size
        if self._arrived_bytes >= self._next_progress:
            self._progressed_at, self._next_progress = self._clock(), self._arrived_bytes + PROGRESS_BYTES
        if self._arrived_bytes > self._limit:
            raise _build_too_large(self._arrived_bytes, self._limit)

    def _build_slow_upload(self) -> SlowUpload:
        if self.held_bytes < self._arrived_bytes:  # it was dropped
            reason = f"The body stalled after {self._arrived_bytes} bytes, when memory was short."
        else:
            reason = f"Only {self._arrived_bytes} bytes of the body arrived within {self._seconds:g} s."
        return SlowUpload(f"{reason} Send a smaller picture, or use a faster connection.")


def _takes_picture(scope: Scope) -> bool:
    return scope["method"] == "POST" and is_picture_path(scope["path"])


def _has_length(scope: Scope) -> bool:
    return bool(get_header(scope, b"content-length") or get_header(scope, b"transfer-encoding"))


def _build_too_large(length: int, limit: int) -> BodyTooLarge:
    size = f"The body has at least {length} bytes; at most {limit} are allowed."
    return BodyTooLarge(f"{size} Send fewer or smaller pictures.", limit=limit)
