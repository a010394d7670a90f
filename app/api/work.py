"""Work on pictures: what it takes, and how it is done off the event loop and given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeVar

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request

from app.api import problems
from app.state import state_of

Result = TypeVar("Result")
Stage = Literal["decode", "preprocess", "infer"]
STAGES: Final[tuple[Stage, ...]] = ("decode", "preprocess", "infer")


class GivenUp(Exception):
    """Nobody waits for this work any more."""


class Stages:
    """The stages of a request's work: the seconds spent in each, a batch's pictures added up."""

    def __init__(self) -> None:
        self.given_up = False
        self._spent = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the time that the block takes to `stage`.

        Raises:
            GivenUp: the block has not been entered.
        """
        if self.given_up:
            raise GivenUp
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent[stage] += time.perf_counter() - started

    def header(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        return ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in self._spent.items())


async def in_thread(work: Callable[[], Result], stages: Stages, request: Request, *, pictures: int) -> Result:
    """Work off the event loop, until the time limit is reached or the client has hung up.

    Then the work ends before its next stage. A stage that runs can't be stopped; until its end it keeps
    the request's places.

    Raises:
        TooSlow: the time is over.
        ClientDisconnect: nobody waits for the answer.
    """
    state = state_of(request)
    seconds = state["settings"].request_timeout
    task = asyncio.ensure_future(to_thread.run_sync(work, limiter=state["threads"]))
    gone = asyncio.ensure_future(request.receive())  # the body has been read: all that comes is the end
    try:
        await asyncio.wait([task, gone], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        stages.given_up = True
        state["places"].hold_until_done(pictures, task)
        if gone.done():
            raise ClientDisconnect
    finally:
        gone.cancel()
    msg = f"There was no prediction within {seconds:g} s. Try a smaller picture, or fewer."
    raise problems.TooSlow(msg)
