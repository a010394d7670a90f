"""What FastAPI can't see by itself: bodies that are read by hand, problems, headers, keys, examples.

A route names the problems that it may answer with by `describe_problems`. `Application` then adds what all
routes have in common, and the examples that `make examples` has recorded from a running service: one for
each operation and one for each code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI

from ..digits import errors
from ..digits.formats.header import FORMAT_NAMES
from ..feedback.labels import LABELS
from ..wire import problems
from ..wire.paths import PUBLIC_PATHS, is_protocol_path
from ..wire.request_id import REQUEST_ID_HEADER
from .schemas import JsonFeedback, JsonPicture, JsonPictures, ProtocolError, Schema

DEFAULT: Final = "default"  # stands for every status that is not listed
ANY_ERROR: Final[dict[int | str, dict[str, Any]]] = {DEFAULT: {}}  # without it FastAPI would list 422
EXAMPLES: Final = Path(__file__).with_name("examples.json")
_UPLOAD_PROBLEMS: Final = (
    problems.MalformedRequest,
    errors.UnknownModel,
    errors.UnsuitableModel,
    problems.SlowUpload,
    problems.LengthRequired,
    problems.BodyTooLarge,
    problems.UnsupportedMediaType,
    problems.Overloaded,
    problems.PredictionTimeout,
)
PICTURE_PROBLEMS: Final = (
    *_UPLOAD_PROBLEMS,
    errors.UnsupportedFormat,
    errors.UnreadableImage,
    errors.ImageTooLarge,
    errors.ImageTooSmall,
    errors.NoInk,
)
BATCH_PROBLEMS: Final = (*_UPLOAD_PROBLEMS, problems.EmptyBatch, problems.BatchTooLarge)
GUARD_PROBLEMS: Final = (problems.Unauthorized, problems.RateLimited)  # of all paths but the public ones
GENERAL_PROBLEMS: Final = (problems.HeadTooLarge, problems.InternalError)  # of all paths

V1_TAG: Final = "tensorflow serving"
V2_TAG: Final = "open inference protocol"
TAGS: Final = [
    {"name": "predict", "description": "Pictures in, digits out."},
    {"name": V2_TAG, "description": "Version 2, for clients of Triton, KServe and others."},
    {"name": V1_TAG, "description": "Its REST API, for clients that exist."},
    {
        "name": "feedback",
        "description": "Correct digits, kept for training. Off unless a database is configured.",
    },
    {"name": "models", "description": "Which models there are, and how good they are."},
    {"name": "operation", "description": "Metrics for Prometheus."},
    {"name": "health", "description": "For orchestrators and load balancers; needs no key."},
]
LICENSE: Final = {"name": "MIT", "identifier": "MIT"}

_RATE_HEADERS: Final = ("RateLimit", "RateLimit-Policy")


def _describe_header(description: str, *, required: bool = True, **schema: str | int) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string"} | schema}


_HEADERS: Final = {
    REQUEST_ID_HEADER: _describe_header(
        "The request's own `X-Request-ID` if it has 1 to 128 printable characters, else a new one. It is in "
        "the log, too.",
        minLength=1,
        maxLength=128,
    ),
    "Server-Timing": _describe_header(
        "Milliseconds for decoding, preprocessing and the network, summed over the pictures of a batch.",
        pattern=r"^decode;dur=[0-9.]+, preprocess;dur=[0-9.]+, infer;dur=[0-9.]+$",
    ),
    "Retry-After": _describe_header("Seconds to wait before trying again.", type="integer", minimum=1),
    "WWW-Authenticate": _describe_header("How to send a key (RFC 6750).", pattern="^Bearer "),
    "RateLimit": _describe_header(
        "Requests left, and the seconds until there is one more. Only if `DIGITS_RATE_LIMIT` is set.",
        required=False,
        pattern='^"default";r=[0-9]+;t=[0-9]+$',
    ),
    "RateLimit-Policy": _describe_header(
        "How many requests are allowed in how many seconds. Only if `DIGITS_RATE_LIMIT` is set.",
        required=False,
        pattern='^"default";q=[0-9]+;w=60$',
    ),
}
_HEADERS_BY_STATUS: Final = {"401": ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}


BINARY: Final = {"type": "string", "format": "binary"}


def _build_form_schema(**fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


def build_reference(name: str, section: str = "schemas") -> dict[str, str]:
    """Return a reference to a component of the document."""
    return {"$ref": f"#/components/{section}/{name}"}


_FORMS: Final = {
    "PictureForm": _build_form_schema(file=BINARY),
    "PicturesForm": _build_form_schema(files={"type": "array", "items": BINARY, "minItems": 1}),
    "FeedbackForm": _build_form_schema(file=BINARY, digit={"type": "string", "enum": list(LABELS)}),
}
_MODELS: Final = (JsonPicture, JsonPictures, JsonFeedback, ProtocolError)


def describe_body(description: str, schemas: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return the `requestBody` of an operation, with a schema for each media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"description": description, "required": required, "content": content}}


_PICTURE_SCHEMAS: Final = {
    "multipart/form-data": build_reference("PictureForm"),
    "image/*": BINARY,
    "application/octet-stream": BINARY,
    "application/json": build_reference("JsonPicture"),
}
PICTURE_BODY: Final = describe_body(
    "The picture in one of three ways: a form, its bytes, or base64 in JSON. "
    f"{FORMAT_NAMES}, recognised by its content.",
    _PICTURE_SCHEMAS,
)
FEEDBACK_BODY: Final = describe_body(
    "The picture and its correct digit: as a form, as bytes with `?digit=7`, or as JSON.",
    {
        **_PICTURE_SCHEMAS,
        "multipart/form-data": build_reference("FeedbackForm"),
        "application/json": build_reference("JsonFeedback"),
    },
)
BATCH_BODY: Final = describe_body(
    "The pictures in one of two ways: a form, or base64 in JSON.",
    {
        "multipart/form-data": build_reference("PicturesForm"),
        "application/json": build_reference("JsonPictures"),
    },
)


def describe_model(model: type[Schema]) -> dict[str, Any]:
    """Return a model's JSON schema; `Application` moves the definitions in it to the components."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def describe_problems(
    *error_classes: type[errors.DigitsError], protocol: bool = False
) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these problems, by status."""
    codes: dict[str, dict[str, None]] = {}
    for error_class in error_classes:
        status = DEFAULT if error_class in GENERAL_PROBLEMS else str(error_class.status_hint)
        codes.setdefault(status, {})[error_class.code] = None
    return {
        status: _describe_problem(status, named, protocol=protocol) for status, named in sorted(codes.items())
    }


def _describe_problem(status: str, codes: Iterable[str], *, protocol: bool) -> dict[str, Any]:
    media_type, schema = (
        ("application/json", "ProtocolError") if protocol else (problems.MEDIA_TYPE, "Problem")
    )
    content = {
        "schema": build_reference(schema),
        "examples": {code: build_reference(f"{schema}.{code}", "examples") for code in codes},
    }
    listed = ", ".join(f"`{code}`" for code in codes)
    return {
        "description": f"Any other error: {listed}" if status == DEFAULT else listed,
        "headers": {name: build_reference(name, "headers") for name in _HEADERS_BY_STATUS.get(status, ())},
        "content": {media_type: content},
    }


class Application(FastAPI):
    """An application that builds its OpenAPI document when somebody asks for it, which takes some 70 ms."""

    def __init__(self, *, requires_key: bool, **options: Any) -> None:  # noqa: ANN401  FastAPI's
        """Create an application without routes; all paths but the public ones may need a key."""
        super().__init__(**options)
        self._requires_key = requires_key
        self._document: dict[str, Any] | None = None

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()  # always the same one, unless routes have been added
        if document is not self._document:
            _complete_document(document, requires_key=self._requires_key)
            self._document = document
        return document


def _complete_document(document: dict[str, Any], *, requires_key: bool) -> None:
    """Add to FastAPI's document everything that no route says by itself."""
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    components = document["components"]
    components["schemas"] |= _FORMS | {model.__name__: model.model_json_schema() for model in _MODELS}
    components["headers"] = _HEADERS
    components["examples"] = {
        f"{schema}.{code}": {"summary": problems.TITLES[code], "value": value}
        for schema in ("Problem", "ProtocolError")
        for code, value in examples[schema].items()
    }
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [*([] if requires_key else [{}]), {"bearer": []}, {"header": []}]
    for path, operation in iterate_operations(document):
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            components["schemas"] |= content["schema"].pop("$defs", {})
        if path in PUBLIC_PATHS:
            operation["security"] = []
        kinds = GENERAL_PROBLEMS if path in PUBLIC_PATHS else (*GENERAL_PROBLEMS, *GUARD_PROBLEMS)
        responses = operation["responses"] | describe_problems(*kinds, protocol=is_protocol_path(path))
        operation["responses"] = dict(sorted(responses.items()))
        _add_headers(operation, is_public=path in PUBLIC_PATHS)
        _describe_success(operation, components["schemas"])
        _add_examples(operation, examples.get(operation["operationId"], {}))


def iterate_operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each operation of an OpenAPI document with its path."""
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def _add_headers(operation: dict[str, Any], *, is_public: bool) -> None:
    for status, response in operation["responses"].items():
        # a request without a valid key is refused before its rate is counted
        is_rate_limited = not is_public and status not in {"401", DEFAULT}
        names = [REQUEST_ID_HEADER, *(_RATE_HEADERS if is_rate_limited else ())]
        if status == "200" and operation.get("tags") == ["predict"]:
            names.append("Server-Timing")
        references = {name: build_reference(name, "headers") for name in names}
        response["headers"] = response.get("headers", {}) | references


def _describe_success(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Replace FastAPI's "Successful Response" by the description of the answer's schema."""
    answer = operation["responses"].get("200", {})
    for content in answer.get("content", {}).values():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        answer["description"] = schemas.get(name, answer)["description"]


def _add_examples(operation: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Add the recorded request and successful answers of an operation where they are JSON."""
    for name, part in {"request": operation.get("requestBody", {}), **operation["responses"]}.items():
        if name in recorded and "application/json" in part.get("content", {}):
            part["content"]["application/json"]["example"] = recorded[name]
