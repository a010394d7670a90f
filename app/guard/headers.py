"""Security headers, on every response."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..wire.paths import PAGE, REFERENCE

# Trusted Types: the scripts of the page only write text, so nothing may turn a string into markup or code
_PAGE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; manifest-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SECURITY_HEADERS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
_NO_STORE: Final = (b"cache-control", b"no-store")  # pictures and predictions are private
_REFERENCE_HEADERS: Final = (*SECURITY_HEADERS, (b"content-security-policy", _PAGE_POLICY))
_PAGE_HEADERS: Final = (
    *SECURITY_HEADERS,
    (b"content-security-policy", _PAGE_POLICY),
    (b"permissions-policy", b"camera=(self), geolocation=(), microphone=()"),
)
_READ_HEADERS: Final = (*SECURITY_HEADERS, (b"content-security-policy", _POLICY))
_WRITE_HEADERS: Final = (*_READ_HEADERS, _NO_STORE)
_BY_PATH: Final = {REFERENCE: _REFERENCE_HEADERS, **dict.fromkeys(PAGE, _PAGE_HEADERS)}


class HeaderGuard:
    """Add the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        default_headers = _READ_HEADERS if scope["method"] in {"GET", "HEAD"} else _WRITE_HEADERS
        headers = _BY_PATH.get(scope["path"], default_headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)
