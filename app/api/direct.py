"""Predictions without the framework's routing.

FastAPI matches routes, resolves dependencies and validates answers, which takes as long as reading a small
picture (docs/performance.md). Its routes for these paths only describe them in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, get_type_hints

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import EXPECTED_ERRORS, answer_error
from .number import predict_number
from .predict import predict, predict_batch

ENDPOINTS: Final[dict[str, Callable[..., Awaitable[Response]]]] = {
    "/predict": predict,
    "/predict/batch": predict_batch,
    "/predict/number": predict_number,
}
_PARAMETERS: Final[Mapping[str, Mapping[str, TypeAdapter[Any]]]] = {
    path: {
        name: TypeAdapter(hint)
        for name, hint in get_type_hints(endpoint, include_extras=True).items()
        if name not in {"request", "return"}
    }
    for path, endpoint in ENDPOINTS.items()
}


class DirectDispatch:
    """Calls the endpoints of predictions directly, and leaves other requests to the framework."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        endpoint = ENDPOINTS.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request, **_read_query(request))
        except EXPECTED_ERRORS as error:
            response = await answer_error(request, error)
        await response(scope, receive, send)


def _read_query(request: Request) -> dict[str, Any]:
    """Return the parameters of the endpoint that are in the query, validated as FastAPI would."""
    if not request.scope["query_string"]:
        return {}
    query, values = request.query_params, {}
    for name, parameter in _PARAMETERS[request.scope["path"]].items():
        if name in query:
            try:
                values[name] = parameter.validate_python(query[name])
            except ValidationError as error:
                faults = [{**fault, "loc": ("query", name)} for fault in error.errors()]
                raise RequestValidationError(faults) from None
    return values
