"""The paths that are special in some way: guards, which stand before the routes, ask for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REFERENCE: Final = "/docs"
DOCUMENT: Final = "/openapi.json"
_SCRIPTS: Final = [
    "answer",
    "camera",
    "code",
    "docs",
    "dom",
    "feedback",
    "numbers",
    "page",
    "schema",
    "service",
    "sheet",
    "trial",
]
_FILES: Final = (*(f"{name}.js" for name in _SCRIPTS), "docs.css", "page.css", "icon.svg")
PAGE: Final[Mapping[str, str]] = {  # the paths of the page, and their files in `app/static`
    "/": "index.html",
    **{f"/static/{name}": name for name in _FILES},
}
DOCUMENT_PATHS: Final = frozenset({REFERENCE, DOCUMENT})
PUBLIC_PATHS: Final = frozenset(  # read without a key, and as often as anybody likes
    {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", *PAGE}
)
BATCH: Final = "/predict/batch"


def is_v2_path(path: str) -> bool:
    """Tell whether errors at this path are read by clients of the Open Inference Protocol."""
    return path.startswith("/v2/") or path == "/v2"


def is_picture_path(path: str) -> bool:
    """Tell whether pictures are sent to this path."""
    return path.startswith("/predict") or path == "/feedback" or _is_infer_path(path)


def is_batch_path(path: str) -> bool:
    """Tell whether several pictures may be sent to this path at a time."""
    return path == BATCH or _is_infer_path(path)


def _is_infer_path(path: str) -> bool:
    return path.startswith("/v2/models/") and path.endswith("/infer")
