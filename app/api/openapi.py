"""What FastAPI can't see by itself: bodies that are read by hand, and the problems of each route."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from app.api import problems
from app.api.schemas import JsonPicture, JsonPictures, Problem
from app.digits import errors

PREDICTION: Final = (
    problems.MalformedRequest,
    errors.UnknownModel,
    problems.SlowUpload,
    problems.BodyTooLarge,
    problems.UnsupportedMediaType,
    problems.Overloaded,
    problems.TooSlow,
)
PICTURE: Final = (
    errors.UnsupportedFormat,
    errors.UnreadableImage,
    errors.ImageTooLarge,
    errors.ImageTooSmall,
    errors.NoInk,
)
BATCH: Final = (problems.EmptyBatch, problems.BatchTooLarge)

_BINARY: Final = {"type": "string", "format": "binary"}


def _form(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [field], "properties": {field: schema}}


PICTURE_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form("file", _BINARY)},
            "image/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
            "application/json": {"schema": JsonPicture.model_json_schema()},
        },
    }
}
BATCH_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _form("files", {"type": "array", "items": _BINARY, "minItems": 1})
            },
            "application/json": {"schema": JsonPictures.model_json_schema()},
        },
    }
}


def refusals(*kinds: type[errors.DigitsError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these problems, by status."""
    codes: dict[int | str, list[str]] = {}
    for kind in kinds:
        codes.setdefault(kind.status_hint, []).append(kind.code)
    return {
        status: _response(", ".join(f"`{code}`" for code in dict.fromkeys(named)))
        for status, named in sorted(codes.items(), key=str)
    } | {"default": _response("Any other refusal")}


def _response(description: str) -> dict[str, Any]:
    content = {problems.MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {"description": description, "content": content}


def locked(document: dict[str, Any], *, public: Collection[str]) -> None:
    """Say in an OpenAPI document that keys are asked for, everywhere but at the `public` paths."""
    document.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{"bearer": []}, {"header": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in public:
                operation["security"] = []
            else:
                operation["responses"] |= refusals(problems.Unauthorized)
