"""The capacity of a worker: its readiness, its places for pictures, and its budget for request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app.wire.problems import Overloaded

MIN_SHARED_PLACES: Final = 16  # places; a worker that has fewer reserves none
MODEST_SHARE: Final = 8  # a client is modest while it holds at most an eighth of the places
RESERVED_SHARE: Final = 4  # modest clients may use a quarter more places than there are


@dataclass(slots=True)
class Readiness:
    """Whether load balancers should send requests to this worker."""

    draining: bool = False


class Places:
    """The places of a worker, one for each picture in flight. Not thread-safe: use it on the event loop only.

    A place is held while a picture is processed, not while the request's body arrives or the answer is
    sent, so slow clients hold no places. When all places are taken, a quarter as many again are available
    to clients that hold few, so a single client can't lock out the others.
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
        if count <= self.count - self.taken + self._count_reserved(client, count):
            return
        state = f"{self.taken} of {self.count} places are taken"
        msg = f"{state}; the request needs {count}. Try again in a second."
        raise Overloaded(msg, limit=self.count)

    def _count_reserved(self, client: str, count: int) -> int:
        modest = self.count // MODEST_SHARE if self.count >= MIN_SHARED_PLACES else 0
        return self.count // RESERVED_SHARE if self._taken_by.get(client, 0) + count <= modest else 0

    @contextmanager
    def hold(self, count: int, client: str) -> Iterator[None]:
        """Hold `count` places while the block runs.

        Raises:
            Overloaded: there are not enough; none are taken.
        """
        self.check(count, client)
        self._take(count, client)
        try:
            yield
        finally:
            self._take(-count, client)

    def hold_until_done(self, count: int, client: str, task: asyncio.Future[Any]) -> None:
        """Hold `count` places until a task ends that outlives its request."""

        def free(task: asyncio.Future[Any]) -> None:
            self._take(-count, client)
            if not task.cancelled():
                task.exception()  # retrieved, or asyncio would log "exception was never retrieved"

        self._take(count, client)
        task.add_done_callback(free)

    def _take(self, count: int, client: str) -> None:
        self.taken += count
        held = self._taken_by.pop(client, 0) + count
        if held:
            self._taken_by[client] = held


class PendingBody(Protocol):
    """A request's body that is still arriving."""

    held_bytes: int  # bytes in memory

    def is_stalled(self) -> bool:
        """Tell whether the body makes too little progress."""

    def give_up(self) -> None:
        """Refuse the rest of the body."""


class BodyBudget:
    """The bytes of request bodies that a worker may hold. Not thread-safe: use it on the event loop only.

    Only bytes that have arrived count. When the budget is used up, stalled bodies are given up, so a
    client that sends much and then stops can't lock out the others.
    """

    def __init__(self, size: int) -> None:
        self._size = size  # bytes
        self._reserved = 0
        self._pending: set[PendingBody] = set()

    def check(self, size: int) -> None:
        """Check that `size` more bytes fit; give up stalled bodies if they don't.

        Raises:
            Overloaded: they still don't fit.
        """
        if self._reserved + size > self._size:
            self._give_up_stalled()
        if self._reserved + size > self._size:
            msg = (
                f"Other requests hold {self._reserved} of {self._size} bytes, and {size} more don't fit. "
                "Try again in a second."
            )
            raise Overloaded(msg, limit=self._size)

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes.

        Raises:
            Overloaded: they don't fit; none are reserved.
        """
        self.check(size)
        self._reserved += size

    def release(self, size: int) -> None:
        """Release `size` reserved bytes."""
        self._reserved -= size

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
        """Track a body, which may be given up from now on. It reserves its own bytes as they arrive."""
        self._pending.add(body)

    def remove(self, body: PendingBody) -> None:
        """Stop tracking a body, and release its bytes."""
        self._pending.discard(body)
        self.release(body.held_bytes)

    def _give_up_stalled(self) -> None:
        for body in self._pending:
            if body.is_stalled():
                body.give_up()
                self.release(body.held_bytes)
                body.held_bytes = 0
