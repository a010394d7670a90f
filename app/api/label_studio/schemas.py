"""What Label Studio sends to an ML backend, and what it expects back. Other members are ignored."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ..schemas import Problem, RequestSchema, Schema


class Task(RequestSchema):
    """A task of a project."""

    data: dict[str, Any] = Field(examples=[{"image": "/data/upload/1/7.png"}])
    """The picture is the member that `<Image value="$…">` names: a path or an address in Label Studio, or a
    `data:` URL."""


class TasksRequest(RequestSchema):
    """The body of /label-studio/predict."""

    tasks: list[Task]

    label_config: str
    """The project's label config."""


class SetupRequest(RequestSchema):
    """The body of /label-studio/setup."""

    schema_: str = Field(alias="schema")
    """The project's label config."""


class Event(RequestSchema):
    """The body of /label-studio/webhook."""

    action: str
    """`ANNOTATION_CREATED` and `ANNOTATION_UPDATED` are stored; all others are ignored."""


class Annotation(RequestSchema):
    """What somebody has labelled in a task."""

    result: list[dict[str, Any]]

    was_cancelled: bool = False
    """Whether the task was skipped."""


class Project(RequestSchema):
    """The project of an annotation."""

    label_config: str


class AnnotationEvent(Event):
    """An annotation that has been created or updated."""

    annotation: Annotation
    task: Task
    project: Project


class Status(Schema):
    """The state of the backend."""

    status: str


class Version(Schema):
    """What answers."""

    model_version: str
    """Names and versions of the models that the project's label config needs."""


class TaskPrediction(Schema):
    """The pre-annotation of a task."""

    result: list[dict[str, Any]]
    """Regions as in Label Studio's JSON; empty if the picture can't be read."""

    score: float
    """The lowest confidence of all that was read."""

    model_version: str

    problem: Problem | None = None
    """Why the picture can't be read."""


class TaskPredictions(Schema):
    """A pre-annotation for each task, or for the first only; Label Studio then sends them one by one."""

    results: list[TaskPrediction]


class Stored(Schema):
    """What became of an event."""

    stored: bool

    reason: str
    """Why it was not stored; otherwise empty."""
