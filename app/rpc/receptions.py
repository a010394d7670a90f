"""How many messages may be arriving at a time.

gRPC delivers whole messages and does not tell how much of one has arrived, so the bytes that are in memory
can't be counted as those of other requests are. Each message that is arriving counts as the largest allowed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..guard.bodies import STALL_SECONDS
from ..wire.problems import SlowUpload


class Receptions:
    """Lets a few messages arrive at a time; while others wait, each of them has a second.

    Messages that a client sends without delay arrive within milliseconds. Those who send slowly, or stop,
    must not lock out the others: clients take turns, however many calls of theirs wait.
    """

    def __init__(self, count: int) -> None:
        """Let `count` messages arrive at a time."""
        self._free = count
        # by client; the first client gets the next turn
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._started: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def take_turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, in which the block receives a message.

        Raises:
            SlowUpload: others waited, and the block took too long.
        """
        await self._acquire(client)
        try:
            async with self._limit_time():
                yield
        except TimeoutError:
            msg = f"The message took more than {STALL_SECONDS:g} s to arrive while others waited. "
            msg += "Send a smaller picture, or use a faster connection."
            raise SlowUpload(msg) from None
        finally:
            self._release()

    async def _acquire(self, client: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._hurry()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came at the same moment
                self._release()
            raise

    def _release(self) -> None:
        """Give a turn back, or on to the client whose turn it is."""
        while self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._free += 1

    @asynccontextmanager
    async def _limit_time(self) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as timeout:
            self._started[timeout] = asyncio.get_running_loop().time()
            self._hurry()
            try:
                yield
            finally:
                del self._started[timeout]

    def _hurry(self) -> None:
        """Limit the time of all turns if somebody waits for one."""
        if self._waiting:
            for timeout, started in self._started.items():
                if timeout.when() is None:
                    timeout.reschedule(started + STALL_SECONDS)
