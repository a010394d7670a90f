"""The paths that guards treat specially. Guards run before routing, so they can't ask the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REFERENCE: Final = "/docs"
OPENAPI_PATH: Final = "/openapi.json"
_SCRIPTS: Final = [
    "answer",
    "camera",
    "card",
    "code",
    "docs",
    "dom",
    "explain",
    "extras",
    "feedback",
    "link",
    "networks",
    "numbers",
    "page",
    "schema",
    "service",
    "sheet",
    "trial",
]
_FILES: Final = (
    *(f"{name}.js" for name in _SCRIPTS),
    "docs.css",
    "page.css",
    "icon.svg",
    "fraunces-e812ad2f.woff2",
    "fraunces-license.txt",
    "manifest.webmanifest",
    *(f"icon-{kind}.png" for kind in ("192", "512", "maskable")),
    "card.png",
    *(f"{size}-{subject}.webp" for size in ("photo", "thumb") for subject in ("digit", "number", "meter")),
)
# the paths of the page, and their files in `app/static`
PAGE: Final[Mapping[str, str]] = {
    "/": "index.html",
    **{f"/static/{name}": name for name in _FILES},
}
DOCUMENT_PATHS: Final = frozenset({REFERENCE, OPENAPI_PATH})
# these need no key and have no rate limit
PUBLIC_PATHS: Final = frozenset(
    {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", *PAGE}
)
BATCH: Final = "/predict/batch"


def is_v2_path(path: str) -> bool:
    """Tell whether a path belongs to the Open Inference Protocol."""
    return path.startswith("/v2/") or path == "/v2"


def is_picture_path(path: str) -> bool:
    """Tell whether clients send pictures to a path."""
    return path.startswith("/predict") or path in {"/explain", "/feedback"} or _is_infer_path(path)


def is_batch_path(path: str) -> bool:
    """Tell whether a request to a path may contain several pictures."""
    return path == BATCH or _is_infer_path(path)


def _is_infer_path(path: str) -> bool:
    return path.startswith("/v2/models/") and path.endswith("/infer")
