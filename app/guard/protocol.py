"""HTTP/1.1 as uvicorn speaks it, with what it leaves open: how long a request's head may be, and how late.

llhttp, its parser, takes a head of any length, and what it holds of one it copies with every piece that
arrives: 64 MB of a single header keep the event loop busy for seconds.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api import problems
from app.guard.headers import ALWAYS
from app.settings import Settings
from app.telemetry.access import HEADER
from app.telemetry.logs import new_id, request_id

MAX_HEAD: Final = 65_536  # bytes: eight times what nginx and Apache take by default
log = logging.getLogger("app.access")


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *, head_timeout: float, **uvicorns: Any) -> None:  # noqa: ANN401
        super().__init__(**uvicorns)
        self.url = b""  # uvicorn sets it with the first request, which may be none
        self._head_timeout = head_timeout
        self._in_head = False
        self._unparsed = 0  # bytes since the parser last came to the end of a head, or to some body
        self._came = 0  # bytes that the parser is being fed with
        self._at_first = 0  # those in which the head began
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        # asyncio does so for the sockets that it has made, but these may come from uvicorn's parent process;
        # an answer's second packet would wait 40 ms for the first one to be acknowledged
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self._came = len(data)
        self._unparsed += self._came
        super().data_received(data)
        if self._unparsed > MAX_HEAD:
            self._refuse_head()
        elif self._in_head and self._late is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begin a request; the parser calls it, and what is below."""
        self._unparsed = 0
        self._at_first = self._came
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        most = self._at_first + self._unparsed
        self._unparsed = 0
        self._in_head = False
        self._expect_nothing()
        if most > MAX_HEAD and self._head_size() > MAX_HEAD:
            self._refuse_head()
        else:
            super().on_headers_complete()
            if self.scope["method"] == "POST":
                self.cycle.transport = _InOnePiece(self.transport)  # type: ignore[assignment]  # all it needs

    def on_body(self, body: bytes) -> None:
        """Take some of the body; its trailers and the names of its chunks are no part of it."""
        self._unparsed = 0
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._unparsed = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls it."""
        self._refuse(problems.MalformedRequest(f"{msg} Send HTTP/1.1, with a path in ASCII."))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_head(self) -> None:
        msg = f"The request's head has more than {MAX_HEAD} bytes. Send fewer or shorter headers."
        self._refuse(problems.HeadTooLarge(msg, limit=MAX_HEAD))

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(self._head_timeout, self._head_is_late)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_is_late(self) -> None:
        if self._in_head:
            msg = f"The request's head had not arrived after {self._head_timeout:g} s. Send it at once."
            self._refuse(problems.SlowUpload(msg))
        else:  # nothing has come at all
            self.transport.close()

    def _refuse(self, problem: problems.RequestProblem) -> None:
        """Answer with a problem, unless another answer is on its way, and hang up."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            identity = new_id()
            request_id.set(identity)
            answer = problems.response(problem, headers={HEADER: identity, "Connection": "close"})
            answer.speak_as(self.url.decode("latin-1").partition("?")[0])
            head = b"".join(b"%b: %b\r\n" % header for header in [*answer.raw_headers, *ALWAYS])
            status = f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}\r\n"
            self.transport.write(b"".join([status.encode(), head, b"\r\n", answer.body]))
            client = self.client[0] if self.client else None
            metrics = self.app_state.get("metrics")  # none under a server of a test's own
            if metrics:
                metrics.refused(problem.code)
            log.info("refused", extra={"status": answer.status_code, "client": client})
        self.transport.close()


class _InOnePiece:
    """What one answer is written to: its head waits for its body, as a call of the kernel takes 10 µs."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def is_closing(self) -> bool:
        """Tell whether the connection ends."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Keep the head, write the rest."""
        if self._head is not None:
            self._transport.write(self._head + data)
            self._head = b""
        elif data.startswith(b"HTTP/1.1 100 "):
            self._transport.write(data)
        else:
            self._head = data

    def close(self) -> None:
        """Write what is left, and hang up."""
        self._transport.write(self._head or b"")
        self._transport.close()


def guarded(settings: Settings) -> partial[GuardedProtocol]:
    """Return what uvicorn makes of each connection."""
    return partial(GuardedProtocol, head_timeout=settings.read_timeout)
