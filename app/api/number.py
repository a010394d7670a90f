"""`POST /predict/number`: one picture of a whole number in, its digits out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api import uploads
from app.api.openapi import PICTURE, PICTURE_BODY, PREDICTION, refusals
from app.api.predict import ModelName
from app.api.reader import NumberReading, Reader
from app.api.schemas import ImageInfo, ModelRef, NumberDigit, NumberPrediction
from app.state import state_of

router = APIRouter(tags=["predict"])


@router.post(
    "/predict/number",
    openapi_extra=PICTURE_BODY,
    response_model=NumberPrediction,
    responses=refusals(*PREDICTION, *PICTURE),
)
async def predict_number(request: Request, model: ModelName = None) -> Response:
    """Read the number in one picture: one or several digits, in one or several lines."""
    state = state_of(request)
    reader = Reader(request, state.catalogue.get(model))
    reading = await reader.read_number(await uploads.read_picture(request))
    reader.count_digits([(digit.digit, digit.confidence) for digit in reading.number.digits])
    state.metrics.count_warnings(reading.number.cautions)
    return reader.respond(_predict(reading, reader.reference()))


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
                box=picture.in_original(digit.box),
                line=digit.line,
            )
            for digit in number.digits
        ],
        model=model,
        image=ImageInfo(
            width=picture.width,
            height=picture.height,
            polarity=reading.page.polarity,
            box=picture.in_original(number.box or whole),
        ),
        warnings=list(number.cautions),
    )
