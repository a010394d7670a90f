"""The capacity of a worker: its readiness, its places for pictures, its threads, its budget for bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread

from .wire.problems import Overloaded

Result = TypeVar("Result")

MIN_PLACES_TO_RESERVE: Final = 16  # a worker with fewer places has no reserve
MODEST_SHARE: Final = 1 / 8  # of the places: a client that holds no more is modest
RESERVED_SHARE: Final = 1 / 4  # of the places: so many more are reserved for modest clients


@dataclass(slots=True)
class Readiness:
    """Whether this worker is draining: load balancers should then send it no requests."""

    draining: bool = False


class Places:
    """The places of a worker, one for each picture in flight. Not thread-safe: use it on the event loop only.

    A place is held while a picture is processed, not while the request's body arrives or the answer is
    sent, so slow clients hold no places. When all places are taken, a reserve of another quarter is
    available to clients that hold few, so a single client can't lock out the others. Workers with few places
    have no reserve.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0
        self._taken_by: dict[str, int] = {}

    def check(self, count: int, client: str) -> None:
        """Check that `count` places are available to a client.

        Raises:
            Overloaded: there are not enough.
        """
        free = self.count - self.taken
        if count <= free:
            return
        free += self._get_reserve(count, client)
        if count <= free:
            return
        msg = (
            f"The service processes up to {self.count} pictures at a time and has room for {max(free, 0)} "
            f"more; the request needs room for {count}. Try again in a second."
        )
        raise Overloaded(msg, limit=self.count)

    def _get_reserve(self, count: int, client: str) -> int:
        if self.count < MIN_PLACES_TO_RESERVE:
            return 0
        is_modest = self._taken_by.get(client, 0) + count <= int(self.count * MODEST_SHARE)
        return int(self.count * RESERVED_SHARE) if is_modest else 0

    def hold(self, count: int, client: str) -> AbstractContextManager[None]:
        """Return a context manager that holds `count` places while its block runs.

        Raises:
            Overloaded: there are not enough when the block begins; in that case, none are taken.
        """
        return _HeldPlaces(self, count, client)

    def hold_until_done(self, count: int, client: str, task: asyncio.Future[Any]) -> None:
        """Hold `count` places for a task that outlives its request, until it ends."""

        def free(task: asyncio.Future[Any]) -> None:
            self.adjust(-count, client)
            if not task.cancelled():
                task.exception()  # marks it as retrieved; otherwise asyncio would log it

        self.adjust(count, client)
        task.add_done_callback(free)

    def adjust(self, count: int, client: str) -> None:
        """Take `count` places without a check, or free as many if it is negative."""
        self.taken += count
        held = self._taken_by.pop(client, 0) + count
        if held:
            self._taken_by[client] = held


class _HeldPlaces:
    """A class, as `@contextmanager` costs three times as much."""

    __slots__ = ("_client", "_count", "_places")

    def __init__(self, places: Places, count: int, client: str) -> None:
        self._places = places
        self._count = count
        self._client = client

    def __enter__(self) -> None:
        self._places.check(self._count, self._client)
        self._places.adjust(self._count, self._client)

    def __exit__(self, *_: object) -> None:
        self._places.adjust(-self._count, self._client)


class Threads:
    """The threads of a worker, for work that is too long for the event loop.

    One more than `count` is kept for small pictures, which would otherwise wait for every large one before
    them. Not thread-safe: use it on the event loop only.
    """

    def __init__(self, count: int) -> None:
        self._common = CapacityLimiter(count)
        self._reserve = CapacityLimiter(1)
        self._large = 0  # work that is not small, running or waiting

    async def run(self, work: Callable[[], Result], *, is_small: bool = False) -> Result:
        """Run `work` in a thread; if it is small and large work fills the others, in the one in reserve."""
        if is_small and self._large >= self._common.total_tokens:
            return await to_thread.run_sync(work, limiter=self._reserve)
        self._large += not is_small
        try:
            return await to_thread.run_sync(work, limiter=self._common)
        finally:
            self._large -= not is_small

    @property
    def count(self) -> int:
        """The number of threads, with the one in reserve."""
        return int(self._common.total_tokens + self._reserve.total_tokens)

    @property
    def busy(self) -> int:
        """The number of threads that work."""
        return self._common.borrowed_tokens + self._reserve.borrowed_tokens

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a thread."""
        return sum(limiter.statistics().tasks_waiting for limiter in (self._common, self._reserve))


class PendingBody(Protocol):
    """A request's body that is still arriving."""

    held_bytes: int  # bytes in memory

    def is_stalled(self) -> bool:
        """Tell whether the body makes too little progress."""

    def drop(self) -> None:
        """Refuse the rest of the body."""


class BodyBudget:
    """The bytes of request bodies that a worker may hold. Not thread-safe: use it on the event loop only.

    Only bytes that have arrived count. When the budget is used up, stalled bodies are dropped, so a client
    that sends much and then stops can't lock out the others.
    """

    def __init__(self, size: int) -> None:
        self._size = size  # bytes
        self._used = 0
        self._pending: set[PendingBody] = set()

    def check(self, size: int) -> None:
        """Check that `size` more bytes fit; drop stalled bodies if they don't.

        Raises:
            Overloaded: they still don't fit.
        """
        if self._used + size > self._size:
            self._drop_stalled()
        if self._used + size > self._size:
            msg = (
                f"Other requests hold {self._used} of {self._size} bytes, and {size} more don't fit. "
                "Try again in a second."
            )
            raise Overloaded(msg, limit=self._size)

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes.

        Raises:
            Overloaded: they don't fit; in that case, none are reserved.
        """
        self.check(size)
        self._used += size

    def release(self, size: int) -> None:
        """Release `size` reserved bytes."""
        self._used -= size

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Reserve `size` bytes while the block runs.

        Raises:
            Overloaded: they don't fit.
        """
        self.reserve(size)
        try:
            yield
        finally:
            self.release(size)

    def add(self, body: PendingBody) -> None:
        """Track a body, which may be dropped from now on. It reserves its own bytes as they arrive."""
        self._pending.add(body)

    def remove(self, body: PendingBody) -> None:
        """Stop tracking a body, and release its bytes."""
        self._pending.discard(body)
        self.release(body.held_bytes)

    def _drop_stalled(self) -> None:
        for body in self._pending:
            if body.is_stalled():
                body.drop()
                self.release(body.held_bytes)
                body.held_bytes = 0
