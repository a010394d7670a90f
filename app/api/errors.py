"""Turns the errors that endpoints and the router raise into problem documents."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..digits.errors import DigitsError
from ..wire.problems import (
    CLIENT_CLOSED_REQUEST,
    Forbidden,
    InternalError,
    MalformedRequest,
    NotFound,
    ProblemResponse,
)
from ..wire.request_id import REQUEST_ID_HEADER, request_id
from ..wire.scope import get_key_id, get_root_path

EXPECTED_ERRORS: Final = (DigitsError, RequestValidationError, ClientDisconnect, HTTPException)


async def answer_error(request: Request, error: Exception) -> Response:
    """Return the response to an error; any that is not in `EXPECTED_ERRORS` is a defect of the service."""
    match error:
        case DigitsError():
            return ProblemResponse(error)
        case RequestValidationError():
            return ProblemResponse(MalformedRequest("; ".join(map(_describe, error.errors())) + "."))
        case ClientDisconnect():  # nobody receives the response
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return ProblemResponse(NotFound(request.scope["path"], root_path=get_root_path(request.scope)))
        case HTTPException():
            return ProblemResponse(MalformedRequest(str(error.detail)))
    # this answer is sent outside of `AccessLog`, which adds the header to all others
    headers = {REQUEST_ID_HEADER: request_id.get() or ""}
    defect = InternalError("The service has a defect here; report it with this request_id.")
    return ProblemResponse(defect, headers)


def require_key(request: Request, action: str) -> None:
    """Refuse a request without a key; if no keys are configured, every request is refused.

    Raises:
        Forbidden: the request has no key; the text names the action.
    """
    if get_key_id(request.scope) is None:
        msg = f"Only clients with a key can {action}, and this service has no keys: set DIGITS_API_KEYS_FILE."
        raise Forbidden(msg)


def _describe(error: Mapping[str, Any]) -> str:
    return f"{' '.join(map(str, error['loc']))} is {reprlib.repr(error['input'])}: {error['msg']}"
