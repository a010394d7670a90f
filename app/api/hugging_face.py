"""`POST /predict?format=hf`: a picture in, labels and scores out, as in Hugging Face's image classification.

Its `InferenceClient` sends the bytes of the file, or JSON with `inputs` and `parameters` if there are any.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from . import base64_text, json_body, uploads
from .reader import DigitReader
from .schemas import JsonInputs, LabelParameters, LabelScore, LabelScores, Prediction

DEFAULT_LABELS: Final = 5  # as Hugging Face's own pipelines answer


async def answer_labels(request: Request, reader: DigitReader) -> Response:
    """Answer with the most likely digits, the first the likeliest."""
    picture, parameters = await _read_inputs(request)
    prediction = await reader.predict(picture)
    reader.count_predictions([prediction])
    return reader.respond(_rank_digits(prediction, parameters.top_k or DEFAULT_LABELS))


async def _read_inputs(request: Request) -> tuple[bytes, LabelParameters]:
    if uploads.get_media_type(request) == uploads.JSON:
        return await uploads.read_body(request, _parse_inputs)
    # the client names no type for bytes
    return await uploads.read_picture(request, default_type=uploads.BYTES), LabelParameters()


def _parse_inputs(body: bytes) -> tuple[bytes, LabelParameters]:
    parsed = json_body.parse(body, JsonInputs)
    return base64_text.decode(parsed.inputs, "inputs"), parsed.parameters


def _rank_digits(prediction: Prediction, count: int) -> LabelScores:
    scores = [
        LabelScore(label=str(digit), score=score) for digit, score in enumerate(prediction.probabilities)
    ]
    return LabelScores(sorted(scores, key=lambda entry: entry.score, reverse=True)[:count])
