"""Work on pictures: what it takes, and how it is done off the event loop and given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, TypeVar

from anyio import to_thread
from opentelemetry.trace import Span, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api import problems
from app.api.schemas import Wire
from app.digits.catalogue import Model
from app.digits.errors import DigitsError
from app.guard.rates import client_of
from app.state import state_of

Result = TypeVar("Result")
WORK: Final = "digits.work"  # in the scope: the `Stages` of a request's work
Stage = Literal["decode", "preprocess", "infer"]
STAGES: Final[tuple[Stage, ...]] = ("decode", "preprocess", "infer")


class GivenUp(Exception):
    """Nobody waits for this work any more."""


class Stages:
    """The stages of a request's work: the seconds spent in each, a batch's pictures added up.

    Keeps what log and traces tell of it, too, which is not what was read: that is the client's.
    """

    def __init__(self, model: str = "", tracer: Tracer | None = None) -> None:
        self.given_up = False
        self.model = model
        self.digits = 0
        self.confidence = 1.0  # the least of the digits'
        self.spent: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self._tracer = tracer

    def timed(self, stage: Stage, *, pictures: int = 1) -> _Timed:
        """Add the time that a `with` block takes to `stage`, and make a span of it where there are traces.

        Raises:
            GivenUp: the block has not been entered.
        """
        if self.given_up:
            raise GivenUp
        if self._tracer is None:
            return _Timed(self.spent, stage)
        about: dict[str, AttributeValue] = {"digits.model": self.model, "digits.pictures": pictures}
        return _Traced(self.spent, stage, self._tracer.start_span(stage, attributes=about))

    def read(self, digits: Sequence[tuple[int, float]]) -> None:
        """Note how many digits were read, each given with its confidence."""
        self.digits = len(digits)
        self.confidence = min((confidence for _, confidence in digits), default=1.0)

    def header(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        return ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in self.spent.items())


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


class _Traced(_Timed):
    """The same, and a span that ends with it; in a thread, too, its parent is the request's."""

    __slots__ = ("_span",)

    def __init__(self, spent: dict[Stage, float], stage: Stage, span: Span) -> None:
        super().__init__(spent, stage)
        self._span = span

    def __exit__(self, *raised: object) -> None:
        super().__exit__()
        error = raised[1]
        if error is not None:
            self._span.set_status(StatusCode.ERROR)
            name = error.code if isinstance(error, DigitsError) else type(error).__qualname__
            self._span.set_attribute("error.type", name)
        self._span.end()


def begun(request: Request, model: Model) -> Stages:
    """Return the stages of a request's work, which log, metrics and traces will ask for."""
    stages = Stages(model.name, state_of(request)["tracer"])
    request.scope[WORK] = stages
    return stages


def answered(result: Wire, stages: Stages) -> Response:
    """Return the response with a result, and with the time that its stages took."""
    # by pydantic itself: FastAPI would check the members again that have just been set
    body = result.model_dump_json(exclude_unset=True)  # a problem without a limit has no `limit`
    return Response(body, media_type="application/json", headers={"Server-Timing": stages.header()})


def check_place(request: Request) -> None:
    """Refuse a prediction before its body is read if there is no place for it now.

    Raises:
        Overloaded: there is none.
    """
    state_of(request)["places"].check(1, client_of(request.scope))


def hold_places(request: Request, count: int = 1) -> AbstractContextManager[None]:
    """Hold a place for each picture of a request while it is read: see `Places.hold`."""
    return state_of(request)["places"].hold(count, client_of(request.scope))


async def in_thread(work: Callable[[], Result], stages: Stages, request: Request, *, pictures: int) -> Result:
    """Work off the event loop, until the time limit is reached or the client has hung up.

    Then work that waits for a thread is dropped, and other work ends before its next stage. A stage that runs
    can't be stopped; until its end it keeps the request's places.

    Raises:
        TooSlow: the time is over.
        ClientDisconnect: nobody waits for the answer.
    """
    state = state_of(request)
    seconds = state["settings"].request_timeout
    started = False

    def start() -> Result | DigitsError:
        nonlocal started
        started = True
        try:
            return work()
        except DigitsError as error:  # a future that raised it would refer to it, and so to itself
            return error.with_traceback(None)

    task = asyncio.ensure_future(to_thread.run_sync(start, limiter=state["threads"]))
    gone = asyncio.ensure_future(request.receive())  # the body has been read: all that comes is the end
    try:
        await asyncio.wait([task, gone], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return unwrap(task.result())
        stages.given_up = True
        if not started:
            task.cancel()
        state["places"].hold_until_done(pictures, client_of(request.scope), task)
        if gone.done():
            raise ClientDisconnect
    finally:
        gone.cancel()
        del task  # it refers to the error: see `unwrap`
    msg = f"There was no prediction within {seconds:g} s. Try a smaller picture, or fewer."
    raise problems.TooSlow(msg)


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
