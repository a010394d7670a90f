"""gRPC calls as ASGI requests: metadata become headers, the message the body, and the response a status."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import grpc
from grpc import aio
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Scope

from ..settings import Settings, SettingsError
from ..wire.problems import CLIENT_CLOSED_REQUEST, MalformedRequest
from ..wire.request_id import REQUEST_ID_HEADER
from ..wire.scope import ROUTE, get_client
from .methods import METHODS, answer_call
from .receptions import Receptions

Context: TypeAlias = Any  # grpcio is published without types
IDLE_MILLISECONDS: Final = 300_000  # until a connection without calls is closed; clients open a new one
MAX_STREAMS: Final = 128  # simultaneous calls of a connection; clients queue further ones
# Calls that wait for the event loop, which takes so many within 1.5 s. Above a lower limit, 1,000 by default,
# gRPC cancels new calls at random, whoever's they are.
MAX_PENDING: Final = 3000
# the headers of a response that a client gets as trailing metadata
_METADATA: Final = frozenset(
    {
        REQUEST_ID_HEADER.lower(),
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "server-timing",
        "www-authenticate",
    }
)
NO_MESSAGE: Final = "The call has no message. Send one."
HANG_UP_SECONDS: Final = 1.0  # within which gRPC cancels a call whose client has hung up
CODE_KEY: Final = "problem-code"  # in the trailing metadata: the code of the problem, for programs
STATUSES: Final[Mapping[int, grpc.StatusCode]] = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@asynccontextmanager
async def serve(
    middleware: Sequence[Middleware], settings: Settings, lifespan: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Serve calls while the block runs, then let those in flight finish.

    Args:
        middleware: the guards of every call, the outermost first.
        settings: where to listen, and the limits.
        lifespan: the state of the application's lifespan.

    Raises:
        SettingsError: the port is taken.
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_header)
    app: ASGIApp = answer_call
    for layer in reversed(middleware):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    server = _create_server(_Handler(app, settings, lifespan), settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError:
        msg = f"DIGITS_GRPC_PORT={settings.grpc_port}: can't listen there"
        raise SettingsError(msg) from None
    await server.start()
    try:
        yield
    finally:
        await server.stop(settings.graceful_timeout)


def _is_no_header(record: logging.LogRecord) -> bool:
    """Drop what gRPC logs of headers that are not UTF-8: tracebacks, and the header, which may be a key."""
    return not str(record.msg).startswith("Invalid encoding on")


def _create_server(handler: _Handler, settings: Settings) -> aio.Server:
    options = {
        "grpc.so_reuseport": int(settings.workers > 1),
        "grpc.max_receive_message_length": settings.max_batch_body_bytes,
        "grpc.per_message_decompression": 0,  # `bodies` does it, and knows when to stop
        "grpc.max_concurrent_streams": MAX_STREAMS,
        "grpc.server.max_pending_requests": MAX_PENDING,
        "grpc.server.max_pending_requests_hard_limit": MAX_PENDING,
        # It refuses calls of clients that keep to the limit, because it counts those that have just ended. A
        # client that begins and cancels as many calls as it can costs the same with and without.
        "grpc.http.overload_protection": 0,
        "grpc.max_connection_idle_ms": IDLE_MILLISECONDS,
        "grpc.max_allowed_incoming_connections": settings.max_connections,
    }
    server = aio.server(options=tuple(options.items()), maximum_concurrent_rpcs=settings.max_connections)
    server.add_generic_rpc_handlers((handler,))
    return server


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call by the application.

    For gRPC, a unary call is a stream of one message. Here it is handled as a stream, so that the guards run
    before the message is received.
    """

    def __init__(self, app: ASGIApp, settings: Settings, lifespan: Mapping[str, Any]) -> None:
        self._app = app
        self._lifespan = lifespan
        self._receptions = Receptions(settings.max_bytes_in_flight // settings.max_batch_body_bytes)
        self._running = set[asyncio.Task[None]]()

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:  # noqa: ANN401
        """Return what answers a method, or None if there is no such method."""
        path = handler_call_details.method
        if path not in METHODS:
            return None

        async def answer(_: object, context: Context) -> bytes:
            return await self._answer(path, context)

        return grpc.stream_unary_rpc_method_handler(answer)

    async def _answer(self, path: str, context: Context) -> bytes:
        scope = _build_scope(path, context, self._lifespan)
        call = _Call(context, scope, self._receptions)
        task = asyncio.ensure_future(self._app(scope, call.receive, call.send))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:  # the client has hung up, or its deadline is over
            call.disconnected.set()
            raise
        return await call.finish()


class _Call:
    """A call as an ASGI application sees it: it receives one message, and sends one response."""

    def __init__(self, context: Context, scope: Scope, receptions: Receptions) -> None:
        self._context = context
        self._scope = scope
        self._receptions = receptions
        self._is_received = False
        self._status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self.disconnected = asyncio.Event()

    async def receive(self) -> Message:
        """Receive the message; after it, wait until the client hangs up."""
        if self._is_received:
            await self.disconnected.wait()
            return {"type": "http.disconnect"}
        async with self._receptions.take_turn(get_client(self._scope)):
            message = await self._context.read()
        self._is_received = True
        if message is aio.EOF:
            return await self._explain_end()
        return {"type": "http.request", "body": message, "more_body": False}

    async def _explain_end(self) -> Message:
        """Tell a client that has hung up, or sent too much for gRPC, from one that has sent nothing.

        Raises:
            MalformedRequest: the call has no message.
        """
        try:
            async with asyncio.timeout(HANG_UP_SECONDS):
                await self.disconnected.wait()
        except TimeoutError:
            raise MalformedRequest(NO_MESSAGE) from None
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Keep the response, which is sent at the end."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
        else:
            self._body += message.get("body", b"")

    async def finish(self) -> bytes:
        """Return the message that answers the call, or end it with a status."""
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in self._headers}
        metadata = {name: value for name, value in headers.items() if name in _METADATA}
        if self._status == CLIENT_CLOSED_REQUEST:
            await self._context.abort(grpc.StatusCode.CANCELLED)
        if self._status != HTTPStatus.OK:
            problem = json.loads(self._body)
            metadata[CODE_KEY] = problem["code"]
            code = STATUSES.get(self._status, grpc.StatusCode.INTERNAL)
            await self._context.abort(code, problem["detail"], tuple(metadata.items()))
        self._context.set_trailing_metadata(tuple(metadata.items()))
        return bytes(self._body)


def _build_scope(path: str, context: Context, lifespan: Mapping[str, Any]) -> Scope:
    return {
        "type": "http",
        "http_version": "2",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(_encode_headers(context.invocation_metadata())),
        "client": _parse_peer(context.peer()),
        "server": None,
        "state": dict(lifespan),
        ROUTE: path,
    }


def _encode_headers(metadata: Iterable[tuple[str, str | bytes]]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in metadata:
        yield name.encode(), value if isinstance(value, bytes) else value.encode()


def _parse_peer(peer: str) -> tuple[str, int] | None:
    """Return address and port of a peer, such as ipv4:127.0.0.1:50000 or ipv6:%5B::1%5D:50000."""
    family, _, text = urllib.parse.unquote(peer).partition(":")
    address, _, port = text.rpartition(":")
    if family not in {"ipv4", "ipv6"} or not port.isdecimal():
        return None
    return address.strip("[]"), int(port)
