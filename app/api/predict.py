"""`POST /predict` and `/predict/batch`: pictures in, digits out."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from ..digits.errors import DigitsError
from ..state import get_state
from ..wire import problems
from . import hugging_face, openapi, uploads
from .reader import DigitReader
from .schemas import BatchPrediction, BatchResult, Prediction, Problem

router = APIRouter(tags=["predict"])

ModelName = Annotated[
    str | SkipJsonSchema[None],
    Query(description="A name from /models, or NAME@N for version N. By default, the default model."),
]
View = Annotated[bool, Query(description="Add the 28x28 picture that the network saw.")]
# not in the document, as types of generated clients would become unions
AnswerFormat = Annotated[Literal["hf"] | None, Query(include_in_schema=False)]


@router.post(
    "/predict",
    openapi_extra=openapi.PICTURE_BODY,
    response_model=Prediction,
    responses=openapi.describe_problems(*openapi.PICTURE_PROBLEMS),
)
async def predict(
    request: Request,
    model: ModelName = None,
    view: View = False,
    format: AnswerFormat = None,  # noqa: A002  its name in the query
) -> Response:
    """Read the digit in one picture."""
    reader = DigitReader(request, get_state(request).catalogue.get(model))
    if format is not None:
        return await hugging_face.answer_labels(request, reader)
    return await answer_picture(reader, await uploads.read_picture(request), view=view)


async def answer_picture(reader: DigitReader, picture: bytes, *, view: bool = False) -> Response:
    """Return the response with the digit in one picture.

    Raises:
        DigitsError: the picture can't be read.
    """
    prediction = await reader.predict(picture, view=view)
    reader.count_predictions([prediction])
    return reader.respond(prediction)


@router.post(
    "/predict/batch",
    openapi_extra=openapi.BATCH_BODY,
    response_model=BatchPrediction,
    responses=openapi.describe_problems(*openapi.BATCH_PROBLEMS),
)
async def predict_batch(request: Request, model: ModelName = None, view: View = False) -> Response:
    """Read the digit in each of several pictures; one that can't be read does not stop the others."""
    state = get_state(request)
    reader = DigitReader(request, state.catalogue.get(model))
    pictures = await uploads.read_pictures(request, max_pictures=state.settings.max_batch)
    outcomes = await reader.predict_all(pictures, view=view)
    state.metrics.observe_batch(reader.model.name, len(outcomes))
    reader.count_predictions([outcome for outcome in outcomes if isinstance(outcome, Prediction)])
    for outcome in outcomes:
        if isinstance(outcome, DigitsError):
            state.metrics.count_refusal(outcome.code)
    results = [_build_result(index, outcome) for index, outcome in enumerate(outcomes)]
    return reader.respond(BatchPrediction(results=results))


def _build_result(index: int, outcome: Prediction | DigitsError) -> BatchResult:
    if isinstance(outcome, Prediction):
        return BatchResult(index=index, prediction=outcome, problem=None)
    return BatchResult(index=index, prediction=None, problem=Problem(**problems.describe(outcome)))
