"""`GET /health/…`: what orchestrators and load balancers ask."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.api.openapi import refusals
from app.api.schemas import Health
from app.state import state_of
from app.wire.problems import NotReady

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", responses=refusals())
async def live() -> Health:
    """Answer 200 while the event loop turns. A failure means: restart."""
    return Health(status="live")


@router.get("/ready", responses=refusals(NotReady))
async def ready(request: Request) -> Health:
    """Answer 200 once the models are loaded and warm, 503 while draining. A failure means: send no more.

    Load never makes it fail: a busy worker that is taken out leaves the others busier still.
    """
    if state_of(request).readiness.draining:
        msg = "The worker is draining: it ends once its requests have. Ask another."
        raise NotReady(msg)
    return Health(status="ready")
