"""The id of the current request. It appears in the log, in problem documents and with stored pictures."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from typing import Final

REQUEST_ID_HEADER: Final = "X-Request-ID"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def generate_request_id() -> str:
    """Return a random id of 32 hexadecimal digits."""
    return secrets.token_hex(16)
