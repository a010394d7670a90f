"""Hooks of schemathesis, which put real pictures into requests that should be accepted.

No schema can describe bytes as a picture of a digit; everything else comes from the OpenAPI document.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeAlias

import schemathesis
from hypothesis import strategies as st
from schemathesis.transport.serialization import Binary

from app.api.v2.infer import JSON_LENGTH_HEADER
from tests.api.v2.wire import body, picture_input
from tests.conftest import GOLDEN

Case: TypeAlias = schemathesis.Case[Any]

PICTURE = (GOLDEN / "9-grey.bmp").read_bytes()
TEXT = base64.b64encode(PICTURE).decode()

schemathesis.openapi.format("binary", st.just(Binary(PICTURE)))
for kind in (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/heic",
    "image/avif",
    "image/bmp",
    "image/gif",
    "application/octet-stream",
):
    schemathesis.openapi.media_type(kind, st.just(PICTURE))


@schemathesis.hook
def map_case(_: schemathesis.HookContext, case: Case) -> Case:
    """Replace base64 texts and tensors in valid requests by those of a picture."""
    if not (case.meta and case.meta.generation.mode.is_positive):
        return case
    if case.path.endswith("/infer"):
        _fill_in_inference(case)
    elif case.path.startswith("/v1/"):
        _fill_in_tensors(case)
    elif isinstance(case.body, dict):
        if "image" in case.body:
            case.body["image"] = TEXT
        elif isinstance(texts := case.body.get("images"), list):
            case.body["images"] = [TEXT] * max(1, min(len(texts), 4))
    return case


def _fill_in_inference(case: Case) -> None:
    """Ask an existing model for an existing output; leave everything else as generated."""
    known = {"name": "cnn", "version": "3.0.0+int8"}
    case.path_parameters = {parameter: known[parameter] for parameter in case.path_parameters}
    generated: Any = case.body
    if isinstance(generated, dict):
        tensor, _ = picture_input([PICTURE], binary=False)
        outputs = [output | {"name": "probabilities"} for output in generated.get("outputs", [])]
        case.body = generated | {"inputs": [tensor], "outputs": outputs[:1]}
        headers: dict[str, str] = {}
    else:
        case.body, headers = body(picture_input([PICTURE], binary=True))
    others = {name: value for name, value in case.headers.items() if name != JSON_LENGTH_HEADER}
    case.headers = type(case.headers)(others | headers)  # other cases may share the old ones


def _fill_in_tensors(case: Case) -> None:
    """Ask an existing model of TensorFlow Serving's API for what it predicts."""
    known = {"name": "cnn", "version": "1"}
    case.path_parameters = {parameter: known[parameter] for parameter in case.path_parameters}
    if case.method == "POST":
        case.body = {"instances": [{"b64": TEXT}]}


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: Case, __: Mapping[str, Any]) -> None:
    """Infer with a classifier: names in the document's examples may be of models that take no requests."""
    if case.path.endswith(("/infer", ":predict", "/metadata")) and case.path_parameters.get("name") in {
        "finder",
        "line-reader",
    }:
        case.path_parameters["name"] = "cnn"


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: Case) -> bool:
    """Leave out forms whose files have another type: on the wire, every part is bytes.

    Leave out JSON batches with pixels, too: those that are no numbers are refused, and not the whole batch.
    """
    body = case.body if isinstance(case.body, dict) else {}
    pictures, files = body.get("images", []), body.get("files", [])
    if isinstance(pictures, list) and any(isinstance(picture, list) for picture in pictures):
        return False
    return isinstance(files, list) and all(isinstance(file, bytes | Binary) for file in files)
