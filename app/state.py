"""The state of a worker. The lifespan creates it, and every request has access to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Tracer
from starlette.requests import Request

from .batching import Batcher
from .capacity import BodyBudget, Places, Readiness, Threads
from .digits.catalogue import Catalogue
from .guard.keys import Keyring
from .settings import Settings
from .telemetry.metrics import Metrics

if TYPE_CHECKING:
    from .feedback.async_store import AsyncStore
    from .label_studio.pictures import LabelStudio

STATE: Final = "digits"  # the key in the lifespan's state


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a worker."""

    settings: Settings
    keyring: Keyring
    catalogue: Catalogue
    readiness: Readiness
    places: Places
    batcher: Batcher
    body_budget: BodyBudget
    threads: Threads
    metrics: Metrics
    feedback_store: AsyncStore | None  # None if no database is configured
    label_studio: LabelStudio | None  # None if none is configured
    tracer: Tracer | None  # None if no traces are exported


def get_state(request: Request) -> State:
    """Return the state of the worker that serves a request."""
    return get_lifespan_state(request.scope["state"])


def get_lifespan_state(lifespan: Mapping[str, Any]) -> State:
    """Return the state of a worker, given the state of its lifespan."""
    state: State = lifespan[STATE]
    return state
