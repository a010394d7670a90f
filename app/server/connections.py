"""How many connections a worker keeps open."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from typing import Final, Protocol

if sys.platform != "win32":
    import resource

UNLIMITED: Final = 2**31
RESERVED_DESCRIPTORS: Final = 64  # descriptors for models, logs, metrics, databases and the event loop


# connections that go on with what they have received, in one turn of the event loop
REQUESTS_PER_TURN: Final = 4


class Connection(Protocol):
    """A connection."""

    def close_idle(self) -> None:
        """Close it, although its client may still want it."""

    def resume(self) -> None:
        """Begin the next of the requests that it has received already."""


class Connections:
    """The open connections of a worker, those without a request in the order in which they became idle.

    A new connection takes the place of the one that has been idle for longest. Without a bound a client that
    opens connections and leaves them idle would use up the descriptors, and nobody else could connect.
    """

    def __init__(self, limit: int) -> None:
        """Bound them by `limit`, and by the files that the process may open."""
        self.limit = min(limit, _count_descriptors() - RESERVED_DESCRIPTORS)
        self._open: set[Connection] = set()
        self._idle: OrderedDict[Connection, None] = OrderedDict()  # the longest idle first
        self._waiting: deque[Connection] = deque()

    def admit(self, connection: Connection) -> bool:
        """Add a connection, which is idle; return whether there was room for it."""
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
        """Note that a request has arrived on a connection."""
        self._idle.pop(connection, None)

    def note_idle(self, connection: Connection) -> None:
        """Note that a connection has answered its request."""
        if connection in self._open:
            self._idle[connection] = None

    def queue(self, connection: Connection) -> None:
        """Let a connection go on with its next request once others have had their turn.

        Clients that pipeline requests would otherwise all be served between any two steps of a client that
        does not: 140 of them held a health check up for seconds.
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
    """Return how many descriptors the process may have at a time."""
    if sys.platform == "win32":
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
