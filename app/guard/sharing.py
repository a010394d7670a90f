"""One listening socket, shared fairly by several workers."""

from __future__ import annotations

import socket
from multiprocessing.reduction import DupFd
from typing import Any, Final

A_TURN: Final = 4  # connections


class SharedSocket(socket.socket):
    """A listening socket from which a worker takes a few connections a turn of its event loop.

    asyncio takes all that wait. The first worker to wake up would then serve every client that is quick, each
    for as long as it keeps its connection, and the others none.
    """

    _taken = 0

    @classmethod
    def of(cls, bound: socket.socket) -> SharedSocket:
        """Take over a bound socket."""
        return cls(bound.family, bound.type, bound.proto, fileno=bound.detach())

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection.

        Raises:
            BlockingIOError: there is none, or enough have been taken: time for other work.
        """
        self._taken = (self._taken + 1) % (A_TURN + 1)
        if self._taken == 0:
            raise BlockingIOError
        try:
            return super().accept()
        except OSError:
            self._taken = 0
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        """Let multiprocessing hand the socket to a worker."""
        return _received, (DupFd(self.fileno()), self.family, self.type, self.proto)


def _received(handle: Any, family: int, kind: int, proto: int) -> SharedSocket:  # noqa: ANN401
    return SharedSocket(family, kind, proto, fileno=handle.detach())
