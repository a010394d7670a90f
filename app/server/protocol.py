"""HTTP/1.1 as uvicorn speaks it, with the bounds that uvicorn and its parser, llhttp, leave open.

uvicorn parses whatever arrives at once. Here a connection parses one request at a time, up to its last byte;
what follows stays unparsed, and beyond a buffer unread, until the answer has been sent. That bounds
pipelining: 18 MB of pipelined requests used to cost 1.4 GB. It also keeps requests apart: rubbish behind a
good request no longer takes its answer away, and a body behind an offer to upgrade is not taken for a
request.

Time is bounded as well: for the head, for the rest of a body whose request has already been answered, and for
a client to take its answer.
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
MAX_READ: Final = 65_536  # bytes that a connection receives at a time, and may buffer beyond one request
MAX_CHUNKS: Final = 65_536  # of one body: 32 MiB in chunks of 512 bytes; parsing one takes a microsecond
MIN_RATE: Final = 1024  # bytes a second at which a client must take its answer
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
        self._body_left: int | None = 0  # bytes of the body yet to come; None where it comes in chunks
        self._complete = False  # the whole request has arrived, and is not answered yet
        self._ignoring = False  # nothing that still arrives will be parsed
        self._unparsed = 0  # bytes fed to the parser since the head began, or since some of the body came
        self._chunks = 0
        self._parser_is_lent = False  # it knows of the current request's body alone
        self._deadline: asyncio.TimerHandle | None = None  # for what the client has to send
        self._unsent = 0  # bytes of the answer that the client had left untaken at the last look
        self._progress_check: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        transport.max_size = MAX_READ  # type: ignore[attr-defined]  # asyncio reads 256 KiB otherwise
        transport.set_write_buffer_limits(high=0)  # report every byte that the client does not take
        # asyncio does so for the sockets that it has made, but these may come from uvicorn's parent process;
        # an answer's second packet would wait 40 ms for the first one to be acknowledged
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
        """Parse what belongs to the current request, and keep the rest."""
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
        """Tell whether the next request has to wait: for an answer, or for the client to take one."""
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
        else:  # the end may have begun with the last bytes: these wait
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
        # chunks have extensions, and trailers behind them: the parser would take any amount
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
        """Refuse what is not HTTP; a request that arrived before it keeps its answer."""
        if self._complete:
            self._ignore_rest()
        else:
            msg = "Invalid HTTP request received. Send HTTP/1.1, with a path in ASCII."
            self._refuse(MalformedRequest(msg))

    def _ignore_rest(self) -> None:
        """Parse nothing more, and hang up after the answer."""
        self._ignoring = True
        self._pending.clear()
        self.cycle.keep_alive = False

    def _ignore_upgrade(self) -> None:
        """Go on as if no upgrade had been offered (RFC 9110, section 7.8).

        llhttp leaves whatever follows such a head to another protocol. A new parser takes over: for the next
        request or, if there is a body, for that, of which it learns from a head of our own.
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
        if self._complete:  # behind a body in chunks, whose end the parser alone can tell
            self._ignore_rest()
            return
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Note the address, or a part of it."""
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
        """Take some of the body; trailers and chunk extensions are not part of it."""
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
        else:  # the rest of its body is skipped, if it comes in time
            self._unset_keepalive_if_required()
            self._set_deadline(self.transport.close)

    def _queue_pending(self) -> None:
        if self._pending and not self._is_blocked():
            self.flow.pause_reading()
            self._connections.queue(self)

    def resume(self) -> None:
        """Begin the next of the requests that have arrived; its turn has come."""
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
        """Expect the client to take what it has been sent."""
        super().pause_writing()
        self._schedule_progress_check()

    def resume_writing(self) -> None:
        """Go on, now that the client has taken everything."""
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
        """Answer with a problem, unless another answer is on its way, and hang up."""
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
        if STATE in self.app_state:  # an application of a test's own has none
            get_lifespan_state(self.app_state).metrics.count_refusal(problem.code)
        log.info("refused", extra={"status": answer.status_code, "client": self._get_client_address()})

    def _get_client_address(self) -> str | None:
        return self.client[0] if self.client else None


class _BodyCallbacks:
    """The callbacks of a parser that learns of a request's body alone."""

    def __init__(self, protocol: GuardedProtocol) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete


def read_framing(headers: Sequence[tuple[bytes, bytes]], version: str) -> tuple[str, int | None]:
    """Return what makes a head faulty, if anything does, and the length of the body behind it.

    The parser has checked already that a Content-Length is one number, and that no chunks follow it.

    Args:
        headers: names in small letters, and values.
        version: of HTTP, as 1.1.

    Returns:
        The fault, empty if there is none; the bytes of the body, None where it comes in chunks.
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
    """Return what uvicorn makes of each connection."""
    return partial(
        GuardedProtocol,
        connections=Connections(settings.max_connections),
        read_timeout=settings.read_timeout,
        write_timeout=settings.write_timeout,
    )
