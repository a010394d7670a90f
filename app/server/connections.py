"""The open connections of a worker."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from typing import Final, Protocol

if sys.platform != "win32":
    import resource

UNLIMITED: Final = 2**31
RESERVED_DESCRIPTORS: Final = 64  # for models, logs, metrics, databases and the event loop
REQUESTS_PER_TURN: Final = 4  # pipelined requests that begin in one iteration of the event loop


class Connection(Protocol):
    """A connection, as `Connections` sees it."""

    def close_idle(self) -> None:
        """Close the idle connection to make room for another."""

    def resume(self) -> None:
        """Begin the next pipelined request."""


class Connections:
    """Limits how many connections are open, and takes turns between those that pipeline requests.

    At the limit, a new connection replaces the one that has been idle longest. Otherwise a client could open
    connections until the process has no file descriptors left.
    """

    def __init__(self, limit: int) -> None:
        """Allow `limit` connections, or fewer if the process may not open as many files."""
        self.limit = min(limit, _count_descriptors() - RESERVED_DESCRIPTORS)
        self._open: set[Connection] = set()
        self._idle: OrderedDict[Connection, None] = OrderedDict()  # longest idle first
        self._waiting: deque[Connection] = deque()  # for their turn

    def admit(self, connection: Connection) -> bool:
        """Add a new connection; return False if all others are busy."""
        if len(self._open) >= self.limit:
            if not self._idle:
                return False
            longest_idle = next(iter(self._idle))
            self.remove(longest_idle)
            longest_idle.close_idle()
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def note_busy(self, connection: Connection) -> None:
        """Mark a connection as busy: a request has arrived."""
        self._idle.pop(connection, None)

    def note_idle(self, connection: Connection) -> None:
        """Mark a connection as idle: its response is complete."""
        if connection in self._open:
            self._idle[connection] = None

    def queue(self, connection: Connection) -> None:
        """Schedule the next pipelined request of a connection.

        Only a few begin in each iteration of the event loop. When all of them did, 140 pipelining clients
        delayed a health check by seconds.
        """
        self._waiting.append(connection)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        for _ in range(min(REQUESTS_PER_TURN, len(self._waiting))):
            self._waiting.popleft().resume()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take_turn)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has been closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)


def _count_descriptors() -> int:
    if sys.platform == "win32":
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
