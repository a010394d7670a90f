"""Which web pages may call the service; refusals in the one error shape."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Message, Send

from app.wire.problems import MalformedRequest, ProblemResponse


class Cors(CORSMiddleware):
    """Starlette's CORS, but a refused preflight is a problem document instead of plain text."""

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Send an answer, with the headers that browsers look for."""
        if message["type"] == "http.response.start":
            added = self._list_headers(request_headers.get("origin"))
            message["headers"] = [*message.get("headers", ()), *added]
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
        """Answer a browser's question whether its page may send the request."""
        answer = super().preflight_response(request_headers)
        if answer.status_code != HTTPStatus.BAD_REQUEST:
            return answer
        reason = bytes(answer.body).decode()
        return ProblemResponse(MalformedRequest(f"{reason}; DIGITS_CORS_ORIGINS lists the allowed origins."))
