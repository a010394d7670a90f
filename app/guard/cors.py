"""Which web pages may call the service; refusals in the one error shape."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from app.wire.problems import MalformedRequest, Refusal


class Cors(CORSMiddleware):
    """Starlette's CORS, but a refused preflight is a problem document instead of plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser's question whether its page may send the request."""
        answer = super().preflight_response(request_headers)
        if answer.status_code != HTTPStatus.BAD_REQUEST:
            return answer
        reason = bytes(answer.body).decode()
        return Refusal(MalformedRequest(f"{reason}; DIGITS_CORS_ORIGINS lists the origins allowed."))
