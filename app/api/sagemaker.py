"""`GET /ping` and `POST /invocations`, as Amazon SageMaker calls a container. Off by default.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from ..state import get_state
from ..wire.paths import INVOCATIONS, PING
from ..wire.problems import MalformedRequest, NotReady
from . import health, json_body, openapi, tensorflow_serving, uploads
from .predict import answer_picture
from .reader import DigitReader
from .schemas import Health, InvocationRequest, Prediction, TensorOutputs, TensorPredictions
from .tensorflow_serving import Instances

router = APIRouter()
_BODY: Final = openapi.describe_body(
    "The picture as a file or as JSON, or several pictures as TensorFlow Serving takes them.",
    {
        "image/*": openapi.BINARY,
        "application/octet-stream": openapi.BINARY,
        "application/json": openapi.describe_model(InvocationRequest),
    },
)


@router.get(PING, tags=["health"], responses=openapi.describe_problems(NotReady))
async def ping(request: Request) -> Health:
    """Answer 200 once the models are loaded and warm, 503 while draining."""
    return await health.ready(request)


@router.post(
    INVOCATIONS,
    tags=["predict"],
    openapi_extra=_BODY,
    response_model=Prediction | TensorPredictions | TensorOutputs,
    responses=openapi.describe_problems(*openapi.PICTURE_PROBLEMS, *openapi.BATCH_PROBLEMS),
)
async def invoke(request: Request) -> Response:
    """Answer a picture as /predict does, and `instances` as TensorFlow Serving."""
    reader = DigitReader(request, get_state(request).catalogue.get())
    if uploads.get_media_type(request) != uploads.JSON:
        return await answer_picture(reader, await uploads.read_picture(request))
    max_pictures = reader.state.settings.max_batch
    content = await uploads.read_body(request, lambda body: _parse(body, max_pictures))
    if isinstance(content, bytes):
        return await answer_picture(reader, content)
    return await tensorflow_serving.answer_instances(reader, content)


def _parse(body: bytes, max_pictures: int) -> bytes | Instances:
    """Return the file of a single picture, or several pictures."""
    parsed = json_body.parse(
        body,
        InvocationRequest,
        max_values=max_pictures + json_body.MAX_VALUES,
        max_numbers=uploads.MAX_PIXEL_NUMBERS,
    )
    if parsed.image is not None:
        return uploads.decode_json_image(parsed.image, "image")
    if parsed.instances is parsed.inputs is None:
        msg = "The JSON has no pictures. Send one as 'image', or a list of them as 'instances'."
        raise MalformedRequest(msg)
    return tensorflow_serving.read_instances(parsed, max_pictures)
