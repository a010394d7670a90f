"""The pictures of tasks, and what is read in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request

from ...digits.errors import DigitsError
from ...label_studio.pictures import LabelStudio
from ...state import State, get_state
from ...telemetry.stages import Stages
from ...wire import problems
from ...wire.problems import BatchTooLarge, MalformedRequest
from .. import base64_text
from ..number import build_prediction, read_upload
from ..reader import DigitReader, Reader, describe_model
from ..schemas import NumberPrediction, Prediction, Problem
from ..uploads import MAX_INLINE_BODY
from ..work import attempt, run_in_thread, unwrap
from . import regions
from .label_config import Control, LabelConfig
from .schemas import Task, TaskPrediction

_DATA_URL: Final = "data:"


@dataclass(frozen=True, slots=True)
class TaskReading:
    """What was read in a task's picture, as far as the project asks for it."""

    digit: Prediction | None
    number: NumberPrediction | None


def describe_version(config: LabelConfig, state: State) -> str:
    """Return the names and versions of the models that read for a project."""
    models = [state.catalogue.get()] if config.wants_digit else []
    models += [state.catalogue.get_line_reader()] if config.wants_number else []
    return ", ".join(f"{ref.name} {ref.version}" for ref in map(describe_model, models))


def _get_label_studio(state: State) -> LabelStudio:
    """Return the Label Studio that the service is configured for; its routes exist only if there is one."""
    assert state.label_studio is not None  # noqa: S101
    return state.label_studio


async def fetch_picture(task: Task, key: str, state: State, *, max_bytes: int) -> bytes:
    """Return the picture of a task.

    Raises:
        MalformedRequest: the task has no picture, or one that is not text.
        DigitsError: see `LabelStudio.fetch`.
    """
    address = task.data.get(key)
    if not isinstance(address, str) or not address:
        msg = f"The task's data has no text {key!r}, which the label config names as the picture."
        raise MalformedRequest(msg)
    if address[: len(_DATA_URL)].lower() == _DATA_URL:
        decode = partial(base64_text.decode, where=f"data.{key}")
        if len(address) <= MAX_INLINE_BODY:
            return decode(address)
        return unwrap(await state.threads.run(partial(attempt, decode, address)))
    return await _get_label_studio(state).fetch(address, max_bytes=max_bytes)


class TaskReader:
    """Reads the pictures of a request's tasks."""

    def __init__(self, request: Request, config: LabelConfig) -> None:
        """Refuse the request if it can't be served now.

        Raises:
            DigitsError: there is no such model, or no place.
        """
        self._request = request
        self._config = config
        self.state = get_state(request)
        catalogue = self.state.catalogue
        self._digits = DigitReader(request, catalogue.get()) if config.wants_digit else None
        self._numbers = Reader(request, catalogue.get_line_reader()) if config.wants_number else None

    @property
    def stages(self) -> Stages:
        """The stages of all that was read."""
        reader = self._digits or self._numbers
        assert reader is not None  # noqa: S101  a config without controls is refused
        return reader.stages

    async def read(self, tasks: Sequence[Task]) -> list[TaskReading | DigitsError]:
        """Read the picture of each task; where that fails, return the error instead."""
        settings = self.state.settings
        limit = settings.max_body_bytes if len(tasks) == 1 else settings.max_batch_body_bytes
        with self.state.body_budget.hold(limit):
            pictures = await self._fetch_all(tasks, limit)
            digits = await self._read_digits(pictures)
            numbers = [await self._read_number(picture) for picture in pictures]
        return [_combine(digit, number) for digit, number in zip(digits, numbers, strict=True)]

    def count_refusals(self, outcomes: Sequence[TaskReading | DigitsError]) -> None:
        """Count the pictures that can't be read, for the metrics."""
        for outcome in outcomes:
            if isinstance(outcome, DigitsError):
                self.state.metrics.count_refusal(outcome.code)

    async def _fetch_all(self, tasks: Sequence[Task], max_bytes: int) -> list[bytes | DigitsError]:
        """Fetch pictures; if they have more than `max_bytes` bytes together, only the first one."""
        largest = min(self.state.settings.max_body_bytes, max_bytes)
        too_many = _build_too_many(max_bytes)
        remaining = max_bytes

        async def fetch(task: Task) -> bytes | DigitsError:
            nonlocal remaining
            try:
                picture = await fetch_picture(task, self._config.picture_key, self.state, max_bytes=largest)
            except DigitsError as error:
                return error.with_traceback(None)
            remaining -= len(picture)
            return picture if remaining >= 0 or task is tasks[0] else too_many

        pictures = await asyncio.gather(*map(fetch, tasks))
        if remaining < 0:  # whichever arrived last
            return [pictures[0]] + [too_many] * (len(pictures) - 1)
        return pictures

    async def _read_digits(
        self, pictures: Sequence[bytes | DigitsError]
    ) -> Sequence[Prediction | DigitsError | None]:
        if self._digits is None:
            return [picture if isinstance(picture, DigitsError) else None for picture in pictures]
        outcomes = await self._digits.predict_all(pictures)
        self._digits.count_predictions([outcome for outcome in outcomes if isinstance(outcome, Prediction)])
        return outcomes

    async def _read_number(self, picture: bytes | DigitsError) -> NumberPrediction | DigitsError | None:
        reader = self._numbers
        if reader is None or isinstance(picture, DigitsError):
            return None
        number_reader = self.state.catalogue.get_number_reader(reader.model)
        read = partial(read_upload, reader=reader, number_reader=number_reader, view=False)
        with reader.hold_places(1):
            reading = await run_in_thread(lambda: attempt(read, picture), self._request, stages=reader.stages)
        if isinstance(reading, DigitsError):
            return reading
        digits = [(int(digit.character), digit.confidence) for digit in reading.number.digits]
        reader.count_results(digits, cautions=reading.number.cautions)
        return build_prediction(reading, reader.describe_model())


def _combine(
    digit: Prediction | DigitsError | None, number: NumberPrediction | DigitsError | None
) -> TaskReading | DigitsError:
    if isinstance(digit, DigitsError):
        return digit
    return number if isinstance(number, DigitsError) else TaskReading(digit, number)


def describe_outcome(
    outcome: TaskReading | DigitsError, config: LabelConfig, model_version: str
) -> TaskPrediction:
    """Return the pre-annotation of a task, or an empty one with the problem."""
    if isinstance(outcome, DigitsError):
        problem = Problem(**problems.describe(outcome))
        return TaskPrediction(result=[], score=0, model_version=model_version, problem=problem)
    result = [region for control in config.controls for region in _describe(control, outcome)]
    score = min((region["score"] for region in result), default=0.0)
    return TaskPrediction(result=result, score=score, model_version=model_version)


def _describe(control: Control, reading: TaskReading) -> Iterator[regions.Region]:
    if control.kind == "Choices" and reading.digit:
        yield from regions.describe_digit(control, reading.digit)
    elif reading.number:
        yield from regions.describe_number(control, reading.number)


def _build_too_many(max_bytes: int) -> BatchTooLarge:
    msg = f"The tasks' pictures have more than {max_bytes} bytes together. Send the tasks one by one."
    return BatchTooLarge(msg, limit=max_bytes)
