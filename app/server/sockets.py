"""Listening sockets: shared fairly by the workers, and closed without losing a client."""

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
# of Linux' struct tcp_info, after eight bytes and four numbers
QUEUE_LENGTH: Final = struct.Struct("24xI")


class ListeningSocket(socket.socket):
    """A listening socket that corrects two habits of asyncio.

    asyncio accepts all waiting connections at once. The first of several workers to wake up would then serve
    every client for as long as the connection lasts, and the other workers none.

    asyncio also closes the port while clients may still be waiting in its queue, and their requests are lost.
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
            BlockingIOError: none is waiting, or enough have been accepted for this turn.
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
        """Close the port, on which `loop` listens, as soon as no connection is waiting."""
        self._closing_loop = loop  # if one is waiting, the loop is about to accept it
        with socket.socket(self.family) as unused:
            if self._count_waiting():
                return
            if self._shared:  # other workers keep the port open, and this loop would be woken for ever
                loop.remove_reader(self.fileno())
            # the number stays valid for the loop, and no other thread can take it in between
            os.dup2(unused.fileno(), self.fileno())

    def _count_waiting(self) -> int:
        """Return how many connections are waiting to be accepted."""
        if not hasattr(socket, "TCP_INFO"):
            return len(select.select([self], [], [], 0)[0])
        # for a listening socket, the length of its queue (Linux, net/ipv4/tcp.c, tcp_get_info)
        info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, QUEUE_LENGTH.size)
        return int(QUEUE_LENGTH.unpack(info)[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Let multiprocessing hand the socket to a worker."""
        return _receive, (DupFd(self.fileno()), self.family, self.type, self.proto, self._shared)


def _receive(handle: Any, family: int, kind: int, proto: int, shared: bool) -> ListeningSocket:  # noqa: ANN401, FBT001
    return ListeningSocket(family, kind, proto, fileno=handle.detach(), shared=shared)


def bind(settings: Settings) -> list[socket.socket]:
    """Bind all addresses of the host's name: localhost has two.

    Raises:
        SettingsError: the name has no address, or none of them can be bound.
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
        return list(socket.getaddrinfo(settings.host, settings.port, type=kind, flags=flags))
    except OSError as error:
        msg = f"DIGITS_HOST={settings.host}: not an address of this machine ({error.strerror})"
        raise SettingsError(msg) from None
