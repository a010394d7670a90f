"""How many pictures a worker takes on at a time, and how many bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.api.v2.paths import infers


class Places:
    """A worker's places, one for each picture in flight; taken and freed on the event loop alone."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    @contextmanager
    def held(self, count: int) -> Iterator[None]:
        """Hold `count` places for a while.

        Raises:
            Overloaded: fewer are free; none has been taken.
        """
        if self.taken + count > self.count:
            msg = f"{self.taken} of {self.count} places are taken, {count} are needed. Try again in a second."
            raise problems.Overloaded(msg, limit=self.count)
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count

    def hold_until_done(self, count: int, task: asyncio.Future[Any]) -> None:
        """Hold `count` places for work that goes on after its request has been answered."""

        def free(done: asyncio.Future[Any]) -> None:
            self.taken -= count
            if not done.cancelled():
                done.exception()  # has been asked for, so that asyncio does not report it as lost

        self.taken += count
        task.add_done_callback(free)


class Room:
    """A worker's room for the bodies of requests; filled and cleared on the event loop alone."""

    def __init__(self, size: int) -> None:
        self._size = size  # bytes
        self._filled = 0

    def check(self, size: int) -> None:
        """Ask whether `size` more bytes could be held.

        Raises:
            Overloaded: they could not.
        """
        if self._filled + size > self._size:
            msg = (
                f"{self._filled} of {self._size} bytes are held for other requests, {size} more don't fit. "
                "Try again in a second."
            )
            raise problems.Overloaded(msg, limit=self._size)

    def fill(self, size: int) -> None:
        """Hold `size` bytes more, until they are given to `clear`.

        Raises:
            Overloaded: as `check`; none is held.
        """
        self.check(size)
        self._filled += size

    def clear(self, size: int) -> None:
        """Hold `size` bytes less."""
        self._filled -= size

    @contextmanager
    def filled(self, size: int) -> Iterator[None]:
        """Hold `size` bytes for a while.

        Raises:
            Overloaded: as `fill`.
        """
        self.fill(size)
        try:
            yield
        finally:
            self.clear(size)


class PlaceGuard:
    """Let a prediction in only if there is a place for it, before its body is read.

    A batch comes in with one place; its route takes the others once the pictures are counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _takes_pictures(scope["path"]):
            await self._app(scope, receive, send)
            return
        places: Places = scope["state"]["places"]
        try:
            with places.held(1):
                await self._app(scope, receive, send)
        except problems.Overloaded as error:  # a batch's own is answered within the application
            await problems.response(error)(scope, receive, send)


def _takes_pictures(path: str) -> bool:
    return path.startswith("/predict") or infers(path)
