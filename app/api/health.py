"""`GET /health/…`: what orchestrators and load balancers ask."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.api.openapi import describe_problems
from app.api.schemas import Health
from app.state import get_state
from app.wire.problems import NotReady

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> Health:
    """Answer 200 while the event loop turns. A failure means: restart."""
    return Health(status="live")


@router.get("/ready", responses=describe_problems(NotReady))
async def ready(request: Request) -> Health:
    """Answer 200 once the models are loaded and warm, 503 while draining. A failure means: send no more.

    Load never makes it fail: a busy worker that is taken out leaves the others busier still.
    """
    if get_state(request).readiness.draining:
        msg = "The worker is shutting down: it ends when its requests are done. Ask another."
        raise NotReady(msg)
    return Health(status="ready")
