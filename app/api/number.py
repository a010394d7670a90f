"""`POST /predict/number`: one picture of a whole number in, its digits out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api import openapi, uploads
from app.api.predict import ModelName
from app.api.reader import NumberReading, Reader
from app.api.schemas import ImageInfo, ModelRef, NumberDigit, NumberPrediction
from app.state import get_state

router = APIRouter(tags=["predict"])


@router.post(
    "/predict/number",
    openapi_extra=openapi.PICTURE_BODY,
    response_model=NumberPrediction,
    responses=openapi.describe_problems(*openapi.PICTURE_PROBLEMS),
)
async def predict_number(request: Request, model: ModelName = None) -> Response:
    """Read the number in one picture: one or several digits, in one or several lines."""
    reader = Reader(request, get_state(request).catalogue.get(model))
    reading = await reader.read_number(await uploads.read_picture(request))
    number = reading.number
    reader.count_results(
        [(digit.digit, digit.confidence) for digit in number.digits], cautions=number.cautions
    )
    return reader.respond(_build_prediction(reading, reader.describe_model()))


def _build_prediction(reading: NumberReading, model: ModelRef) -> NumberPrediction:
    picture, number = reading.picture, reading.number
    rows, columns = picture.grey.shape
    digits = [
        NumberDigit(
            digit=digit.digit,
            confidence=digit.confidence,
            box=picture.map_to_original(digit.box),
            line=digit.line,
        )
        for digit in number.digits
    ]
    image = ImageInfo(
        width=picture.width,
        height=picture.height,
        polarity=reading.page.polarity,
        box=picture.map_to_original(number.box or (0, 0, columns, rows)),
    )
    return NumberPrediction(
        text=number.text,
        lines=list(number.lines),
        confidence=number.confidence,
        digits=digits,
        model=model,
        image=image,
        warnings=list(number.cautions),
    )
