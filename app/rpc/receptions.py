"""How many messages may be arriving at a time.

gRPC delivers whole messages and does not tell how much of one has arrived, so the bytes that are in memory
can't be counted as those of other requests are. Each message that is arriving counts as the largest allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..guard.bodies import STALL_SECONDS
from ..wire.problems import SlowUpload


class Receptions:
    """Lets a few messages arrive at a time; while others wait, each of them has a second.

    Messages that a client sends without delay arrive within milliseconds. One that sends slowly, or stops,
    must not lock out the others.
    """

    def __init__(self, count: int) -> None:
        """Let `count` messages arrive at a time."""
        self._turns = asyncio.Semaphore(count)
        self._waiting = 0
        self._started: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def take_turn(self) -> AsyncIterator[None]:
        """Wait for a turn, in which the block receives a message.

        Raises:
            SlowUpload: others waited, and the block took too long.
        """
        self._waiting += 1
        try:
            self._hurry()
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            async with asyncio.timeout(None) as timeout:
                self._started[timeout] = asyncio.get_running_loop().time()
                self._hurry()
                yield
        except TimeoutError:
            msg = f"The message took more than {STALL_SECONDS:g} s to arrive while others waited. "
            msg += "Send a smaller picture, or use a faster connection."
            raise SlowUpload(msg) from None
        finally:
            del self._started[timeout]
            self._turns.release()

    def _hurry(self) -> None:
        """Limit the time of all turns if somebody waits for one."""
        if self._waiting and self._turns.locked():
            for timeout, started in self._started.items():
                if timeout.when() is None:
                    timeout.reschedule(started + STALL_SECONDS)
