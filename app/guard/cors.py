"""CORS: which web pages may call the service."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Message, Send

from ..wire.problems import MalformedRequest, ProblemResponse


class Cors(CORSMiddleware):
    """Starlette's `CORSMiddleware`, but a refused preflight is answered with a problem document."""

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send a message of the response, with the CORS headers."""
        if message["type"] == "http.response.start":
            headers = self._list_headers(request_headers.get("origin"))
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    def _list_headers(self, origin: str | None) -> Iterator[tuple[bytes, bytes]]:
        yield b"vary", b"Origin"
        if origin is None:
            return
        for name, value in self.simple_headers.items():
            yield name.lower().encode(), value.encode()
        if not self.allow_all_origins and self.is_allowed_origin(origin):
            yield b"access-control-allow-origin", origin.encode("latin-1")

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the response to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code != HTTPStatus.BAD_REQUEST:
            return response
        reason = bytes(response.body).decode()
        return ProblemResponse(MalformedRequest(f"{reason}; DIGITS_CORS_ORIGINS lists the allowed origins."))
