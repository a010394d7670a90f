"""Which addresses are the protocol's: guards and errors ask before a route is found. Imports nothing."""

from __future__ import annotations

from typing import Final

TAG: Final = "open inference protocol"  # of their group in the OpenAPI document


def speaks_v2(path: str) -> bool:
    """Tell whether errors at this path are read by the protocol's clients."""
    return path.startswith("/v2/") or path == "/v2"


def infers(path: str) -> bool:
    """Tell whether pictures are sent to this path."""
    return path.startswith("/v2/models/") and path.endswith("/infer")
