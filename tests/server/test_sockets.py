from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.server.connections import Connections
from app.server.protocol import GuardedProtocol
from app.server.sockets import ACCEPTS_PER_TURN, ListeningSocket


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def listening() -> ListeningSocket:
    """A listening socket of which nothing tells that it speaks TCP, as uvicorn's parent process makes it."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    bound.bind(("127.0.0.1", 0))
    shared = ListeningSocket.from_socket(bound, shared=True)
    shared.listen(64)
    shared.settimeout(0)
    return shared


def test_a_worker_takes_a_few_connections_a_turn(listening: ListeningSocket) -> None:
    clients = [socket.create_connection(listening.getsockname()) for _ in range(2 * ACCEPTS_PER_TURN + 1)]
    taken = []
    for turn in (ACCEPTS_PER_TURN, ACCEPTS_PER_TURN, 1):
        taken += [listening.accept()[0] for _ in range(turn)]
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert len(taken) == len(clients)
    for connection in (*clients, *taken, listening):
        connection.close()


def test_an_empty_turn_ends_like_a_full_one(listening: ListeningSocket) -> None:
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            listening.accept()
    client = socket.create_connection(listening.getsockname())
    connection, _ = listening.accept()
    for one in (client, connection, listening):
        one.close()


def test_a_port_is_left_at_once_where_nobody_waits(
    listening: ListeningSocket, loop: asyncio.AbstractEventLoop
) -> None:
    address = listening.getsockname()
    listening.close_when_drained(loop)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    listening.close()


def test_who_waits_before_a_port_is_served_before_it_is_left(
    listening: ListeningSocket, loop: asyncio.AbstractEventLoop
) -> None:
    address = listening.getsockname()
    clients = [socket.create_connection(address) for _ in range(ACCEPTS_PER_TURN + 2)]
    listening.close_when_drained(loop)
    taken = [listening.accept()[0] for _ in clients]
    with pytest.raises(BlockingIOError):
        listening.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for connection in (*clients, *taken, listening):
        connection.close()


def test_small_packets_are_sent_at_once_whoever_has_made_the_socket(listening: ListeningSocket) -> None:
    async def option() -> int:
        loop = asyncio.get_running_loop()
        connected: asyncio.Future[asyncio.Transport] = loop.create_future()
        config = uvicorn.Config("app.main:create_app", factory=True, log_config=None)
        config.load()

        class Noted(GuardedProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                connected.set_result(transport)

        def noted() -> Noted:
            return Noted(
                connections=Connections(10),
                read_timeout=10,
                write_timeout=10,
                config=config,
                server_state=ServerState(),
                app_state={},
            )

        server = await loop.create_server(noted, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        transport = await connected
        found = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        transport.close()
        server.close()
        return int(found)

    assert asyncio.run(option())
