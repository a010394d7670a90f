"""What FastAPI can't see by itself: bodies that are read by hand, problems, headers, keys, examples.

A route names the problems that it may answer with by `describe_problems`. `complete_document` then adds to
the whole document what is the same everywhere, and the examples: one for each operation and one for each
code, which `make examples` has recorded from a running service.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from app.api.schemas import JsonFeedback, JsonPicture, JsonPictures, ProtocolError, Schema
from app.digits import errors
from app.feedback.labels import LABELS
from app.wire import problems
from app.wire.paths import is_v2_path
from app.wire.request_id import REQUEST_ID_HEADER

DEFAULT: Final = "default"  # the status of what no other names
EXAMPLES: Final = Path(__file__).with_name("examples.json")
PREDICTION_PROBLEMS: Final = (
    problems.MalformedRequest,
    errors.UnknownModel,
    problems.SlowUpload,
    problems.LengthRequired,
    problems.BodyTooLarge,
    problems.UnsupportedMediaType,
    problems.Overloaded,
    problems.TooSlow,
)
PICTURE_PROBLEMS: Final = (
    errors.UnsupportedFormat,
    errors.UnreadableImage,
    errors.ImageTooLarge,
    errors.ImageTooSmall,
    errors.NoInk,
)
BATCH_PROBLEMS: Final = (problems.EmptyBatch, problems.BatchTooLarge)
GUARD_PROBLEMS: Final = (problems.Unauthorized, problems.RateLimited)  # of all paths but the public ones
GENERAL_PROBLEMS: Final = (problems.HeadTooLarge, problems.InternalError)

V2_TAG: Final = "open inference protocol"
TAGS: Final = [
    {"name": "predict", "description": "Pictures in, digits out."},
    {"name": V2_TAG, "description": "The same for clients of Triton, KServe and others, version 2."},
    {
        "name": "feedback",
        "description": "Which digit is right, kept to train with. Off unless a database is configured.",
    },
    {"name": "models", "description": "Which models there are, and how good they are."},
    {"name": "operation", "description": "Metrics for Prometheus."},
    {"name": "health", "description": "For orchestrators and load balancers; needs no key."},
]
LICENSE: Final = {"name": "MIT", "identifier": "MIT"}

_BINARY: Final = {"type": "string", "format": "binary"}
_RATE_HEADERS: Final = ("RateLimit", "RateLimit-Policy")
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    REQUEST_ID_HEADER: {
        "description": "The request's own `X-Request-ID` if it has 1 to 128 printable characters, else a new "
        "one. The log has it, too.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Server-Timing": {
        "description": "Milliseconds that decoding, preprocessing and the network took; a batch's pictures "
        "added up.",
        "required": True,
        "schema": {
            "type": "string",
            "pattern": r"^decode;dur=[0-9.]+, preprocess;dur=[0-9.]+, infer;dur=[0-9.]+$",
        },
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "How to send a key (RFC 6750).",
        "required": True,
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
    "RateLimit": {
        "description": "Requests that are left, and the seconds until there is one more. Where "
        "`DIGITS_RATE_LIMIT` is set.",
        "schema": {"type": "string", "pattern": '^"default";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": "Requests in how many seconds. Where `DIGITS_RATE_LIMIT` is set.",
        "schema": {"type": "string", "pattern": '^"default";q=[0-9]+;w=60$'},
    },
}
_WITH_STATUS: Final = {"401": ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}


def _build_form_schema(**fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


_BODIES: Final = {
    "PictureForm": _build_form_schema(file=_BINARY),
    "PicturesForm": _build_form_schema(files={"type": "array", "items": _BINARY, "minItems": 1}),
    "FeedbackForm": _build_form_schema(file=_BINARY, digit={"type": "string", "enum": list(LABELS)}),
    "JsonPicture": JsonPicture.model_json_schema(),
    "JsonPictures": JsonPictures.model_json_schema(),
    "JsonFeedback": JsonFeedback.model_json_schema(),
    "ProtocolError": ProtocolError.model_json_schema(),
}


def _build_reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


PICTURE_BODY: Final[dict[str, dict[str, Any]]] = {
    "requestBody": {
        "description": "The picture in one of three ways: a form, its bytes, or base64 in JSON. PNG, JPEG, "
        "WebP, BMP or GIF, recognised by its content.",
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _build_reference("schemas", "PictureForm")},
            "image/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
            "application/json": {"schema": _build_reference("schemas", "JsonPicture")},
        },
    }
}
FEEDBACK_BODY: Final = {
    "requestBody": {
        "description": "The picture and its right digit: as a form, as bytes with `?digit=7`, or as JSON.",
        "required": True,
        "content": {
            **PICTURE_BODY["requestBody"]["content"],
            "multipart/form-data": {"schema": _build_reference("schemas", "FeedbackForm")},
            "application/json": {"schema": _build_reference("schemas", "JsonFeedback")},
        },
    }
}
BATCH_BODY: Final = {
    "requestBody": {
        "description": "The pictures in one of two ways: a form, or base64 in JSON.",
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _build_reference("schemas", "PicturesForm")},
            "application/json": {"schema": _build_reference("schemas", "JsonPictures")},
        },
    }
}


def inline_schema(model: type[Schema]) -> dict[str, Any]:
    """Return a model's JSON schema in one piece: what it refers to would be looked for in the document."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def expand(node: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(node, dict):
            node = {**parts[node["$ref"].rpartition("/")[2]], **node} if "$ref" in node else node
            return {key: expand(value) for key, value in node.items() if key != "$ref"}
        return [expand(item) for item in node] if isinstance(node, list) else node

    expanded: dict[str, Any] = expand(schema)
    return expanded


