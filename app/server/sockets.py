"""The sockets that workers listen on: shared fairly among them, and left without losing anybody."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from multiprocessing.reduction import DupFd
from typing import Any, ClassVar, Final
from weakref import WeakSet

from app.settings import Settings, SettingsError

ACCEPTS_PER_TURN: Final = 4  # connections that one of several workers takes
# of Linux' struct tcp_info; eight bytes and four numbers stand before it
QUEUE_LENGTH: Final = struct.Struct("24xI")


class ListeningSocket(socket.socket):
    """A listening socket for asyncio, with two things that it leaves open.

    asyncio takes all connections that wait. The first of several workers to wake up would then serve every
    client that is quick, each for as long as it keeps its connection, and the others none.

    And asyncio closes its port while clients may still wait before it, who then lose their request.
    """

    instances: ClassVar[WeakSet[ListeningSocket]] = WeakSet()  # of this process

    def __init__(self, family: int, kind: int, proto: int, *, fileno: int, shared: bool) -> None:
        """Take over a bound socket's file descriptor."""
        super().__init__(family, kind, proto, fileno=fileno)
        self._shared = shared
        self._accepted = 0
        self._closing_loop: asyncio.AbstractEventLoop | None = None
        self.instances.add(self)

    @classmethod
    def take_over(cls, bound: socket.socket, *, shared: bool) -> ListeningSocket:
        """Take over a bound socket."""
        return cls(bound.family, bound.type, bound.proto, fileno=bound.detach(), shared=shared)

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection.

        Raises:
            BlockingIOError: there is none, or enough have been taken: time for other work.
        """
        if self._shared and self._accepted == ACCEPTS_PER_TURN and not self._closing_loop:
            self._accepted = 0
            raise BlockingIOError
        try:
            connection = super().accept()
        except BlockingIOError:
            self._accepted = 0
            if self._closing_loop:
                self.close_when_idle(self._closing_loop)
            raise
        self._accepted += 1
        return connection

    def close_when_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the port, which `loop` listens on, as soon as nobody waits before it."""
        self._closing_loop = loop  # if somebody does, it is about to ask for him
        with socket.socket(self.family) as unused:
            if self._count_waiting():
                return
            if self._shared:  # others keep the port open, and this loop would hear of it for ever
                loop.remove_reader(self.fileno())
            # no other thread of ours has come in between; the loop goes on to know this number
            os.dup2(unused.fileno(), self.fileno())

    def _count_waiting(self) -> int:
        """Return how many connections have been made that nobody has accepted."""
        if not hasattr(socket, "TCP_INFO"):
            return len(select.select([self], [], [], 0)[0])
        # of a listening socket that is the length of its queue (Linux, net/ipv4/tcp.c, tcp_get_info)
        info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, QUEUE_LENGTH.size)
        return int(QUEUE_LENGTH.unpack(info)[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Let multiprocessing hand the socket to a worker."""
        return _receive, (DupFd(self.fileno()), self.family, self.type, self.proto, self._shared)


def _receive(handle: Any, family: int, kind: int, proto: int, shared: bool) -> ListeningSocket:  # noqa: ANN401, FBT001
    return ListeningSocket(family, kind, proto, fileno=handle.detach(), shared=shared)


def bind(settings: Settings) -> list[socket.socket]:
    """Bind all addresses that the host's name stands for: localhost has two.

    Raises:
        SettingsError: the name stands for no address, or none can be bound: another service listens there, or
            the address is another machine's.
    """
    sockets: list[socket.socket] = []
    reason = ""
    for family, kind, proto, _, address in _resolve(settings):
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            bound.bind(address)
        except OSError as error:  # a container may know ::1 by name and have no IPv6
            reason = str(error.strerror)
            bound.close()
        else:
            sockets.append(ListeningSocket.take_over(bound, shared=settings.workers > 1))
    if not sockets:
        msg = f"DIGITS_HOST={settings.host} DIGITS_PORT={settings.port}: can't listen there ({reason})"
        raise SettingsError(msg)
    return sockets


def _resolve(settings: Settings) -> list[tuple[Any, ...]]:
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        return [*socket.getaddrinfo(settings.host, settings.port, type=kind, flags=flags)]
    except OSError as error:
        msg = f"DIGITS_HOST={settings.host}: not an address of this machine ({error.strerror})"
        raise SettingsError(msg) from None
