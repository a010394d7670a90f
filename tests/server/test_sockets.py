from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.server.connections import Connections
from app.server.outbox import Outbox
from app.server.protocol import GuardedProtocol
from app.server.sockets import ACCEPTS_PER_TURN, ListeningSocket


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def listening() -> ListeningSocket:
    """A shared listening socket with protocol 0, as a worker receives it."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    bound.bind(("127.0.0.1", 0))
    shared = ListeningSocket.from_socket(bound, shared=True)
    shared.listen(64)
    shared.settimeout(0)
    return shared


def test_a_worker_accepts_a_few_connections_at_a_time(listening: ListeningSocket) -> None:
    clients = [socket.create_connection(listening.getsockname()) for _ in range(2 * ACCEPTS_PER_TURN + 1)]
    accepted = []
    for turn in (ACCEPTS_PER_TURN, ACCEPTS_PER_TURN, 1):
        accepted += [listening.accept()[0] for _ in range(turn)]
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert len(accepted) == len(clients)
    for connection in (*clients, *accepted, listening):
        connection.close()


def test_after_an_empty_queue_accepting_continues(listening: ListeningSocket) -> None:
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            listening.accept()
    client = socket.create_connection(listening.getsockname())
    connection, _ = listening.accept()
    for connected_socket in (client, connection, listening):
        connected_socket.close()


def test_a_socket_with_an_empty_queue_closes_immediately(
    listening: ListeningSocket, loop: asyncio.AbstractEventLoop
) -> None:
    address = listening.getsockname()
    listening.close_when_drained(loop)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    listening.close()


def test_queued_connections_are_accepted_before_the_socket_closes(
    listening: ListeningSocket, loop: asyncio.AbstractEventLoop
) -> None:
    address = listening.getsockname()
    clients = [socket.create_connection(address) for _ in range(ACCEPTS_PER_TURN + 2)]
    listening.close_when_drained(loop)
    accepted = [listening.accept()[0] for _ in clients]
    with pytest.raises(BlockingIOError):
        listening.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for connection in (*clients, *accepted, listening):
        connection.close()


def test_nagles_algorithm_is_off_on_accepted_connections(listening: ListeningSocket) -> None:
    async def read_nodelay() -> int:
        loop = asyncio.get_running_loop()
        connected: asyncio.Future[asyncio.Transport] = loop.create_future()
        config = uvicorn.Config("app.main:create_app", factory=True, log_config=None)
        config.load()

        class ObservedProtocol(GuardedProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                connected.set_result(transport)

        def create_protocol() -> ObservedProtocol:
            return ObservedProtocol(
                connections=Connections(10),
                outbox=Outbox(),
                read_timeout=10,
                write_timeout=10,
                config=config,
                server_state=ServerState(),
                app_state={},
            )

        server = await loop.create_server(create_protocol, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        transport = await connected
        nodelay = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        transport.close()
        server.close()
        return int(nodelay)

    assert asyncio.run(read_nodelay())
