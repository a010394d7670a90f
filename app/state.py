"""What a worker knows while it serves. Made by the lifespan, carried to every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

from anyio import CapacityLimiter
from opentelemetry.trace import Tracer
from starlette.requests import Request

from app.digits.catalogue import Catalogue
from app.guard.places import Places, Room
from app.settings import Settings
from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from app.feedback.keeper import Keeper


@dataclass(slots=True)
class Readiness:
    """Whether load balancers should send requests here."""

    draining: bool = False


class State(TypedDict):
    """The lifespan's state."""

    settings: Settings
    catalogue: Catalogue
    places: Places
    room: Room
    readiness: Readiness
    threads: CapacityLimiter  # for pictures too large to decode on the event loop
    metrics: Metrics
    feedback: Keeper | None  # None where no pictures are kept
    tracer: Tracer | None  # None where no traces are exported


def state_of(request: Request) -> State:
    """Return the worker's state."""
    return cast("State", request.scope["state"])
