"""`POST /predict/number`: one picture of a whole number in, its digits out."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from app.api import uploads
from app.api.openapi import PICTURE, PICTURE_BODY, PREDICTION, refusals
from app.api.predict import ModelName
from app.api.schemas import ImageInfo, ModelRef, NumberDigit, NumberPrediction
from app.api.work import Stages, answered, begun, check_place, hold_places, in_thread
from app.digits import images, numbers
from app.digits.catalogue import Model
from app.digits.images import Picture
from app.digits.numbers import Number, Page
from app.state import state_of

router = APIRouter(tags=["predict"])


@dataclass(frozen=True, slots=True)
class ReadNumber:
    """A picture, and what it says."""

    picture: Picture
    page: Page
    number: Number


@router.post(
    "/predict/number",
    openapi_extra=PICTURE_BODY,
    response_model=NumberPrediction,
    responses=refusals(*PREDICTION, *PICTURE),
)
async def predict_number(request: Request, model: ModelName = None) -> Response:
    """Read the number in one picture: one or several digits, in one or several lines."""
    state = state_of(request)
    chosen = state["catalogue"].get(model)
    check_place(request)
    data = await uploads.picture(request)
    stages = begun(request, chosen)
    with hold_places(request):
        # always off the event loop: even a small picture may hold a hundred glyphs
        read = await in_thread(
            lambda: _read(data, chosen, stages, max_pixels=state["settings"].max_pixels),
            stages,
            request,
            pictures=1,
        )
    digits = [(digit.digit, digit.confidence) for digit in read.number.digits]
    stages.read(digits)
    state["metrics"].predicted(chosen.name, digits)
    state["metrics"].warned(read.number.cautions)
    return answered(_prediction(read, chosen), stages)


def _read(data: bytes, model: Model, stages: Stages, *, max_pixels: int) -> ReadNumber:
    """Go the whole way; what reads best is found between network and answer, and counts as preprocessing."""
    with stages.timed("decode"):
        picture = images.decode(images.identify(data, max_pixels=max_pixels))
    with stages.timed("preprocess"):
        page = numbers.segment(picture.grey)
    with stages.timed("infer", pictures=len(page.pictures)):
        scores = model.classifier.classify(page.pictures)
    with stages.timed("preprocess"):
        number = numbers.assemble(page, scores.probabilities, scores.digit_likelihood)
    return ReadNumber(picture, page, number)


def _prediction(read: ReadNumber, model: Model) -> NumberPrediction:
    picture, number = read.picture, read.number
    hull = number.box or (0, 0, picture.grey.shape[1], picture.grey.shape[0])
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
        model=ModelRef(name=model.name, version=model.classifier.version),
        image=ImageInfo(
            width=picture.width,
            height=picture.height,
            polarity=read.page.polarity,
            box=picture.in_original(hull),
        ),
        warnings=list(number.cautions),
    )