def describe_problems(*kinds: type[errors.DigitsError], v2: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these problems, by status."""
    codes: dict[str, list[str]] = {}
    for kind in kinds:
        codes.setdefault(str(kind.status_hint), []).append(kind.code)
    codes[DEFAULT] = [kind.code for kind in GENERAL_PROBLEMS]
    return {
        status: _describe_problem(status, list(dict.fromkeys(named)), v2=v2)
        for status, named in sorted(codes.items())
    }


def _describe_problem(status: str, codes: list[str], *, v2: bool) -> dict[str, Any]:
    kind, schema = ("application/json", "ProtocolError") if v2 else (problems.MEDIA_TYPE, "Problem")
    content = {
        "schema": _build_reference("schemas", schema),
        "examples": {code: _build_reference("examples", f"{schema}.{code}") for code in codes},
    }
    listed = ", ".join(f"`{code}`" for code in codes)
    return {
        "description": f"Any other error: {listed}" if status == DEFAULT else listed,
        "headers": {name: _build_reference("headers", name) for name in _WITH_STATUS.get(status, ())},
        "content": {kind: content},
    }


def complete_document(document: dict[str, Any], *, public: Collection[str], requires_key: bool) -> None:
    """Add to an OpenAPI document what no route says by itself.

    Args:
        document: as FastAPI makes it.
        public: paths that need no key and that no rate limits.
        requires_key: whether the others need a key here; if not, a client may send one all the same.
    """
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    components = document["components"]
    components["schemas"] |= _BODIES
    components["headers"] = _HEADERS
    components["examples"] = _refusal_examples(examples)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [*([] if requires_key else [{}]), {"bearer": []}, {"header": []}]
    for path, operation in iterate_operations(document):
        if path in public:
            operation["security"] = []
        else:
            guarded = describe_problems(*GUARD_PROBLEMS, v2=is_v2_path(path))
            operation["responses"] = dict(sorted((guarded | operation["responses"]).items()))
        for status, response in operation["responses"].items():
            # keys are asked for first
            is_rate_limited = path not in public and status not in {"401", DEFAULT}
            names = [REQUEST_ID_HEADER, *(_RATE_HEADERS if is_rate_limited else ())]
            if status == "200" and operation.get("tags") == ["predict"]:
                names.append("Server-Timing")
            added = {name: _build_reference("headers", name) for name in names}
            response["headers"] = response.get("headers", {}) | added
        _describe_success(operation, components["schemas"])
        _add_examples(operation, examples.get(operation["operationId"], {}))


def iterate_operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each operation of an OpenAPI document with its path."""
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def _describe_success(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Say of a good answer what its schema says, instead of that it is one."""
    answer = operation["responses"].get("200", {})
    for content in answer.get("content", {}).values():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        answer["description"] = schemas.get(name, answer)["description"]


def _refusal_examples(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return an example of each code, as `_describe_problem` refers to it."""
    return {
        f"{schema}.{code}": {"summary": problems.TITLES[code], "value": value}
        for schema in ("Problem", "ProtocolError")
        for code, value in recorded[schema].items()
    }


def _add_examples(operation: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Put an operation's request and its good answers where they belong; what isn't recorded is left out."""
    for name, part in {"request": operation.get("requestBody", {}), **operation["responses"]}.items():
        if name in recorded and "application/json" in part.get("content", {}):
            part["content"]["application/json"]["example"] = recorded[name]
