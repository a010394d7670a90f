"""uvicorn's HTTP/1.1 protocol, with limits and timeouts that uvicorn and its parser, llhttp, don't have.

uvicorn parses all data as soon as it arrives. This protocol parses one request at a time. Pipelined requests
wait unparsed in a buffer until the response has been sent, and once the buffer is full, the socket is not
read. This limits memory: with uvicorn's own protocol, 18 MB of pipelined requests took 1.4 GB. It also
separates requests: garbage after a valid request does not cost that request its response, and a body that
follows an Upgrade header is not parsed as another request.

There are timeouts for the head, for the remaining body of a request that has been answered already, and for a
client that does not read its response.

A connection is not closed while a body arrives on it: TCP would reset it, and the response would be lost, so
that a proxy answers 502 (RFC 9112, section 9.6). Only the sending side is closed, and what still arrives is
discarded, until the client closes the other side, or has sent too much for too long.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..guard.headers import SECURITY_HEADERS
from ..settings import Settings
from ..state import STATE, get_lifespan_state
from ..wire.problems import (
    HeadTooLarge,
    MalformedRequest,
    Overloaded,
    ProblemResponse,
    RequestProblem,
    SlowUpload,
)
from ..wire.request_id import REQUEST_ID_HEADER, generate_request_id, request_id
from .connections import Connections
from .deadline import Deadline
from .exchange import ConnectionHooks, Exchange
from .outbox import Outbox, OutboxTransport

MAX_HEAD: Final = 65_536  # bytes: eight times what nginx and Apache accept by default
MAX_READ: Final = 65_536  # bytes that a connection reads at a time, and buffers beyond the current request
MAX_CHUNKS: Final = 65_536  # in one body: 32 MiB in chunks of 512 bytes, each parsed in a microsecond
MAX_SKIPPED: Final = 262_144  # bytes of an unread body that are awaited: a new connection costs more
# Bytes of a body that are discarded after a response that ends the connection. They cost no more than a body
# that is accepted and turns out to be no picture.
MAX_DISCARDED: Final = 33_554_432
MIN_RATE: Final = 1024  # bytes a second at which a client must read its response
END_OF_HEAD: Final = b"\r\n\r\n"
HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
)  # RFC 3986, §3.2.2
log = logging.getLogger("app.access")


class GuardedProtocol(HttpToolsProtocol):
    """A client's connection, with limits and timeouts."""

    cycle: Exchange  # type: ignore[assignment]  # the current request, or the last one

    def __init__(
        self,
        *,
        connections: Connections,
        outbox: Outbox,
        read_timeout: float,
        write_timeout: float,
        root_path: str = "",
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**options)
        self.url = b""  # uvicorn sets it when the first request begins
        self._connections = connections
        self._outbox = outbox
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout
        self._root_path = root_path
        self._pending = bytearray()  # received, but not parsed yet
        self._is_idle = False  # between two requests
        self._in_head = False
        self._in_body = False
        self._body_length: int | None = 0  # bytes of the body; None if it is chunked
        self._body_left: int | None = 0  # bytes of the body still to come; None if it is chunked
        self._awaits_response = False  # the request has arrived, its response has not been sent
        self._ignoring = False  # further data is discarded
        self._discardable: int | None = None  # bytes that may still arrive before the connection is closed
        self._bytes_since_progress = 0  # bytes parsed since the head or the last data of the body
        self._chunks = 0
        self._has_body_parser = False  # the parser reads only a body, after an ignored Upgrade header
        self._deadline = Deadline(self.loop)  # when the client must have sent more
        self._unsent = 0  # bytes in the write buffer at the last progress check
        self._progress_check: asyncio.TimerHandle | None = None

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Configure the socket, and wait for the first request."""
        outgoing = OutboxTransport(transport, self._outbox)
        super().connection_made(outgoing)  # type: ignore[arg-type]
        self._hooks = ConnectionHooks(
            write=outgoing.write,
            write_soon=outgoing.write_soon,
            close=self._close_after_response,
            is_closing=transport.is_closing,
            end=self.on_response_complete,
            is_last=self._ends_with_response,
            flow=self.flow,
            tasks=self.tasks,
        )
        transport.max_size = MAX_READ  # type: ignore[attr-defined]  # asyncio reads 256 KiB otherwise
        transport.set_write_buffer_limits(high=0)  # `pause_writing` as soon as a byte is unsent
        # asyncio sets TCP_NODELAY only on sockets that it has created. Without it, the second packet of a
        # response waits 40 ms for the acknowledgement of the first.
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._deadline.set(self._read_timeout, self._time_out_head)
        if not self._connections.admit(self):
            msg = f"All {self._connections.limit} connections are busy. Try again in a second."
            self._refuse(Overloaded(msg, limit=self._connections.limit))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers, drop buffered data, and tell the application."""
        del exc
        self.connections.discard(self)
        self._connections.remove(self)
        self._pending.clear()
        self._deadline.close()
        self._cancel_progress_check()
        if self.cycle is not None:
            self.cycle.disconnect()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]

    def close_idle(self) -> None:
        """Close the connection, which is idle, to make room for another."""
        self.transport.abort()

    # Reading

    def data_received(self, data: bytes) -> None:
        """Parse data that belongs to the current request, and buffer the rest."""
        self._end_idleness()
        if self._discardable is not None:
            self._discard(len(data))
            return
        if not self._ignoring:
            self._pending += data
        self._parse_pending()

    def _parse_pending(self) -> None:
        while self._pending and (data := self._take_parsable()):
            self._feed(data)
        if self._ignoring or (self._pending and self._is_blocked()):
            self.flow.pause_reading()
        elif not (self._deadline.is_set or self._in_body) and (self._bytes_since_progress or self._pending):
            self._deadline.set(self._read_timeout, self._time_out_head)  # a part of a head has arrived

    def _is_blocked(self) -> bool:
        """Tell whether the next request must wait until the response has been sent and read."""
        return self._awaits_response or self.flow.write_paused

    def _take_parsable(self) -> bytes:
        """Remove and return the buffered bytes that may be parsed now; those of a later request stay."""
        if self._ignoring or self._is_blocked() or self.transport.is_closing():
            return b""
        pending = self._pending
        if self._in_body:
            count = len(pending) if self._body_left is None else min(self._body_left, len(pending))
        elif (end := pending.find(END_OF_HEAD)) >= 0:
            count = end + len(END_OF_HEAD)
        else:  # the last bytes may be the first of END_OF_HEAD
            count = max(len(pending) - len(END_OF_HEAD) + 1, 0)
        data = bytes(pending[:count])
        del pending[:count]
        return data

    def _feed(self, data: bytes) -> None:
        room = len(data) if self._in_body else max(MAX_HEAD - self._bytes_since_progress, 0)
        self._bytes_since_progress += len(data)
        if self._body_left:
            self._body_left -= len(data)
        if room:
            self._parse(data[:room])  # of a head that is too long the beginning, which has the path
        # the parser does not limit chunk extensions and trailers
        is_too_long = self._bytes_since_progress > MAX_HEAD and self._body_left in {None, 0}
        if is_too_long and not self._awaits_response:
            self._refuse_head()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
        except httptools.HttpParserError:
            self._refuse_invalid()

    def _refuse_invalid(self) -> None:
        """Refuse invalid HTTP; a complete request before it still gets its response."""
        if self._awaits_response:
            self._ignore_rest()
        else:
            msg = "Invalid HTTP request received. Send HTTP/1.1, with a path in ASCII."
            self._refuse(MalformedRequest(msg))

    def _ignore_rest(self) -> None:
        """Discard further data, and close the connection after the response."""
        self._ignoring = True
        self._pending.clear()
        self.cycle.keep_alive = False

    def _ignore_upgrade(self) -> None:
        """Process the request as if it had no Upgrade header (RFC 9110, section 7.8).

        llhttp stops after the head of such a request, because another protocol may follow. A new parser takes
        over. If a body is still to come, it is first fed an artificial head with the same framing, so that it
        parses the body; otherwise it starts with the next request.
        """
        if self._awaits_response:
            self.parser = httptools.HttpRequestParser(self)
            return
        self._has_body_parser = True
        self.parser = httptools.HttpRequestParser(_BodyCallbacks(self))
        length = self._body_left
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + END_OF_HEAD)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._awaits_response:
            # only the parser knows where a chunked body ends, and it has gone on to the next request
            self._ignore_rest()
            return
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Add to the URL."""
        if not self._ignoring:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        if self._ignoring:
            return
        name = name.lower()
        self.expect_100_continue |= name == b"expect" and value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass the request to the application, unless its framing is invalid."""
        if self._ignoring:
            return
        self._deadline.clear()
        self._in_head = False
        self._bytes_since_progress = 0
        fault, self._body_length = read_framing(self.headers, self.parser.get_http_version())
        self._body_left = self._body_length
        if fault:
            self._refuse(MalformedRequest(fault))
            return
        self._in_body = True
        self._connections.note_busy(self)
        self._begin_exchange()

    def _begin_exchange(self) -> None:
        version, url = self.parser.get_http_version(), httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""
        self.cycle = Exchange(
            self.scope,  # type: ignore[arg-type]
            self._hooks,
            self.server_state.default_headers,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            awaits_continue=self.expect_100_continue,
        )
        self.cycle.start(self.app)

    def _ends_with_response(self) -> bool:
        """Tell whether the connection ends with the response: its worker drains, or a large body is unread.

        uvicorn would receive and discard the rest of a body, however long.
        """
        is_long = self._body_length is None or self._body_length > MAX_SKIPPED
        return (is_long and not self.cycle.is_body_received) or self._is_draining()

    def _is_draining(self) -> bool:
        return STATE in self.app_state and get_lifespan_state(self.app_state).readiness.draining

    def on_body(self, body: bytes) -> None:
        """Pass data of the body to the application."""
        if self._awaits_response or self.transport.is_closing():
            return
        self._bytes_since_progress = 0
        self._chunks += self._body_left is None
        if self._chunks > MAX_CHUNKS:
            msg = f"The body has more than {MAX_CHUNKS} chunks. Send larger ones, or a Content-Length."
            self._refuse(MalformedRequest(msg))
        else:
            self.cycle.add_to_body(body)

    def on_message_complete(self) -> None:
        """Complete the request."""
        if self._awaits_response or self._ignoring or self.transport.is_closing():
            return
        if self.parser.should_upgrade() and self._body_left != 0:  # see `_ignore_upgrade`
            return
        self.cycle.complete_request()
        if self.cycle.response_complete:  # answered before its body had arrived
            self._deadline.clear()
            self._reset()
            self._begin_idleness()
        else:
            self._awaits_response = True
            self._bytes_since_progress = 0

    # Writing

    def on_response_complete(self) -> None:
        """Continue with the next request; the exchange calls this."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._connections.note_idle(self)
        if self._awaits_response:
            self._reset()
            self._begin_idleness()
            self._queue_pending()
        else:  # discard the rest of the body; close the connection if it does not arrive in time
            self._deadline.set(self._read_timeout, self.transport.close)

    def _close_after_response(self) -> None:
        """Close the connection, but only our side of it while data arrives that nobody reads."""
        is_body_arriving = self._in_body and not self._awaits_response
        if self.transport.is_closing() or not (is_body_arriving or self._ignoring):
            self.transport.close()
            return
        left = self._body_left if is_body_arriving else None
        self._discardable = min(left or MAX_DISCARDED, MAX_DISCARDED)
        self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.set(self._read_timeout, self.transport.close)
        self._discard(len(self._pending))
        self._pending.clear()

    def _discard(self, count: int) -> None:
        """Discard bytes of a body; close the connection if they were the last, or more than may come."""
        if self._discardable is not None:
            self._discardable -= count
            if self._discardable <= 0:
                self.transport.close()

    def _queue_pending(self) -> None:
        if self._pending and not self._is_blocked():
            self.flow.pause_reading()
            self._connections.queue(self)

    def resume(self) -> None:
        """Begin the next pipelined request."""
        if not self.transport.is_closing():
            self._end_idleness()
            self.flow.resume_reading()
            self._parse_pending()

    def _reset(self) -> None:
        self._awaits_response = self._in_body = False
        self._body_left = 0
        self._bytes_since_progress = self._chunks = 0
        if self._has_body_parser:
            self._has_body_parser = False
            self.parser = httptools.HttpRequestParser(self)

    def _begin_idleness(self) -> None:
        self._is_idle = True
        self._deadline.set(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _end_idleness(self) -> None:
        if self._is_idle:
            self._is_idle = False
            self._deadline.clear()

    def pause_writing(self) -> None:
        """Start to check that the client reads its response."""
        super().pause_writing()
        self._schedule_progress_check()

    def resume_writing(self) -> None:
        """Continue with the next request: everything has been sent."""
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
        sent = self._unsent - self.transport.get_write_buffer_size()
        if sent < MIN_RATE * self._write_timeout:
            client = self._get_client_address()
            log.info("closed a connection whose client does not read the response", extra={"client": client})
            self.transport.abort()
        else:
            self._schedule_progress_check()

    # Timeouts and refusals

    def _time_out_head(self) -> None:
        if self._in_head:
            msg = f"The request's head did not arrive within {self._read_timeout:g} s. Send it faster."
            self._refuse(SlowUpload(msg))
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        msg = f"The request's head has more than {MAX_HEAD} bytes. Send fewer or shorter headers."
        self._refuse(HeadTooLarge(msg, limit=MAX_HEAD))

    def _refuse(self, problem: RequestProblem) -> None:
        """Respond with a problem, unless a response has begun, and close the connection."""
        if self.transport.is_closing():
            return
        has_started = self.cycle is not None and self.cycle.response_started  # type: ignore[redundant-expr]
        if not has_started or self.cycle.response_complete:
            self._write_problem(problem)
        self._ignoring = True
        self._pending.clear()
        self.transport.close()

    def _write_problem(self, problem: RequestProblem) -> None:
        new_id = generate_request_id()
        request_id.set(new_id)
        response = ProblemResponse(problem, {REQUEST_ID_HEADER: new_id, "Connection": "close"})
        path, _, query = self.url.partition(b"?")
        response.adapt_to(path.decode("latin-1").removeprefix(self._root_path), query)
        status = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}\r\n"
        headers = b"".join(b"%b: %b\r\n" % header for header in [*response.raw_headers, *SECURITY_HEADERS])
        self.transport.write(b"".join([status.encode(), headers, b"\r\n", response.body]))
        if STATE in self.app_state:  # other applications, as in tests, have no such state
            get_lifespan_state(self.app_state).metrics.count_refusal(problem.code)
        log.info("refused", extra={"status": response.status_code, "client": self._get_client_address()})

    def _get_client_address(self) -> str | None:
        return self.client[0] if self.client else None


class _BodyCallbacks:
    """The callbacks of a parser that only parses the body of a request."""

    def __init__(self, protocol: GuardedProtocol) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete


def read_framing(headers: Sequence[tuple[bytes, bytes]], version: str) -> tuple[str, int | None]:
    """Validate the headers that decide where a request ends.

    The parser has already rejected several Content-Lengths, and a Content-Length with a Transfer-Encoding.

    Args:
        headers: names in lower case, and values.
        version: the HTTP version, such as "1.1".

    Returns:
        Two values: what is wrong, or an empty string; and the length of the body in bytes, or None if it is
        chunked.
    """
    names, values = [name for name, _ in headers], dict(headers)
    host_count, coding = names.count(b"host"), values.get(b"transfer-encoding")
    fault = ""
    if host_count > 1 or (not host_count and version == "1.1"):
        fault = (
            f"The request has {host_count or 'no'} Host headers. Send exactly one (RFC 9112, section 3.2)."
        )
    elif host_count and not HOST.fullmatch(values[b"host"]):
        fault = "The Host header is not a name or address with an optional port (RFC 9112, section 3.2)."
    elif coding is not None and (
        version == "1.0" or coding.strip().lower() != b"chunked" or names.count(b"transfer-encoding") > 1
    ):
        fault = (
            "The Transfer-Encoding is not supported here. Send HTTP/1.1 with 'chunked' alone, or a "
            "Content-Length."
        )
    return fault, int(values.get(b"content-length", 0)) if coding is None else None


def create_protocol_factory(settings: Settings) -> partial[GuardedProtocol]:
    """Return a callable that creates the protocol of a connection."""
    return partial(
        GuardedProtocol,
        connections=Connections(settings.max_connections),
        outbox=Outbox(),
        read_timeout=settings.read_timeout,
        write_timeout=settings.write_timeout,
        root_path=settings.root_path or "",
    )
