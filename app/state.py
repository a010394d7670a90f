"""What a worker knows while it serves. Made by the lifespan, carried to every request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter
from opentelemetry.trace import Tracer
from starlette.requests import Request

from app.capacity import BodyBudget, Places, Readiness
from app.digits.catalogue import Catalogue
from app.guard.keys import Keyring
from app.settings import Settings
from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from app.feedback.keeper import Keeper

STATE: Final = "digits"  # its name in the lifespan's state, which is a mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a worker."""

    settings: Settings
    keyring: Keyring
    catalogue: Catalogue
    readiness: Readiness
    places: Places
    body_budget: BodyBudget
    threads: CapacityLimiter  # for pictures too large to decode on the event loop
    metrics: Metrics
    feedback: Keeper | None  # None where no pictures are kept
    tracer: Tracer | None  # None where no traces are exported


def get_state(request: Request) -> State:
    """Return the state of the worker that serves a request."""
    return get_lifespan_state(request.scope["state"])


def get_lifespan_state(lifespan: Mapping[str, Any]) -> State:
    """Return the state of a worker from that of its lifespan."""
    state: State = lifespan[STATE]
    return state
