"""Runs work in threads, within the time limit; returns errors as values: one of many pictures may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from ..digits.errors import DigitsError
from ..state import get_state
from ..telemetry.stages import Stages
from ..wire.problems import PredictionTimeout
from ..wire.scope import get_client

Input = TypeVar("Input")
Result = TypeVar("Result")


async def run_in_thread(
    work: Callable[[], Result],
    request: Request,
    *,
    stages: Stages | None = None,
    pictures: int = 1,
    is_small: bool = False,
) -> Result:
    """Run `work` in a thread, until the time limit is reached or the client hangs up.

    If it still waits for a thread then, it is dropped; otherwise it ends before its next stage. A running
    stage can't be stopped, and keeps the request's places until it ends. Small work does not wait for large
    work: see `Threads`.

    Raises:
        PredictionTimeout: the time limit was reached.
        ClientDisconnect: the client has hung up.
    """
    state = get_state(request)
    seconds = state.settings.request_timeout
    started = False

    def start() -> Result | DigitsError:
        nonlocal started
        started = True
        try:
            return work()
        except DigitsError as error:  # a future that raised it would refer to it, and so to itself
            return error.with_traceback(None)

    task = asyncio.ensure_future(state.threads.run(start, is_small=is_small))
    disconnect = asyncio.ensure_future(request.receive())  # the body has been read: next comes the disconnect
    try:
        await asyncio.wait([task, disconnect], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return unwrap(task.result())
        if disconnect.done():
            raise ClientDisconnect
    finally:  # also if this request is cancelled
        disconnect.cancel()
        if not task.done():
            if stages is not None:
                stages.is_abandoned = True
            if not started:
                task.cancel()
            state.places.hold_until_done(pictures, get_client(request.scope), task)
        del task  # it refers to the error: see `unwrap`
    msg = f"There was no prediction within {seconds:g} s. Try a smaller picture, or fewer."
    raise PredictionTimeout(msg)


def attempt(step: Callable[[Input], Result], value: Input | DigitsError) -> Result | DigitsError:
    """Return the result of a step, its error (see `unwrap`), or that of an earlier step."""
    if isinstance(value, DigitsError):
        return value
    try:
        return step(value)
    except DigitsError as error:
        return error.with_traceback(None)


def unwrap(result: Result | DigitsError) -> Result:
    """Return a result, or raise it if it is an error.

    A raised error refers to the frames that it passes, and these to the request's body. No frame may refer to
    the error in turn, or body and pictures are kept until Python's garbage collector finds the cycle: callers
    hold the result in no variable, and errors that are returned rather than raised have no traceback.
    """
    try:
        if isinstance(result, DigitsError):
            raise result
        return result
    finally:
        del result
