"""What FastAPI can't see by itself: bodies that are read by hand, and the problems of each route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.api import problems
from app.api.schemas import JsonPicture, JsonPictures, Problem, Wire
from app.api.v2.paths import speaks_v2
from app.api.v2.schemas import ProtocolError
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


def inlined(model: type[Wire]) -> dict[str, Any]:
    """Return a model's JSON schema in one piece: what it refers to would be looked for in the document."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(node: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(node, dict):
            node = {**parts[node["$ref"].rpartition("/")[2]], **node} if "$ref" in node else node
            return {key: whole(value) for key, value in node.items() if key != "$ref"}
        return [whole(item) for item in node] if isinstance(node, list) else node

    inlined: dict[str, Any] = whole(schema)
    return inlined


def refusals(*kinds: type[errors.DigitsError], v2: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these problems, by status."""
    codes: dict[int | str, list[str]] = {}
    for kind in kinds:
        codes.setdefault(kind.status_hint, []).append(kind.code)
    return {
        status: _response(", ".join(f"`{code}`" for code in dict.fromkeys(named)), v2=v2)
        for status, named in sorted(codes.items(), key=str)
    } | {"default": _response("Any other refusal", v2=v2)}


def _response(description: str, *, v2: bool) -> dict[str, Any]:
    kind, schema = ("application/json", ProtocolError) if v2 else (problems.MEDIA_TYPE, Problem)
    return {"description": description, "content": {kind: {"schema": schema.model_json_schema()}}}


def locked(document: dict[str, Any], *, public: Sequence[str]) -> None:
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
                operation["responses"] |= refusals(problems.Unauthorized, v2=speaks_v2(path))
