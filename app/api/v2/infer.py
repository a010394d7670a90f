"""`POST /v2/models/{name}/infer`: tensors in, tensors out."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response

from app.api.models import ModelPath
from app.api.openapi import BATCH, PICTURE, PREDICTION, inlined, refusals
from app.api.predict import read_all
from app.api.uploads import INLINE_BODY
from app.api.v2 import encodings, outputs, tensors
from app.api.v2.paths import TAG
from app.api.v2.schemas import InferRequest, InferResponse
from app.api.v2.server import VersionPath, asked_for
from app.api.v2.tensors import Inference, Pictures
from app.api.work import Stages, begun, check_place, hold_places, in_thread
from app.digits.catalogue import Model
from app.digits.classifier import Scores
from app.digits.contract import IS_DIGIT, DigitBatch
from app.digits.errors import DigitsError
from app.state import state_of
from app.telemetry.metrics import Metrics

JSON_LENGTH: Final = "Inference-Header-Content-Length"
router = APIRouter(prefix="/v2/models/{name}", tags=[TAG])

_BODY: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": JSON_LENGTH,
            "in": "header",
            "schema": {"type": "string", "pattern": f"^{tensors.NUMBER.pattern}$"},
            "description": "How many bytes of the body are JSON, where binary data follow.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": inlined(InferRequest)},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "JSON; behind it, where they are wanted, binary data",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    **refusals(*PREDICTION, *PICTURE, *BATCH, v2=True),
}


@router.post("/infer", openapi_extra=_BODY, response_model=InferResponse, responses=_ANSWERS)
async def infer(request: Request, name: ModelPath) -> Response:
    """Read the digits in canonical pictures (`image`) or in encoded ones (`picture`)."""
    return await _inferred(request, asked_for(request, name))


@router.post(
    "/versions/{version}/infer", openapi_extra=_BODY, response_model=InferResponse, responses=_ANSWERS
)
async def infer_version(request: Request, name: ModelPath, version: VersionPath) -> Response:
    """Do so with this version of the model, or not at all."""
    return await _inferred(request, asked_for(request, name, version))


async def _inferred(request: Request, model: Model) -> Response:
    stages, state = begun(request, model), state_of(request)
    check_place(request)
    asked, unpacked = await _asked(request, stages)
    wanted = outputs.wanted(asked.request, model.classifier)
    with state["room"].filled(unpacked), hold_places(request, len(asked.pictures)):
        batch = await _canonical(asked.pictures, stages, request)
        with stages.timed("infer", pictures=len(batch)):
            scores = model.classifier.classify(batch)
    _count(scores, stages, state["metrics"])
    given, binary = tensors.encode(outputs.told(scores, wanted))
    name, number = model.version
    answer = InferResponse(model_name=name, model_version=str(number), id=asked.request.id, outputs=given)
    return _answer(answer, binary, request, timing=stages.header())


def _count(scores: Scores, stages: Stages, metrics: Metrics) -> None:
    digits = [(int(row.argmax()), float(row.max())) for row in scores.probabilities]
    stages.read(digits)
    metrics.predicted(stages.model, digits)
    metrics.batched(stages.model, len(digits))
    if scores.digit_likelihood is not None:
        for _ in range(int((scores.digit_likelihood < IS_DIGIT).sum())):
            metrics.doubted(stages.model)


async def _asked(request: Request, stages: Stages) -> tuple[Inference, int]:
    """Unpack and parse the body, off the event loop where that may take long; tell how much was unpacked."""
    body, headers, settings = await request.body(), request.headers, state_of(request)["settings"]
    coding = headers.get("content-encoding", "")

    def work() -> tuple[Inference, int]:
        with stages.timed("decode"):
            whole = encodings.decompressed(body, coding, most=settings.max_batch_body_bytes)
            asked = tensors.decode(whole, json_length=headers.get(JSON_LENGTH), most=settings.max_batch)
        return asked, 0 if whole is body else len(whole)

    if coding or len(body) > INLINE_BODY:
        return await in_thread(work, stages, request, pictures=1)
    return work()


async def _canonical(pictures: DigitBatch | Pictures, stages: Stages, request: Request) -> DigitBatch:
    """Return the pictures as the network sees them.

    Raises:
        DigitsError: of the first picture that can't be read.
    """
    if isinstance(pictures, np.ndarray):
        return pictures
    reads = await read_all(pictures, stages, request)
    canonical = []
    for index, read in enumerate(reads):
        if isinstance(read, DigitsError):
            told = f"{tensors.PICTURE.name}[{index}]: {read.detail}"
            raise type(read)(told, limit=read.limit)
        canonical.append(read.canonical)
    return np.array(canonical)


def _answer(answer: InferResponse, binary: bytes, request: Request, *, timing: str) -> Response:
    json = answer.model_dump_json(exclude_none=True).encode()
    body, kind, headers = json, "application/json", {"Server-Timing": timing}
    if binary:
        body, kind = json + binary, "application/octet-stream"
        headers[JSON_LENGTH] = str(len(json))
    coding = encodings.accepted(request.headers.get("accept-encoding", ""))
    if coding and len(body) >= encodings.WORTHWHILE:
        body = encodings.compressed(body, coding)
        headers["Content-Encoding"] = coding
    return Response(body, media_type=kind, headers=headers)
