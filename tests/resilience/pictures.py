"""Hooks of schemathesis: what the document calls a picture is one, wherever a request is to be accepted.

No schema can say that bytes are a picture with a digit in it; all else comes from the document.
"""

from __future__ import annotations

import base64
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
for kind in ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, st.just(PICTURE))


@schemathesis.hook
def map_case(_: schemathesis.HookContext, case: Case) -> Case:
    """Put base64 where a text of base64 is wanted, and a tensor of pictures where a tensor is."""
    if not (case.meta and case.meta.generation.mode.is_positive):
        return case
    if case.path.endswith("/infer"):
        _infer(case)
    elif isinstance(case.body, dict):
        if "image" in case.body:
            case.body["image"] = TEXT
        elif isinstance(texts := case.body.get("images"), list):
            case.body["images"] = [TEXT] * max(1, min(len(texts), 4))
    return case


def _infer(case: Case) -> None:
    """Have a model that there is asked for what it has; all else is as it was drawn."""
    known = {"name": "cnn", "version": "2.2.0+int8"}
    case.path_parameters = {parameter: known[parameter] for parameter in case.path_parameters}
    asked: Any = case.body
    if isinstance(asked, dict):
        tensor, _ = picture_input([PICTURE], binary=False)
        outputs = [output | {"name": "probabilities"} for output in asked.get("outputs", [])]
        case.body = asked | {"inputs": [tensor], "outputs": outputs[:1]}
        headers: dict[str, str] = {}
    else:
        case.body, headers = body(picture_input([PICTURE], binary=True))
    others = {name: value for name, value in case.headers.items() if name != JSON_LENGTH_HEADER}
    case.headers = type(case.headers)(others | headers)  # other cases may share the old ones


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: Case) -> bool:
    """Leave out forms whose files are of another type: on the wire they are bytes, as all parts are."""
    files = case.body.get("files", []) if isinstance(case.body, dict) else []
    return isinstance(files, list) and all(isinstance(file, bytes | Binary) for file in files)
