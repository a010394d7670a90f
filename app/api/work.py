"""Work on pictures: what it takes, and how it is done off the event loop and given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api import problems
from app.api.schemas import Wire
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
        self._spent: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)

    def timed(self, stage: Stage) -> _Timed:
        """Add the time that a `with` block takes to `stage`.

        Raises:
            GivenUp: the block has not been entered.
        """
        if self.given_up:
            raise GivenUp
        return _Timed(self._spent, stage)

    def header(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        return ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in self._spent.items())


class _Timed:
    """What a generator could be, too, at three times the cost."""

    __slots__ = ("_spent", "_stage", "_started")

    def __init__(self, spent: dict[Stage, float], stage: Stage) -> None:
        self._spent = spent
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spent[self._stage] += time.perf_counter() - self._started


def answered(result: Wire, stages: Stages) -> Response:
    """Return the response with a result, and with the time that its stages took."""
    # by pydantic itself: FastAPI would check the members again that have just been set
    body = result.model_dump_json(exclude_unset=True)  # a problem without a limit has no `limit`
    return Response(body, media_type="application/json", headers={"Server-Timing": stages.header()})


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
