"""The socket that a worker listens on: shared fairly with others, and left without losing anybody."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from multiprocessing.reduction import DupFd
from typing import Any, ClassVar, Final
from weakref import WeakSet

A_TURN: Final = 4  # connections that one of several workers takes
# of Linux' struct tcp_info; eight bytes and four numbers stand before it
UNACKED: Final = struct.Struct("24xI")


class ListeningSocket(socket.socket):
    """A listening socket for asyncio, with two things that it leaves open.

    asyncio takes all connections that wait. The first of several workers to wake up would then serve every
    client that is quick, each for as long as it keeps its connection, and the others none.

    And asyncio closes its port while clients may still wait before it, who then lose their request.
    """

    all: ClassVar[WeakSet[ListeningSocket]] = WeakSet()  # of this process

    def __init__(self, family: int, kind: int, proto: int, *, fileno: int, shared: bool) -> None:
        """Take over a bound socket's file descriptor."""
        super().__init__(family, kind, proto, fileno=fileno)
        self._shared = shared
        self._taken = 0
        self._leaving: asyncio.AbstractEventLoop | None = None
        self.all.add(self)

    @classmethod
    def of(cls, bound: socket.socket, *, shared: bool) -> ListeningSocket:
        """Take over a bound socket."""
        return cls(bound.family, bound.type, bound.proto, fileno=bound.detach(), shared=shared)

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection.

        Raises:
            BlockingIOError: there is none, or enough have been taken: time for other work.
        """
        if self._shared and self._taken == A_TURN and not self._leaving:
            self._taken = 0
            raise BlockingIOError
        try:
            taken = super().accept()
        except BlockingIOError:
            self._taken = 0
            if self._leaving:
                self.leave(self._leaving)
            raise
        self._taken += 1
        return taken

    def leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the port, which `loop` listens on, as soon as nobody waits before it."""
        self._leaving = loop  # if somebody does, it is about to ask for him
        with socket.socket(self.family) as unused:
            if self._waiting():
                return
            if self._shared:  # others keep the port open, and this loop would hear of it for ever
                loop.remove_reader(self.fileno())
            # no other thread of ours has come in between; the loop goes on to know this number
            os.dup2(unused.fileno(), self.fileno())

    def _waiting(self) -> int:
        """Return how many connections have been made that nobody has accepted."""
        if not hasattr(socket, "TCP_INFO"):
            return len(select.select([self], [], [], 0)[0])
        # of a listening socket that is the length of its queue (Linux, net/ipv4/tcp.c, tcp_get_info)
        told = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, UNACKED.size)
        return int(UNACKED.unpack(told)[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Let multiprocessing hand the socket to a worker."""
        return _received, (DupFd(self.fileno()), self.family, self.type, self.proto, self._shared)


def _received(handle: Any, family: int, kind: int, proto: int, shared: bool) -> ListeningSocket:  # noqa: ANN401, FBT001
    return ListeningSocket(family, kind, proto, fileno=handle.detach(), shared=shared)
