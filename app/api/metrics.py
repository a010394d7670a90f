"""`GET /metrics`: for Prometheus."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from ..state import get_state

router = APIRouter(tags=["operation"])


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return the metrics of all workers as text for Prometheus or, if that is accepted, OpenMetrics."""
    numbers = get_state(request).metrics
    numbers.update()
    text, media_type = await to_thread.run_sync(numbers.render, request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type})
