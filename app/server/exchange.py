"""A request and its response, as the ASGI application sees them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..wire.scope import ARRIVAL, Arrival

_WITHOUT_BODY: Final = frozenset({204, 304})  # status codes of responses that never have one
# no header may contain them; the head has line breaks, which are counted
_CONTROL_CHARACTERS: Final = bytes((*range(9), 11, 12, *range(14, 32), 127))
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_DEFECT: Final[Message] = {
    "type": "http.response.start",
    "status": 500,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")],
}
log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True, slots=True)
class ConnectionHooks:
    """What an exchange needs of its connection."""

    write: Callable[[bytes], None]
    write_soon: Callable[[bytes], None]  # at the end of the event loop's turn
    close: Callable[[], None]  # as soon as everything is written
    is_closing: Callable[[], bool]
    end: Callable[[], None]  # called when the response is complete
    is_last: Callable[[], bool]  # whether the connection ends with the response that begins now
    flow: FlowControl
    tasks: set[asyncio.Task[None]]  # which the server waits for when it stops


class Exchange:
    """A request, whose body may still arrive, and its response.

    It replaces uvicorn's `RequestResponseCycle`, and costs half as much. Head and body of a response are
    sent in one packet: ASGI asks servers to wait for the body, and a packet costs as much as all guards do.
    The head is checked as a whole. A body that has arrived is handed on without a detour by the event loop.
    """

    def __init__(
        self,
        scope: Scope,
        connection: ConnectionHooks,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
        awaits_continue: bool,
    ) -> None:
        """Create an exchange for the request of `scope`; `headers` are those of every response."""
        self._scope = scope
        self._connection = connection
        self._headers = headers
        self._awaits_continue = awaits_continue
        self._body = bytearray()  # what has arrived, but was not received by the application
        self._arrival = scope[ARRIVAL] = Arrival()
        self._waiter: asyncio.Future[None] | None = None  # of the application, for the body
        self._unsent_head = b""
        self._is_chunked = False
        self._bytes_left = 0  # of the response's body
        self.keep_alive = keep_alive
        self.is_body_received = False  # by the application
        self.response_started = False
        self.response_complete = False
        self.disconnected = False

    # Request

    def start(self, app: ASGIApp) -> None:
        """Let the application answer."""
        self._connection.tasks.add(asyncio.get_running_loop().create_task(self._run(app)))

    def add_to_body(self, data: bytes) -> None:
        """Keep data of the body until the application receives it."""
        if self.response_complete:
            return
        self._body += data
        if len(self._body) > HIGH_WATER_LIMIT:
            self._connection.flow.pause_reading()
        self._wake()

    def complete_request(self) -> None:
        """Note that the whole body has arrived."""
        self._arrival.is_complete = True
        self._wake()

    def disconnect(self) -> None:
        """Note that the client has hung up."""
        self.disconnected = not self.response_complete
        self._wake()

    async def receive(self) -> Message:
        """Return what has arrived of the body since the last call; wait for more, or for the disconnect."""
        if self._awaits_continue and not self._connection.is_closing():
            self._connection.write(_CONTINUE)
            self._awaits_continue = False
        while not (self._has_news() or self.disconnected or self.response_complete):
            self._connection.flow.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        self._connection.flow.resume_reading()
        body, self._body = bytes(self._body), bytearray()
        self.is_body_received = self._arrival.is_complete
        return {"type": "http.request", "body": body, "more_body": not self.is_body_received}

    def _has_news(self) -> bool:
        return bool(self._body) or (self._arrival.is_complete and not self.is_body_received)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as error:
            log.error("Exception in ASGI application\n", exc_info=error)  # noqa: TRY400  with what cancelled it
        await self._ensure_end()
        self._connection.tasks.discard(asyncio.current_task())

    async def _ensure_end(self) -> None:
        """Answer for an application that did not, or close the connection if it has answered by halves."""
        if self.response_complete or self.disconnected:
            return
        if self.response_started and not self._unsent_head:
            self._connection.close()
            return
        self.response_started = self._is_chunked = False
        await self.send(_DEFECT)
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    # Response

    async def send(self, message: Message) -> None:
        """Send a part of the response; its head waits for the body.

        Raises:
            RuntimeError: the application has sent something that is no response.
        """
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        elif not self.response_complete:
            self._send_body(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            msg = f"The application sent {message['type']!r} after the end of its response."
            raise RuntimeError(msg)

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._awaits_continue = False
        all_headers = [*self._headers, *headers]
        all_headers += self._choose_framing(dict(all_headers), status)
        head = b"".join([STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in all_headers), b"\r\n"])
        line_breaks = len(all_headers) + 2
        is_valid = head.count(b"\n") == head.count(b"\r") == line_breaks and len(
            head.translate(None, _CONTROL_CHARACTERS)
        ) == len(head)
        if not is_valid:
            msg = "A header of the response has a line break, or another control character."
            raise RuntimeError(msg)
        self._unsent_head = head
        self.response_started = True

    def _choose_framing(self, headers: Mapping[bytes, bytes], status: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the headers that the application leaves to the server."""
        if b"content-length" in headers:
            self._bytes_left = int(headers[b"content-length"])
        elif b"transfer-encoding" in headers:
            self._is_chunked = True
        elif self._scope["method"] != "HEAD" and status not in _WITHOUT_BODY:
            self._is_chunked = True
            yield b"transfer-encoding", b"chunked"
        if b"close" in headers.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive or self._connection.is_last():
            self.keep_alive = False
            yield b"connection", b"close"

    def _send_body(self, body: bytes, *, is_last: bool) -> None:
        data, self._unsent_head = self._unsent_head + self._frame(body, is_last=is_last), b""
        if data:
            # a client that is alone need not wait
            is_soon = is_last and len(self._connection.tasks) > 1
            (self._connection.write_soon if is_soon else self._connection.write)(data)
        if is_last:
            self._end()

    def _frame(self, body: bytes, *, is_last: bool) -> bytes:
        if self._scope["method"] == "HEAD":
            self._bytes_left = 0
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" * is_last
        self._bytes_left -= len(body)
        if self._bytes_left < 0 or (is_last and self._bytes_left):
            msg = "The response is longer or shorter than its Content-Length."
            raise RuntimeError(msg)
        return body

    def _end(self) -> None:
        self.response_complete = True
        self._wake()
        if not self.keep_alive:
            self._connection.close()
        self._connection.end()
