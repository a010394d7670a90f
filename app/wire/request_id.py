"""The id of the current request, for the log, problems and stored pictures."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from typing import Final

REQUEST_ID_HEADER: Final = "X-Request-ID"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def generate_request_id() -> str:
    """Return a new id of 32 hexadecimal digits."""
    return secrets.token_hex(16)
