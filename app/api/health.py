"""`GET /health/…`: for orchestrators and load balancers."""

from __future__ import annotations

from fastapi import APIRouter, Request

from ..state import get_state
from ..wire.problems import NotReady
from .openapi import describe_problems
from .schemas import Health

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> Health:
    """Answer 200 while the event loop runs. A failure means: restart the worker."""
    return Health(status="live")


@router.get("/ready", responses=describe_problems(NotReady))
async def ready(request: Request) -> Health:
    """Answer 200 once the models are loaded and warm, 503 while draining. A failure means: send no requests.

    Load never makes it fail: without a busy worker, the others would be busier still.
    """
    if get_state(request).readiness.draining:
        msg = "The worker is shutting down: it ends once its requests are answered. Use another."
        raise NotReady(msg)
    return Health(status="ready")
