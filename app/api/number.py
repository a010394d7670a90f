"""`POST /predict/number`: one picture of a whole number in, its digits out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from ..digits.contract import CanonicalPicture, GreyPicture
from ..digits.errors import NoInk
from ..digits.images import Box, Picture, clip_box
from ..digits.numbers import Number, NumberReader
from ..digits.preprocessing import PAPER_STEPS, canonicalise_part
from ..digits.working_picture import WorkingPicture
from ..state import get_state
from . import openapi, uploads
from .predict import View
from .reader import Reader, encode_data_url
from .schemas import ImageInfo, ModelRef, NumberDigit, NumberPrediction, NumberSign
from .work import run_in_thread

MAX_VIEWS: Final = 64  # canonical pictures in an answer, each of which takes up to a millisecond

router = APIRouter(tags=["predict"])

LineReaderName = Annotated[
    str | SkipJsonSchema[None],
    Query(
        description="A line reader from /models, or NAME@N for version N. By default, the highest version "
        "of `line-reader`; a classifier's name, too, stands for it."
    ),
]


@dataclass(frozen=True, slots=True)
class NumberReading:
    """A picture, and the number that it shows."""

    picture: Picture
    number: Number
    views: Sequence[CanonicalPicture | None]  # of its first digits, if they were asked for


@router.post(
    "/predict/number",
    openapi_extra=openapi.PICTURE_BODY,
    response_model=NumberPrediction,
    responses=openapi.describe_problems(*openapi.PICTURE_PROBLEMS),
)
async def predict_number(request: Request, model: LineReaderName = None, view: View = False) -> Response:
    """Read the number in one picture: one or several digits, in one or several lines."""
    reader = _create_reader(request, model)
    return reader.respond(await _predict(reader, await uploads.read_picture(request), view=view))


async def read_number(
    request: Request, load_picture: Callable[[Request], Awaitable[bytes]]
) -> NumberPrediction:
    """Read the number in the picture that a request sends; the picture is loaded if there is a place for it.

    Raises:
        DigitsError: it can't be read now, or not at all.
    """
    reader = _create_reader(request, None)
    return await _predict(reader, await load_picture(request), view=False)


def _create_reader(request: Request, model: str | None) -> Reader:
    """Refuse the request, before its body is read, if it can't be served now."""
    catalogue = get_state(request).catalogue
    line_reader = catalogue.get_line_reader(model)
    catalogue.get_number_reader(line_reader)
    return Reader(request, line_reader)


async def _predict(reader: Reader, upload: bytes, *, view: bool) -> NumberPrediction:
    number_reader = reader.state.catalogue.get_number_reader(reader.model)
    with reader.hold_places(1):
        # in a thread: even a small picture may hold a hundred characters
        work = partial(read_upload, upload, reader, number_reader, view=view)
        is_small = reader.is_small(upload)
        reading = await run_in_thread(work, reader.request, stages=reader.stages, is_small=is_small)
    digits = [(int(digit.character), digit.confidence) for digit in reading.number.digits]
    reader.count_results(digits, cautions=reading.number.cautions)
    return build_prediction(reading, reader.describe_model())


def build_prediction(reading: NumberReading, model: ModelRef) -> NumberPrediction:
    """Return the answer that tells what was read, by which model."""
    picture, number = reading.picture, reading.number
    rows, columns = picture.grey.shape
    return NumberPrediction(
        text=number.text,
        lines=list(number.lines),
        written="\n".join(number.written),
        confidence=number.confidence,
        digits=[
            NumberDigit(
                digit=int(digit.character),
                confidence=digit.confidence,
                box=picture.map_to_original(digit.box),
                line=digit.line,
                view=None if view is None else encode_data_url(view),
            )
            for digit, view in zip_longest(number.digits, reading.views)
        ],
        signs=[
            NumberSign(
                sign=sign.character,
                confidence=sign.confidence,
                box=picture.map_to_original(sign.box),
                line=sign.line,
            )
            for sign in number.signs
        ],
        ignored=[picture.map_to_original(box) for box in number.ignored],
        model=model,
        image=ImageInfo(
            width=picture.width,
            height=picture.height,
            polarity=number.polarity,
            box=picture.map_to_original(number.box or (0, 0, columns, rows)),
        ),
        warnings=list(number.cautions),
    )


def read_upload(data: bytes, reader: Reader, number_reader: NumberReader, *, view: bool) -> NumberReading:
    """Read the number in an upload.

    Raises:
        DigitsError: the upload can't be decoded, or nothing is written on it.
    """
    picture = reader.decode(reader.identify(data))
    with reader.stages.time_stage("infer"):
        number = number_reader.read(picture.grey)
    with reader.stages.time_stage("preprocess"):
        check_ink(picture.grey, number)
        visible = number.digits[: MAX_VIEWS if view else 0]
        views = [_canonicalise_digit(picture.grey, digit.box) for digit in visible]
    return NumberReading(picture, number, views)


def check_ink(grey: GreyPicture, number: Number) -> None:
    """Check that there is ink on a picture, unless something was read on it.

    Raises:
        NoInk: nothing stands out from the background.
    """
    if number.marks or number.ignored:
        return
    picture = WorkingPicture(pixels=grey)
    for step in PAPER_STEPS:
        picture = step(picture)


def _canonicalise_digit(grey: GreyPicture, box: Box) -> CanonicalPicture | None:
    """Return the digit in a box, if its ink stands out."""
    with suppress(NoInk):
        return canonicalise_part(grey, clip_box(box, grey.shape)).picture
    return None
