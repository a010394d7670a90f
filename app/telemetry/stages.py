"""The stages of a request's work: how long each took, for the answer, the log, metrics and traces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal

from opentelemetry.trace import Span, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from app.digits.errors import DigitsError
from app.wire.scope import WORK

StageName = Literal["decode", "preprocess", "infer"]
STAGE_NAMES: Final[tuple[StageName, ...]] = ("decode", "preprocess", "infer")


class WorkAbandoned(Exception):
    """Nobody waits for this work any more."""


class Stages:
    """The seconds spent in each stage of a request's work, a batch's pictures added up.

    Keeps what log and traces say of the work, too, which is not what was read: that is the client's.
    """

    def __init__(self, model: str = "", tracer: Tracer | None = None) -> None:
        self.is_abandoned = False
        self.model = model
        self.digits = 0
        self.confidence = 1.0  # the least of the digits'
        self.seconds: dict[StageName, float] = dict.fromkeys(STAGE_NAMES, 0.0)
        self._tracer = tracer

    def time_stage(self, stage: StageName, *, pictures: int = 1) -> _Timer:
        """Add the time that a `with` block takes to `stage`, and make a span of it where there are traces.

        Raises:
            GivenUp: the block has not been entered.
        """
        if self.is_abandoned:
            raise WorkAbandoned
        if self._tracer is None:
            return _Timer(self.seconds, stage)
        attributes: dict[str, AttributeValue] = {"digits.model": self.model, "digits.pictures": pictures}
        return _SpanTimer(self.seconds, stage, self._tracer.start_span(stage, attributes=attributes))

    def note_digits(self, digits: Sequence[tuple[int, float]]) -> None:
        """Note how many digits were read, each given with its confidence."""
        self.digits = len(digits)
        self.confidence = min((confidence for _, confidence in digits), default=1.0)

    def format_header(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        return ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in self.seconds.items())


def get_stages(scope: Scope) -> Stages | None:
    """Return the stages of a request's work, None where it has not come to any."""
    stages: Stages | None = scope.get(WORK)
    return stages


class _Timer:
    """What a generator could be, too, at three times the cost."""

    __slots__ = ("_seconds", "_stage", "_started")

    def __init__(self, seconds: dict[StageName, float], stage: StageName) -> None:
        self._seconds = seconds
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] += time.perf_counter() - self._started


class _SpanTimer(_Timer):
    """A timer with a span that ends with it; in a thread, too, the span's parent is the request's."""

    __slots__ = ("_span",)

    def __init__(self, seconds: dict[StageName, float], stage: StageName, span: Span) -> None:
        super().__init__(seconds, stage)
        self._span = span

    def __exit__(self, *raised: object) -> None:
        super().__exit__()
        error = raised[1]
        if error is not None:
            self._span.set_status(StatusCode.ERROR)
            name = error.code if isinstance(error, DigitsError) else type(error).__qualname__
            self._span.set_attribute("error.type", name)
        self._span.end()
