"""The stages of a request's work, timed for the Server-Timing header, the log, metrics and traces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal

from opentelemetry.trace import Span, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from ..digits.errors import DigitsError
from ..wire.scope import WORK

StageName = Literal["decode", "preprocess", "infer"]
STAGE_NAMES: Final[tuple[StageName, ...]] = ("decode", "preprocess", "infer")
_HEADER: Final = ", ".join(f"{stage};dur=%.3f" for stage in STAGE_NAMES)


class WorkAbandoned(Exception):
    """The client has disconnected or the time limit is over, so nobody waits for this work."""


class Stages:
    """The seconds spent in each stage of a request's work, summed over the pictures of a batch.

    Also holds what the log and traces report about the work: how many digits were read, but never which.
    """

    def __init__(self, model: str = "", tracer: Tracer | None = None) -> None:
        self.is_abandoned = False
        self.model = model
        self.digits = 0
        self.confidence = 1.0  # the lowest of all digits
        self.seconds: dict[StageName, float] = dict.fromkeys(STAGE_NAMES, 0.0)
        self._tracer = tracer

    def time_stage(self, stage: StageName, *, pictures: int = 1) -> _Timer:
        """Return a context manager that adds the duration of its block to `stage`, and traces it.

        Raises:
            WorkAbandoned: nobody waits for the work.
        """
        if self.is_abandoned:
            raise WorkAbandoned
        if self._tracer is None:
            return _Timer(self.seconds, stage)
        attributes: dict[str, AttributeValue] = {"digits.model": self.model, "digits.pictures": pictures}
        return _SpanTimer(self.seconds, stage, self._tracer.start_span(stage, attributes=attributes))

    def add(self, stage: StageName, seconds: float) -> None:
        """Add time that was measured elsewhere."""
        self.seconds[stage] += seconds

    def note_digits(self, digits: Sequence[tuple[int, float]]) -> None:
        """Note how many digits were read, and the lowest confidence; takes (digit, confidence) pairs."""
        self.digits = len(digits)
        self.confidence = min((confidence for _, confidence in digits), default=1.0)

    def format_header(self) -> str:
        """Return the value of the `Server-Timing` header, with durations in milliseconds."""
        decode, preprocess, infer = self.seconds.values()
        return _HEADER % (decode * 1e3, preprocess * 1e3, infer * 1e3)


def get_stages(scope: Scope) -> Stages | None:
    """Return the stages of a request's work, or None if the work has not begun."""
    stages: Stages | None = scope.get(WORK)
    return stages


class _Timer:
    """A class, as `@contextmanager` costs three times as much."""

    __slots__ = ("_seconds", "_stage", "_started")

    def __init__(self, seconds: dict[StageName, float], stage: StageName) -> None:
        self._seconds = seconds
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] += time.perf_counter() - self._started


class _SpanTimer(_Timer):
    """A timer that also ends a span."""

    __slots__ = ("_span",)

    def __init__(self, seconds: dict[StageName, float], stage: StageName, span: Span) -> None:
        super().__init__(seconds, stage)
        self._span = span

    def __exit__(self, *exception: object) -> None:
        super().__exit__()
        error = exception[1]
        if error is not None:
            self._span.set_status(StatusCode.ERROR)
            name = error.code if isinstance(error, DigitsError) else type(error).__qualname__
            self._span.set_attribute("error.type", name)
        self._span.end()
