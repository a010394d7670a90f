"""`/label-studio`: the ML backend, with the four routes that Label Studio calls.

Exists only if `DIGITS_LABEL_STUDIO_URL` is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from fastapi import APIRouter, Request, Response

from ...label_studio.pictures import PictureNotFetched
from ...state import get_state
from ...wire.problems import BatchTooLarge, EmptyBatch, FeedbackFull, FeedbackUnavailable, Forbidden
from ...wire.scope import get_client
from .. import json_body, openapi, uploads
from ..feedback import store_picture
from ..reader import DigitReader
from ..schemas import Schema
from ..work import unwrap
from . import label_config, regions
from .schemas import (
    AnnotationEvent,
    Event,
    SetupRequest,
    Status,
    Stored,
    TaskPredictions,
    TasksRequest,
    Version,
)
from .tasks import TaskReader, describe_outcome, describe_version, fetch_picture

# Label Studio sends all tasks of a page at once, each with its annotations and earlier predictions
MAX_VALUES: Final = 100_000
MAX_NUMBERS: Final = 1_000_000  # of brush strokes and polygons in an annotation
STORED_ACTIONS: Final = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED"})

router = APIRouter(prefix="/label-studio")
_parse_tasks: Final = partial(json_body.parse, body=TasksRequest, max_values=MAX_VALUES)
_parse_setup: Final = partial(json_body.parse, body=SetupRequest)


@router.get("/health", tags=["health"])
async def check_label_studio_backend() -> Status:
    """Answer Label Studio, which asks before each use."""
    return Status(status="UP")


@router.post(
    "/setup",
    tags=["models"],
    openapi_extra=openapi.describe_body("The project.", {uploads.JSON: openapi.describe_model(SetupRequest)}),
    response_model=Version,
    responses=openapi.describe_problems(*openapi.BATCH_PROBLEMS),
)
async def set_up_project(request: Request) -> Response:
    """Check that a project's label config has something that the service can fill."""
    setup = await uploads.read_body(request, _parse_setup)
    config = label_config.parse(setup.schema_)
    version = Version(model_version=describe_version(config, get_state(request)))
    return _respond(version)


@router.post(
    "/predict",
    tags=["predict"],
    openapi_extra=openapi.describe_body("The tasks.", {uploads.JSON: openapi.describe_model(TasksRequest)}),
    response_model=TaskPredictions,
    responses=openapi.describe_problems(*openapi.BATCH_PROBLEMS, Forbidden),
)
async def predict_tasks(request: Request) -> Response:
    """Read the pictures of tasks, as far as the label config asks for it.

    If that is too much for one request, only the first task is answered, and Label Studio sends the others
    one by one.
    """
    body = await uploads.read_body(request, _parse_tasks)
    if not body.tasks:
        msg = "There are no tasks. Send at least one."
        raise EmptyBatch(msg)
    config = label_config.parse(body.label_config)
    reader = TaskReader(request, config)
    # a number may take as much time as a batch of digits
    max_tasks = 1 if config.wants_number else reader.state.settings.max_batch
    tasks = body.tasks if len(body.tasks) <= max_tasks else body.tasks[:1]
    outcomes = await reader.read(tasks)
    if all(isinstance(outcome, Forbidden | PictureNotFetched) for outcome in outcomes):
        unwrap(outcomes.pop())  # the service can't get at pictures at all: an empty answer would hide it
    if any(isinstance(outcome, BatchTooLarge) for outcome in outcomes):
        outcomes = outcomes[:1]
    reader.count_refusals(outcomes)
    version = describe_version(config, reader.state)
    results = [describe_outcome(outcome, config, version) for outcome in outcomes]
    return _respond(TaskPredictions(results=results), {"Server-Timing": reader.stages.format_header()})


@router.post(
    "/webhook",
    tags=["feedback"],
    openapi_extra=openapi.describe_body(
        "An event of Label Studio.", {uploads.JSON: openapi.describe_model(AnnotationEvent)}
    ),
    response_model=Stored,
    responses=openapi.describe_problems(
        *openapi.PICTURE_PROBLEMS, Forbidden, FeedbackFull, FeedbackUnavailable
    ),
)
async def receive_event(request: Request) -> Response:
    """Store the picture of an annotation and the digit that was chosen for it, if feedback is stored.

    An annotation that is sent again, or changed, replaces the digit of its picture.
    """
    state = get_state(request)
    if state.feedback_store is None:
        return _ignore("This service does not keep pictures: DIGITS_FEEDBACK_URL is not set.")
    state.feedback_store.check(get_client(request.scope))
    reader = DigitReader(request, state.catalogue.get())
    event = await uploads.read_body(request, _parse_event)
    if event is None:
        return _ignore(f"Only {' and '.join(sorted(STORED_ACTIONS))} are stored.")
    config = label_config.parse(event.project.label_config)
    digit = None if event.annotation.was_cancelled else regions.find_digit(event.annotation.result, config)
    if digit is None:
        return _ignore("The annotation does not choose one digit.")
    limit = state.settings.max_body_bytes
    with state.body_budget.hold(limit):
        picture = await fetch_picture(event.task, config.picture_key, state, max_bytes=limit)
        await store_picture(reader, state.feedback_store, picture, *digit)
    return _respond(Stored(stored=True, reason=""))


def _parse_event(body: bytes) -> AnnotationEvent | None:
    """Return the event, or None if it is none of those that are stored."""
    event = json_body.parse(body, Event, max_values=MAX_VALUES, max_numbers=MAX_NUMBERS)
    if event.action not in STORED_ACTIONS:
        return None
    return json_body.parse(body, AnnotationEvent, max_values=MAX_VALUES, max_numbers=MAX_NUMBERS)


def _ignore(reason: str) -> Response:
    return _respond(Stored(stored=False, reason=reason))


def _respond(answer: Schema, headers: Mapping[str, str] | None = None) -> Response:
    return Response(answer.model_dump_json(exclude_unset=True), media_type=uploads.JSON, headers=headers)
