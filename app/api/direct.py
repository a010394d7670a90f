"""The short way to the predictions, past the framework's routing.

FastAPI matches routes, solves dependencies and checks once more what they return, which takes as long as
reading a small picture (docs/performance.md). A request without a query needs none of it. One with a query
takes FastAPI's way to the same function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.api.number import predict_number
from app.api.predict import predict, predict_batch
from app.digits.errors import DigitsError

ENDPOINTS: Final[dict[tuple[str, str], Callable[[Request], Awaitable[Response]]]] = {
    ("POST", "/predict"): predict,
    ("POST", "/predict/batch"): predict_batch,
    ("POST", "/predict/number"): predict_number,
}


class Direct:
    """Call the endpoint itself, and answer its errors as `problems.install` has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        endpoint = None
        if scope["type"] == "http" and not scope["query_string"]:
            endpoint = ENDPOINTS.get((scope["method"], scope["path"]))
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive))
        except DigitsError as error:
            response = problems.response(error)
        except ClientDisconnect:
            response = problems.nobody_there()
        await response(scope, receive, send)
