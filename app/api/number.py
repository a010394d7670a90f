"""`POST /predict/number`: one picture of a whole number in, its digits out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api import uploads
from app.api.openapi import PICTURE_BODY, PICTURE_PROBLEMS, PREDICTION_PROBLEMS, describe_problems
from app.api.predict import ModelName
from app.api.reader import NumberReading, Reader
from app.api.schemas import ImageInfo, ModelRef, NumberDigit, NumberPrediction
from app.state import get_state

router = APIRouter(tags=["predict"])


@router.post(
    "/predict/number",
    openapi_extra=PICTURE_BODY,
    response_model=NumberPrediction,
    responses=describe_problems(*PREDICTION_PROBLEMS, *PICTURE_PROBLEMS),
)
async def predict_number(request: Request, model: ModelName = None) -> Response:
    """Read the number in one picture: one or several digits, in one or several lines."""
    state = get_state(request)
    reader = Reader(request, state.catalogue.get(model))
    reading = await reader.read_number(await uploads.read_picture(request))
    reader.count_digits([(digit.digit, digit.confidence) for digit in reading.number.digits])
    state.metrics.count_cautions(reading.number.cautions)
    return reader.respond(_predict(reading, reader.describe_model()))


def _predict(reading: NumberReading, model: ModelRef) -> NumberPrediction:
    picture, number = reading.picture, reading.number
    whole = (0, 0, picture.grey.shape[1], picture.grey.shape[0])
    return NumberPrediction(
        text=number.text,
        lines=list(number.lines),
        confidence=number.confidence,
        digits=[
            NumberDigit(
                digit=digit.digit,
                confidence=digit.confidence,
                box=picture.map_to_original(digit.box),
                line=digit.line,
            )
            for digit in number.digits
        ],
        model=model,
        image=ImageInfo(
            width=picture.width,
            height=picture.height,
            polarity=reading.page.polarity,
            box=picture.map_to_original(number.box or whole),
        ),
        warnings=list(number.cautions),
    )
