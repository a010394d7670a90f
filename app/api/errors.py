"""What endpoints and the router raise, as the problem document that it is answered with."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.digits.errors import DigitsError
from app.wire.problems import (
    CLIENT_CLOSED_REQUEST,
    InternalError,
    MalformedRequest,
    NotFound,
    ProblemResponse,
)
from app.wire.request_id import REQUEST_ID_HEADER, request_id

EXPECTED: Final = (DigitsError, RequestValidationError, ClientDisconnect, HTTPException)


async def answer_error(request: Request, error: Exception) -> Response:
    """Return the response to an error; one that is not in `EXPECTED` is a defect of ours."""
    match error:
        case DigitsError():
            return ProblemResponse(error)
        case RequestValidationError():
            return ProblemResponse(MalformedRequest("; ".join(map(_describe, error.errors())) + "."))
        case ClientDisconnect():  # nobody receives it
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return ProblemResponse(NotFound(request.url.path))
        case HTTPException():
            return ProblemResponse(MalformedRequest(str(error.detail)))
    # answered outside of `AccessLog`, which would have added the header
    headers = {REQUEST_ID_HEADER: request_id.get() or ""}
    return ProblemResponse(
        InternalError("The service has a defect here; report it with this request_id."), headers
    )


def _describe(error: Mapping[str, Any]) -> str:
    """Say which parameter is wrong, and what pydantic has against it."""
    return f"{' '.join(map(str, error['loc']))} is {reprlib.repr(error['input'])}: {error['msg']}"
