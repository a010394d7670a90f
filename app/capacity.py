"""How much a worker takes on: whether more requests at all, how many pictures, how many bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app.wire.problems import Overloaded

MIN_SHARED_PLACES: Final = 16  # places; where there are fewer, none are reserved
PLACES_PER_FEW: Final = 8  # a client holds few if it holds at most one in so many places
PLACES_PER_RESERVED: Final = 4  # for each so many places there is one more for such clients


@dataclass(slots=True)
class Readiness:
    """Whether load balancers should send requests here."""

    draining: bool = False


class Places:
    """A worker's places, one for each picture in flight; taken and freed on the event loop alone.

    A place is held while its picture is read, not while the body arrives nor while the answer is sent: a
    client that sends or reads slowly holds none. Where all are taken, a quarter as many again are there for
    clients that hold few, so that a single client can't keep the others out.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0
        self._taken_by: dict[str, int] = {}

    def check(self, count: int, client: str) -> None:
        """Ask whether a client could have `count` places.

        Raises:
            Overloaded: it could not.
        """
        if count <= self.count - self.taken + self._count_reserved(client, count):
            return
        msg = f"{self.taken} of {self.count} places are taken, {count} are needed. Try again in a second."
        raise Overloaded(msg, limit=self.count)

    def _count_reserved(self, client: str, count: int) -> int:
        few = self.count // PLACES_PER_FEW if self.count >= MIN_SHARED_PLACES else 0
        return self.count // PLACES_PER_RESERVED if self._taken_by.get(client, 0) + count <= few else 0

    @contextmanager
    def hold(self, count: int, client: str) -> Iterator[None]:
        """Hold `count` places for a while.

        Raises:
            Overloaded: as `check`; none has been taken.
        """
        self.check(count, client)
        self._take(count, client)
        try:
            yield
        finally:
            self._take(-count, client)

    def hold_until_done(self, count: int, client: str, task: asyncio.Future[Any]) -> None:
        """Hold `count` places for work that goes on after its request has been answered."""

        def free(done: asyncio.Future[Any]) -> None:
            self._take(-count, client)
            if not done.cancelled():
                done.exception()  # has been asked for, so that asyncio does not report it as lost

        self._take(count, client)
        task.add_done_callback(free)

    def _take(self, count: int, client: str) -> None:
        self.taken += count
        held = self._taken_by.pop(client, 0) + count
        if held:
            self._taken_by[client] = held


class PendingBody(Protocol):
    """A body on its way in."""

    held_bytes: int  # bytes of it that are held

    def is_stalled(self) -> bool:
        """Tell whether hardly any of it is coming."""

    def give_up(self) -> None:
        """Refuse it; its bytes are held no longer."""


class BodyBudget:
    """A worker's room for the bodies of requests; filled and cleared on the event loop alone.

    What has arrived of a body fills it. Where it is full, bodies that have stalled are given up: a client
    that sends much and then stops does not keep others out.
    """

    def __init__(self, size: int) -> None:
        self._size = size  # bytes
        self._reserved = 0
        self._uploads: set[PendingBody] = set()

    def check(self, size: int) -> None:
        """Ask whether `size` more bytes could be held, if need be in place of bodies that have stalled.

        Raises:
            Overloaded: they could not.
        """
        if self._reserved + size > self._size:
            self._give_up_stalled()
        if self._reserved + size > self._size:
            msg = (
                f"{self._reserved} of {self._size} bytes are held for other requests, {size} more don't fit. "
                "Try again in a second."
            )
            raise Overloaded(msg, limit=self._size)

    def reserve(self, size: int) -> None:
        """Hold `size` bytes more, until they are given to `release`.

        Raises:
            Overloaded: as `check`; none is held.
        """
        self.check(size)
        self._reserved += size

    def release(self, size: int) -> None:
        """Hold `size` bytes less."""
        self._reserved -= size

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold `size` bytes for a while.

        Raises:
            Overloaded: as `reserve`.
        """
        self.reserve(size)
        try:
            yield
        finally:
            self.release(size)

    def begin(self, upload: PendingBody) -> None:
        """Expect an upload, which tells `reserve` of what arrives; `end` must follow."""
        self._uploads.add(upload)

    def end(self, upload: PendingBody) -> None:
        """Hold nothing more of an upload."""
        self._uploads.discard(upload)
        self.release(upload.held_bytes)

    def _give_up_stalled(self) -> None:
        for upload in [upload for upload in self._uploads if upload.is_stalled()]:
            upload.give_up()
            self.release(upload.held_bytes)
            upload.held_bytes = 0
