"""HTTP/1.1 as uvicorn speaks it, with the bounds that uvicorn and its parser, llhttp, leave open.

uvicorn parses whatever arrives at once. Here a connection parses one request at a time, up to its last byte.
What follows stays unparsed, and beyond a buffer unread, until the answer has been sent. That bounds
pipelining: 18 MB of pipelined requests used to cost 1.4 GB. It also keeps requests apart: garbage after a
valid request doesn't cost that request its answer, and a body after an upgrade offer isn't parsed as a
request.

Time is bounded as well: for the head, for the rest of a body whose request has already been answered, and for
the client to read its answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.guard.headers import SECURITY_HEADERS
from app.server.connections import Connections
from app.settings import Settings
from app.state import STATE, get_lifespan_state
from app.wire.problems import (
    HeadTooLarge,
    MalformedRequest,
    Overloaded,
    ProblemResponse,
    RequestProblem,
    SlowUpload,
)
from app.wire.request_id import REQUEST_ID_HEADER, generate_request_id, request_id

MAX_HEAD: Final = 65_536  # bytes: eight times what nginx and Apache accept by default
MAX_READ: Final = 65_536  # bytes that a connection reads at once, and may buffer beyond one request
MAX_CHUNKS: Final = 65_536  # of one body: 32 MiB in chunks of 512 bytes; parsing one takes a microsecond
MIN_RATE: Final = 1024  # bytes a second at which a client must read its answer
END_OF_HEAD: Final = b"\r\n\r\n"
HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
)  # RFC 3986, §3.2.2
log = logging.getLogger("app.access")


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        *,
        connections: Connections,
        read_timeout: float,
        write_timeout: float,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**options)
        self.url = b""  # uvicorn sets it with the first request, which may never come
        self._connections = connections
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout
        self._pending = bytearray()  # received, but not parsed yet
        self._in_head = False
        self._in_body = False
        self._body_left: int | None = 0  # bytes of the body still to come; None if it comes in chunks
        self._complete = False  # the whole request has arrived, and is not answered yet
        self._ignoring = False  # nothing more will be parsed
        self._unparsed = 0  # bytes parsed since the head began, or since the last piece of the body
        self._chunks = 0
        self._parser_is_lent = False  # the parser only reads the body of the current request
        self._deadline: asyncio.TimerHandle | None = None  # for what the client has to send
        self._unsent = 0  # bytes of the answer that the client had not read at the last check
        self._progress_check: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        transport.max_size = MAX_READ  # type: ignore[attr-defined]  # asyncio reads 256 KiB otherwise
        transport.set_write_buffer_limits(high=0)  # report every byte that the client does not read
        # asyncio does so for its own sockets, but these may come from the parent process; without it, the
        # second packet of an answer would wait 40 ms for the first to be acknowledged
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_deadline(self._give_up_head)
        if not self._connections.admit(self):
            msg = f"All {self._connections.limit} connections are busy. Try again in a second."
            self._refuse(Overloaded(msg, limit=self._connections.limit))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.remove(self)
        self._pending.clear()
        self._clear_deadline()
        self._cancel_progress_check()
        super().connection_lost(exc)

    def close_idle(self) -> None:
        """Make room for another connection."""
        self.transport.abort()

    # What arrives

    def data_received(self, data: bytes) -> None:
        """Parse the bytes of the current request, and keep the rest."""
        self._unset_keepalive_if_required()
        if not self._ignoring:
            self._pending += data
        self._parse_pending()

    def _parse_pending(self) -> None:
        while self._pending and (piece := self._take_piece()):
            self._feed(piece)
        if self._ignoring or (self._pending and self._is_blocked()):
            self.flow.pause_reading()
        elif self._deadline is None and not self._in_body and (self._unparsed or self._pending):
            self._set_deadline(self._give_up_head)

    def _is_blocked(self) -> bool:
        """Tell whether the next request has to wait for an answer to be sent or read."""
        return self._complete or self.flow.write_paused

    def _take_piece(self) -> bytes:
        """Take the bytes that the parser may have now, none of which belong to the next request."""
        if self._ignoring or self._is_blocked() or self.transport.is_closing():
            return b""
        pending = self._pending
        if self._in_body:
            count = len(pending) if self._body_left is None else min(self._body_left, len(pending))
        elif (end := pending.find(END_OF_HEAD)) >= 0:
            count = end + len(END_OF_HEAD)
        else:  # the last bytes may be the beginning of the end: they wait
            count = max(len(pending) - len(END_OF_HEAD) + 1, 0)
        piece = bytes(pending[:count])
        del pending[:count]
        return piece

    def _feed(self, piece: bytes) -> None:
        self._unparsed += len(piece)
        if self._body_left:
            self._body_left -= len(piece)
        if self._unparsed <= MAX_HEAD or self._in_body:
            self._parse(piece)
        # chunks have extensions and trailers, which the parser accepts at any length
        if self._unparsed > MAX_HEAD and self._body_left in {None, 0} and not self._complete:
            self._refuse_head()

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
        except httptools.HttpParserError:
            self._reject_invalid()

    def _reject_invalid(self) -> None:
        """Refuse what is not HTTP; a complete request before it keeps its answer."""
        if self._complete:
            self._ignore_rest()
        else:
            msg = "Invalid HTTP request received. Send HTTP/1.1, with a path in ASCII."
            self._refuse(MalformedRequest(msg))

    def _ignore_rest(self) -> None:
        """Parse nothing more, and close the connection after the answer."""
        self._ignoring = True
        self._pending.clear()
        self.cycle.keep_alive = False

    def _ignore_upgrade(self) -> None:
        """Go on as if no upgrade had been offered (RFC 9110, section 7.8).

        llhttp leaves whatever follows such a head to another protocol. So a new parser takes over: for the
        next request or, if there is a body, for that body, which a head written here announces.
        """
        if self._complete:
            self.parser = httptools.HttpRequestParser(self)
            return
        self._parser_is_lent = True
        self.parser = httptools.HttpRequestParser(_BodyCallbacks(self))
        length = self._body_left
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + END_OF_HEAD)

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._complete:  # after a chunked body, whose end only the parser knows
            self._ignore_rest()
            return
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Note the URL, or a part of it."""
        if not self._ignoring:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        if not self._ignoring:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its head is faulty."""
        if self._ignoring:
            return
        self._clear_deadline()
        self._in_head = False
        self._unparsed = 0
        fault, self._body_left = read_framing(self.headers, self.parser.get_http_version())
        if fault:
            self._refuse(MalformedRequest(fault))
            return
        self._in_body = True
        self._connections.note_busy(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, without trailers and chunk extensions."""
        if self._complete or self.transport.is_closing():
            return
        self._unparsed = 0
        self._chunks += self._body_left is None
        if self._chunks > MAX_CHUNKS:
            msg = f"The body has more than {MAX_CHUNKS} chunks. Send larger ones, or a Content-Length."
            self._refuse(MalformedRequest(msg))
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        if self._complete or self._ignoring or self.transport.is_closing():
            return
        if self.parser.should_upgrade() and self._body_left != 0:  # see `_ignore_upgrade`
            return
        super().on_message_complete()
        if self.cycle.response_complete:  # it was refused without its body
            self._clear_deadline()
            self._reset()
            self._keep_alive()
        else:
            self._complete = True
            self._unparsed = 0

    # What is answered

    def on_response_complete(self) -> None:
        """Go on with the next request; uvicorn calls this."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        self._connections.note_idle(self)
        if self._complete:
            self._reset()
            self._queue_pending()
        else:  # the rest of its body is skipped, if it arrives in time
            self._unset_keepalive_if_required()
            self._set_deadline(self.transport.close)

    def _queue_pending(self) -> None:
        if self._pending and not self._is_blocked():
            self.flow.pause_reading()
            self._connections.queue(self)

    def resume(self) -> None:
        """Begin the next request that has arrived."""
        if not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.flow.resume_reading()
            self._parse_pending()

    def _reset(self) -> None:
        self._complete = self._in_body = False
        self._body_left = 0
        self._unparsed = self._chunks = 0
        if self._parser_is_lent:
            self._parser_is_lent = False
            self.parser = httptools.HttpRequestParser(self)

    def _keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        handler = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, handler)

    def pause_writing(self) -> None:
        """Expect the client to read what it has been sent."""
        super().pause_writing()
        self._schedule_progress_check()

    def resume_writing(self) -> None:
        """Go on, now that the client has read everything."""
        super().resume_writing()
        self._cancel_progress_check()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._queue_pending()

    def _schedule_progress_check(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._progress_check = self.loop.call_later(self._write_timeout, self._check_progress)

    def _cancel_progress_check(self) -> None:
        if self._progress_check is not None:
            self._progress_check.cancel()
            self._progress_check = None

    def _check_progress(self) -> None:
        bytes_read = self._unsent - self.transport.get_write_buffer_size()
        if bytes_read < MIN_RATE * self._write_timeout:
            log.info(
                "gave up on an answer that its client does not receive",
                extra={"client": self._get_client_address()},
            )
            self.transport.abort()
        else:
            self._schedule_progress_check()

    # What is refused

    def _set_deadline(self, give_up: Callable[[], None]) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(self._read_timeout, give_up)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up_head(self) -> None:
        if self._in_head:
            msg = f"The request's head had not arrived after {self._read_timeout:g} s. Send it at once."
            self._refuse(SlowUpload(msg))
        else:  # no request has begun
            self.transport.close()

    def _refuse_head(self) -> None:
        msg = f"The request's head has more than {MAX_HEAD} bytes. Send fewer or shorter headers."
        self._refuse(HeadTooLarge(msg, limit=MAX_HEAD))

    def _refuse(self, problem: RequestProblem) -> None:
        """Answer with a problem, unless another answer has begun, and close the connection."""
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and self.cycle.response_started  # type: ignore[redundant-expr]
        if not is_answering or self.cycle.response_complete:
            self._write_problem(problem)
        self._ignoring = True
        self._pending.clear()
        self.transport.close()

    def _write_problem(self, problem: RequestProblem) -> None:
        identity = generate_request_id()
        request_id.set(identity)
        answer = ProblemResponse(problem, {REQUEST_ID_HEADER: identity, "Connection": "close"})
        answer.adapt_to(self.url.decode("latin-1").partition("?")[0])
        head = b"".join(b"%b: %b\r\n" % header for header in [*answer.raw_headers, *SECURITY_HEADERS])
        status = f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}\r\n"
        self.transport.write(b"".join([status.encode(), head, b"\r\n", answer.body]))
        if STATE in self.app_state:  # only an application in a test has none
            get_lifespan_state(self.app_state).metrics.count_refusal(problem.code)
        log.info("refused", extra={"status": answer.status_code, "client": self._get_client_address()})

    def _get_client_address(self) -> str | None:
        return self.client[0] if self.client else None


class _BodyCallbacks:
    """The callbacks of a parser that only reads the body of a request."""

    def __init__(self, protocol: GuardedProtocol) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete


def read_framing(headers: Sequence[tuple[bytes, bytes]], version: str) -> tuple[str, int | None]:
    """Return what is wrong with a head, or an empty text, and the length of its body, None for chunks.

    The parser has already checked that a Content-Length is one number, and that no chunks follow it. Names of
    `headers` are in lower case; `version` is that of HTTP, such as 1.1.
    """
    hosts, codings, length = [], [], 0
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            codings.append(value.strip().lower())
    fault = ""
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        fault = (
            f"The request has {len(hosts) or 'no'} Host headers. Send exactly one (RFC 9112, section 3.2)."
        )
    elif hosts and not HOST.fullmatch(hosts[0]):
        fault = "The Host header is not a name or address with an optional port (RFC 9112, section 3.2)."
    elif codings and (version == "1.0" or codings != [b"chunked"]):
        fault = (
            "The Transfer-Encoding is not supported here. Send HTTP/1.1 with 'chunked' alone, or a "
            "Content-Length."
        )
    return fault, None if codings else length


def create_protocol_factory(settings: Settings) -> partial[GuardedProtocol]:
    """Return what creates the protocol of each connection."""
    return partial(
        GuardedProtocol,
        connections=Connections(settings.max_connections),
        read_timeout=settings.read_timeout,
        write_timeout=settings.write_timeout,
    )
