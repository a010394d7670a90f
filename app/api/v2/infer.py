"""`POST /v2/models/{name}/infer`: tensors in, tensors out."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response

from ...digits.catalogue import Model
from ...digits.classifier import Scores
from ...digits.contract import MIN_DIGIT_LIKELIHOOD, DigitBatch
from ...digits.errors import DigitsError
from .. import openapi
from ..models import ModelPath
from ..reader import DigitReader
from ..uploads import MAX_INLINE_BODY
from ..work import run_in_thread
from . import encodings, outputs, tensors
from .schemas import InferRequest, InferResponse
from .server import VersionPath, find_model
from .tensors import Inference, Output, Pictures

JSON_LENGTH_HEADER: Final = "Inference-Header-Content-Length"
router = APIRouter(prefix="/v2/models/{name}", tags=[openapi.V2_TAG])

_REQUEST: Final = {
    "parameters": [
        {
            "name": JSON_LENGTH_HEADER,
            "in": "header",
            "schema": {"type": "string", "pattern": f"^{tensors.INTEGER.pattern}$"},
            "description": "How many bytes of the body are JSON, if binary data follows.",
        }
    ],
    **openapi.describe_body(
        "The request as JSON, followed by binary data if there is any.",
        {
            "application/json": openapi.describe_model(InferRequest),
            "application/octet-stream": openapi.BINARY,
        },
    ),
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "JSON, followed by binary data if requested",
        "content": {"application/octet-stream": {"schema": openapi.BINARY}},
    },
    **openapi.describe_problems(*openapi.PICTURE_PROBLEMS, *openapi.BATCH_PROBLEMS, protocol=True),
}


@router.post("/infer", openapi_extra=_REQUEST, response_model=InferResponse, responses=_RESPONSES)
async def infer(request: Request, name: ModelPath) -> Response:
    """Read the digits in canonical pictures (`image`) or in encoded ones (`picture`)."""
    return await _infer(request, find_model(request, name))


@router.post(
    "/versions/{version}/infer", openapi_extra=_REQUEST, response_model=InferResponse, responses=_RESPONSES
)
async def infer_version(request: Request, name: ModelPath, version: VersionPath) -> Response:
    """Read the digits with this version of the model."""
    return await _infer(request, find_model(request, name, version))


async def _infer(request: Request, model: Model) -> Response:
    reader = DigitReader(request, model)
    reader.publish_stages()
    inference, unpacked_bytes = await _read_body(request, reader)
    results = await compute_outputs(inference, reader, unpacked_bytes=unpacked_bytes)
    tensor_infos, binary = tensors.encode_outputs(results)
    name, number = model.version
    answer = InferResponse(
        model_name=name, model_version=str(number), id=inference.request.id, outputs=tensor_infos
    )
    return _build_answer(answer, binary, request, timing=reader.stages.format_header())


async def compute_outputs(inference: Inference, reader: DigitReader, *, unpacked_bytes: int) -> list[Output]:
    """Return the outputs that a request asks for; the bytes that were unpacked are held meanwhile.

    Raises:
        MalformedRequest: there is no such output.
        Overloaded: there is no room for the pictures or the bytes.
        DigitsError: the error of the first picture that can't be read.
    """
    requested = outputs.select_outputs(inference.request, reader.model.classifier)
    with reader.state.body_budget.hold(unpacked_bytes), reader.hold_places(len(inference.pictures)):
        scores = await classify(inference.pictures, reader)
    count_predictions(scores, reader)
    return outputs.build_outputs(scores, requested, binary=inference.request.parameters.binary_data_output)


def count_predictions(scores: Scores, reader: DigitReader) -> None:
    """Count the digits of a request for the log and metrics."""
    likelihoods = scores.digit_likelihood
    negatives = 0 if likelihoods is None else int((likelihoods < MIN_DIGIT_LIKELIHOOD).sum())
    digits = [(int(row.argmax()), float(row.max())) for row in scores.probabilities]
    reader.count_results(digits, negatives=negatives)
    reader.state.metrics.observe_batch(reader.model.name, len(digits))


async def _read_body(request: Request, reader: DigitReader) -> tuple[Inference, int]:
    """Unpack and decode the body, off the event loop if that may take long.

    Returns:
        The inference, and how many bytes were unpacked.
    """
    body, headers, settings = await request.body(), request.headers, reader.state.settings
    coding = headers.get("content-encoding", "")

    def decode() -> tuple[Inference, int]:
        with reader.stages.time_stage("decode"):
            unpacked = encodings.decompress(body, coding, max_bytes=settings.max_batch_body_bytes)
            inference = tensors.decode_request(
                unpacked, json_length=headers.get(JSON_LENGTH_HEADER), max_pictures=settings.max_batch
            )
        return inference, 0 if unpacked is body else len(unpacked)

    if coding or len(body) > MAX_INLINE_BODY:
        return await run_in_thread(decode, request, stages=reader.stages)
    return decode()


async def classify(
    pictures: DigitBatch | Pictures, reader: DigitReader, *, where: str = tensors.PICTURE_INPUT.name
) -> Scores:
    """Return the scores of canonical pictures, or of uploads; an error names their list as `where`.

    Raises:
        DigitsError: the error of the first picture that can't be read.
    """
    if isinstance(pictures, np.ndarray):
        return reader.infer(pictures)
    prepared = []
    for index, outcome in enumerate(await reader.canonicalise_all(pictures)):
        if isinstance(outcome, DigitsError):
            detail = f"{where}[{index}]: {outcome.detail}"
            raise type(outcome)(detail, limit=outcome.limit)
        prepared.append(outcome)
    return reader.classify(prepared)


def _build_answer(answer: InferResponse, binary: bytes, request: Request, *, timing: str) -> Response:
    json = answer.model_dump_json(exclude_none=True).encode()
    body, media_type, headers = json + binary, "application/json", {"Server-Timing": timing}
    if binary:
        media_type = "application/octet-stream"
        headers[JSON_LENGTH_HEADER] = str(len(json))
    coding = encodings.choose_encoding(request.headers.get("accept-encoding", ""))
    if coding and len(body) >= encodings.MIN_COMPRESSED_BYTES:
        body = encodings.compress(body, coding)
        headers["Content-Encoding"] = coding
    return Response(body, media_type=media_type, headers=headers)
