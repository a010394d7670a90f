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
# of methods of gRPC, which are HTTP requests to these paths
RPC_SERVICE: Final = "inference.GRPCInferenceService"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"
INFER_METHOD: Final = f"/{RPC_SERVICE}/ModelInfer"
_PUBLIC_METHODS: Final = (
    f"/{RPC_SERVICE}/ServerLive",
    f"/{RPC_SERVICE}/ServerReady",
    f"/{HEALTH_SERVICE}/Check",
)
PING: Final = "/ping"
INVOCATIONS: Final = "/invocations"  # of Amazon SageMaker
# these need no key and have no rate limit
PUBLIC_PATHS: Final = frozenset(
    {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", PING, *PAGE, *_PUBLIC_METHODS}
)
# of all paths: no proxy can mount the service under one of them
FIRST_SEGMENTS: Final = frozenset(
    {"docs", "explain", "feedback", "health", "invocations", "label-studio", "mcp", "metrics", "models"}
    | {"openapi.json", "ping", "predict", "static", "v1", "v2"}
)
PREDICT: Final = "/predict"
BATCH: Final = "/predict/batch"
MCP_PATH: Final = "/mcp"
LABEL_STUDIO_TASKS: Final = "/label-studio/predict"
_PICTURE_PATHS: Final = frozenset(
    {"/explain", "/feedback", INVOCATIONS, MCP_PATH, LABEL_STUDIO_TASKS, "/label-studio/webhook"}
)
HUGGING_FACE_QUERY: Final = b"format=hf"


def has_plain_errors(path: str, query: bytes) -> bool:
    """Tell whether clients expect errors as `{"error": "…"}`: those of a protocol, and of Hugging Face."""
    return is_protocol_path(path) or (path == PREDICT and HUGGING_FACE_QUERY in query.split(b"&"))


def is_protocol_path(path: str) -> bool:
    """Tell whether a path belongs to the Open Inference Protocol, or to the API of TensorFlow Serving."""
    return path.startswith(("/v2/", "/v1/")) or path == "/v2"


def is_picture_path(path: str) -> bool:
    """Tell whether clients send pictures to a path."""
    return path.startswith("/predict") or path in _PICTURE_PATHS or _is_infer_path(path)


def is_batch_path(path: str) -> bool:
    """Tell whether a request to a path may contain several pictures."""
    return path in {BATCH, INFER_METHOD, LABEL_STUDIO_TASKS, INVOCATIONS} or _is_infer_path(path)


def _is_infer_path(path: str) -> bool:
    return path.startswith(("/v2/models/", "/v1/models/")) and path.endswith(("/infer", ":predict"))
