"""Listening sockets, which workers share evenly and close without losing a connection."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from multiprocessing.reduction import DupFd
from typing import Any, ClassVar, Final
from weakref import WeakSet

from ..settings import Settings, SettingsError

ACCEPTS_PER_TURN: Final = 4  # connections that one of several workers accepts at a time
QUEUE_LENGTH: Final = struct.Struct("24xI")  # `tcpi_unacked` in Linux' struct tcp_info


class ListeningSocket(socket.socket):
    """A listening socket that adds two things to asyncio's.

    asyncio accepts all queued connections at once, so that the first of several workers to wake up would get
    all of them, for as long as they are kept alive. This socket accepts a few at a time.

    asyncio closes a socket whose accept queue holds connections, which are then reset. This socket drains the
    queue first.
    """

    instances: ClassVar[WeakSet[ListeningSocket]] = WeakSet()  # of this process

    def __init__(self, family: int, kind: int, proto: int, *, fileno: int, shared: bool) -> None:
        """Take ownership of the file descriptor of a bound socket."""
        super().__init__(family, kind, proto, fileno=fileno)
        self._shared = shared
        self._accepted = 0
        self._closing_loop: asyncio.AbstractEventLoop | None = None
        self.instances.add(self)

    @classmethod
    def from_socket(cls, bound: socket.socket, *, shared: bool) -> ListeningSocket:
        """Take ownership of a bound socket; `shared` means that several workers listen on it."""
        return cls(bound.family, bound.type, bound.proto, fileno=bound.detach(), shared=shared)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            BlockingIOError: the queue is empty, or it is time to leave the rest to other workers.
        """
        if self._shared and self._accepted == ACCEPTS_PER_TURN and not self._closing_loop:
            self._accepted = 0
            raise BlockingIOError
        try:
            connection = super().accept()
        except BlockingIOError:
            self._accepted = 0
            if self._closing_loop:
                self.close_when_drained(self._closing_loop)
            raise
        self._accepted += 1
        return connection

    def close_when_drained(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop listening as soon as the accept queue is empty; `loop` accepts what is left in it."""
        self._closing_loop = loop
        with socket.socket(self.family) as placeholder:
            if self._count_queued():
                return  # `accept` calls this again
            if self._shared:  # other workers still listen, and their connections would keep waking this loop
                loop.remove_reader(self.fileno())
            # asyncio closes this descriptor later, so it must stay valid
            os.dup2(placeholder.fileno(), self.fileno())

    def _count_queued(self) -> int:
        if not hasattr(socket, "TCP_INFO"):
            return len(select.select([self], [], [], 0)[0])
        # of a listening socket: the length of its accept queue (tcp_get_info in Linux' net/ipv4/tcp.c)
        info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, QUEUE_LENGTH.size)
        return int(QUEUE_LENGTH.unpack(info)[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Let multiprocessing pass the socket to a worker."""
        return _receive, (DupFd(self.fileno()), self.family, self.type, self.proto, self._shared)


def _receive(handle: Any, family: int, kind: int, proto: int, shared: bool) -> ListeningSocket:  # noqa: ANN401, FBT001
    return ListeningSocket(family, kind, proto, fileno=handle.detach(), shared=shared)


def bind(settings: Settings) -> list[socket.socket]:
    """Bind all addresses of the host; localhost has two.

    Raises:
        SettingsError: the host has no address, or none can be bound, because another service listens there or
            the address is another machine's.
    """
    bound = _bind(settings.host, settings.port, variable="DIGITS_PORT")
    return [ListeningSocket.from_socket(one, shared=settings.workers > 1) for one in bound]


def check_grpc_port(settings: Settings) -> None:
    """Check that DIGITS_GRPC_PORT, if set, can be bound: each worker binds it by itself, with SO_REUSEPORT.

    Raises:
        SettingsError: it can't.
    """
    if settings.grpc_port is not None:
        for bound in _bind(settings.host, settings.grpc_port, variable="DIGITS_GRPC_PORT"):
            bound.close()


def _bind(host: str, port: int, *, variable: str) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    reason = ""
    for family, kind, proto, _, address in _resolve(host, port):
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            bound.bind(address)
        except OSError as error:  # in a container, localhost may resolve to ::1 without IPv6
            reason = str(error.strerror)
            bound.close()
        else:
            sockets.append(bound)
    if not sockets:
        msg = f"DIGITS_HOST={host} {variable}={port}: can't listen there ({reason})"
        raise SettingsError(msg)
    return sockets


def _resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        return [*socket.getaddrinfo(host, port, type=kind, flags=flags)]
    except OSError as error:
        msg = f"DIGITS_HOST={host}: not an address of this machine ({error.strerror})"
        raise SettingsError(msg) from None
