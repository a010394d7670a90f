"""The id of the request that is being served, which log, problems and kept pictures carry."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from typing import Final

REQUEST_ID_HEADER: Final = "X-Request-ID"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def generate_request_id() -> str:
    """Return an id for a request that has none: 32 hexadecimal digits."""
    return secrets.token_hex(16)
