"""`POST /predict` and `/predict/batch`: pictures in, digits out."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, TypeVar

import cv2
import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
from pydantic.json_schema import SkipJsonSchema

from app.api import problems, uploads
from app.api.openapi import BATCH, BATCH_BODY, PICTURE, PICTURE_BODY, PREDICTION, refusals
from app.api.schemas import BatchPrediction, BatchResult, ImageInfo, ModelRef, Prediction, Problem
from app.api.work import Stages, answered, begun, check_place, hold_places, in_thread, unwrap
from app.digits import images
from app.digits.catalogue import Model
from app.digits.contract import IS_DIGIT, CanonicalPicture
from app.digits.errors import DigitsError
from app.digits.images import Picture, Upload
from app.digits.look import look
from app.digits.preprocessing import Canonical, canonical, is_quick
from app.digits.sheet import Caution
from app.state import state_of
from app.telemetry.metrics import Metrics

router = APIRouter(tags=["predict"])

# A request is served on the event loop while its pictures take about a millisecond, less than handing them
# to a thread is worth. These bound what reading the files and decoding them takes; whether the rest is as
# quick is asked of the decoded pictures. The longest side counts, too: a thin strip takes ten times as long.
INLINE_FILE_BYTES: Final = 16_384  # a drawing on a canvas has 1 to 8 KB
INLINE_COST: Final = 0.5  # milliseconds to decode
INLINE_PIXELS: Final = 90_000
INLINE_SIDE: Final = 300  # pixels
INLINE_PICTURES: Final = 8

BATCH_COST: Final = 800.0  # milliseconds of a core for all pictures of a request: a dozen phone photos

Given = TypeVar("Given")
Result = TypeVar("Result")
ModelName = Annotated[
    str | SkipJsonSchema[None],
    Query(description="A name from /models, or NAME@N for version N; else the default model."),
]
View = Annotated[bool, Query(description="Add the 28x28 picture that the network saw.")]


@dataclass(frozen=True, slots=True)
class Read:
    """What is left of an upload once it has been read: its pixels are gone."""

    canonical: CanonicalPicture
    image: ImageInfo
    cautions: tuple[Caution, ...]


@router.post(
    "/predict",
    openapi_extra=PICTURE_BODY,
    response_model=Prediction,
    responses=refusals(*PREDICTION, *PICTURE),
)
async def predict(request: Request, model: ModelName = None, view: View = False) -> Response:
    """Read the digit in one picture."""
    state = state_of(request)
    chosen = state["catalogue"].get(model)
    check_place(request)
    data = await uploads.picture(request)
    stages = begun(request, chosen)
    with hold_places(request):
        prediction = await read_digit(data, chosen, stages, request, view=view)
    _count([prediction], stages, state["metrics"])
    return answered(prediction, stages)


@router.post(
    "/predict/batch",
    openapi_extra=BATCH_BODY,
    response_model=BatchPrediction,
    responses=refusals(*PREDICTION, *BATCH),
)
async def predict_batch(request: Request, model: ModelName = None, view: View = False) -> Response:
    """Read the digit in each of several pictures; one that can't be read does not stop the others."""
    state = state_of(request)
    chosen = state["catalogue"].get(model)
    check_place(request)
    pictures = await uploads.pictures(request, most=state["settings"].max_batch)
    stages = begun(request, chosen)
    with hold_places(request, len(pictures)):
        reads = await read_all(pictures, stages, request)
        good = [read for read in reads if isinstance(read, Read)]
        predictions = _predictions(good, chosen, stages, view=view)
    state["metrics"].batched(chosen.name, len(reads))
    _count(predictions, stages, state["metrics"])
    for read in reads:
        if isinstance(read, DigitsError):
            state["metrics"].refused(read.code)
    in_turn = iter(predictions)
    results = [
        BatchResult(index=index, prediction=next(in_turn), problem=None)
        if isinstance(read, Read)
        else BatchResult(index=index, prediction=None, problem=Problem(**problems.document(read)))
        for index, read in enumerate(reads)
    ]
    return answered(BatchPrediction(results=results), stages)


async def read_digit(
    data: bytes, model: Model, stages: Stages, request: Request, *, view: bool = False
) -> Prediction:
    """Read the digit in one picture; nothing of it is counted yet."""
    read = await _read_one(data, stages, request)
    (prediction,) = _predictions([read], model, stages, view=view)
    return prediction


async def _read_one(data: bytes, stages: Stages, request: Request) -> Read:
    """Decode and preprocess a picture, on the event loop or, where that takes long, off it."""
    return unwrap(*await read_all([data], stages, request))


async def read_all(
    uploaded: Sequence[bytes | DigitsError], stages: Stages, request: Request
) -> list[Read | DigitsError]:
    """Do so with several; one that can't be read is returned as its error."""
    max_pixels = state_of(request)["settings"].max_pixels
    pictures = _decode_if_quick(uploaded, stages, max_pixels=max_pixels)
    if pictures is None:
        whole = partial(_read_files, uploaded, stages=stages, max_pixels=max_pixels)
        return await in_thread(whole, stages, request, pictures=len(uploaded))
    if is_quick([picture.grey for picture in pictures if isinstance(picture, Picture)]):
        return _read_pictures(pictures, stages)
    rest = partial(_read_pictures, pictures, stages)
    return await in_thread(rest, stages, request, pictures=len(uploaded))


def _decode_if_quick(
    uploaded: Sequence[bytes | DigitsError], stages: Stages, *, max_pixels: int
) -> list[Picture | DigitsError] | None:
    """Decode pictures that are few and small; return None as soon as they are not."""
    if len(uploaded) > INLINE_PICTURES:
        return None
    bytes_left, cost_left, pixels_left = INLINE_FILE_BYTES, INLINE_COST, INLINE_PIXELS
    pictures: list[Picture | DigitsError] = []
    for data in uploaded:
        if isinstance(data, DigitsError):
            pictures.append(data)
            continue
        bytes_left -= len(data)
        if bytes_left < 0:
            return None
        try:
            with stages.timed("decode"):
                upload = images.identify(data, max_pixels=max_pixels)
            cost_left, pixels_left = cost_left - upload.cost, pixels_left - upload.pixels
            if cost_left < 0 or pixels_left < 0 or max(upload.size) > INLINE_SIDE:
                return None
            with stages.timed("decode"):
                pictures.append(images.decode(upload))
        except DigitsError as error:
            pictures.append(error.with_traceback(None))
    return pictures


def _read_files(
    uploaded: Sequence[bytes | DigitsError], *, stages: Stages, max_pixels: int
) -> list[Read | DigitsError]:
    """Decode and preprocess pictures of any size, as many as BATCH_COST allows."""
    started = time.thread_time()

    def read(data: bytes) -> Read:
        with stages.timed("decode"):
            upload = images.identify(data, max_pixels=max_pixels)
        spent = (time.thread_time() - started) * 1e3
        if len(uploaded) > 1 and spent + upload.cost > BATCH_COST:
            msg = (
                f"The pictures before this one took {spent:.0f} ms of a processor, this one may take "
                f"{upload.cost:.0f}; a request may take {BATCH_COST:.0f}. Send it in another batch."
            )
            raise problems.BatchTooLarge(msg, limit=round(BATCH_COST))
        return _read_upload(upload, stages=stages)

    return [_attempt(read, data) for data in uploaded]


def _attempt(step: Callable[[Given], Result], given: Given | DigitsError) -> Result | DigitsError:
    """Take a step, unless an earlier one has failed; return what came of it, or the error (see `unwrap`)."""
    if isinstance(given, DigitsError):
        return given
    try:
        return step(given)
    except DigitsError as error:
        return error.with_traceback(None)


def _read_upload(upload: Upload, *, stages: Stages) -> Read:
    return _describe(*look(upload, timed=stages.timed))


def _read_pictures(pictures: Sequence[Picture | DigitsError], stages: Stages) -> list[Read | DigitsError]:
    """Preprocess pictures that have been decoded."""
    reads: list[Read | DigitsError] = []
    for picture in pictures:
        if isinstance(picture, DigitsError):
            reads.append(picture)
            continue
        try:
            with stages.timed("preprocess"):
                reads.append(_describe(picture, canonical(picture.grey)))
        except DigitsError as error:
            reads.append(error.with_traceback(None))
    return reads


def _describe(picture: Picture, found: Canonical) -> Read:
    info = ImageInfo(
        width=picture.width,
        height=picture.height,
        polarity=found.polarity,
        box=picture.in_original(found.box),
    )
    return Read(found.picture, info, found.cautions)


def _predictions(reads: Sequence[Read], model: Model, stages: Stages, *, view: bool) -> list[Prediction]:
    if not reads:
        return []
    with stages.timed("infer", pictures=len(reads)):
        scores = model.classifier.classify(np.array([read.canonical for read in reads]))
    likelihoods = scores.digit_likelihood
    asked = ModelRef(name=model.name, version=model.classifier.version)
    return [
        _prediction(
            read,
            probabilities,
            likelihood=None if likelihoods is None else float(likelihoods[row]),
            model=asked,
            view=view,
        )
        for row, (read, probabilities) in enumerate(zip(reads, scores.probabilities, strict=True))
    ]


def _prediction(
    read: Read,
    probabilities: NDArray[np.float32],  # (10,)
    *,
    likelihood: float | None,
    model: ModelRef,
    view: bool,
) -> Prediction:
    digit = int(probabilities.argmax())
    return Prediction(
        digit=digit,
        confidence=float(probabilities[digit]),
        probabilities=probabilities.tolist(),
        is_digit=likelihood is None or likelihood >= IS_DIGIT,
        digit_likelihood=likelihood,
        model=model,
        image=read.image,
        warnings=list(read.cautions),
        view=_data_url(read.canonical) if view else None,
    )


def _count(predictions: Sequence[Prediction], stages: Stages, metrics: Metrics) -> None:
    digits = [(prediction.digit, prediction.confidence) for prediction in predictions]
    stages.read(digits)
    metrics.predicted(stages.model, digits)
    for prediction in predictions:
        metrics.warned(prediction.warnings)
        if not prediction.is_digit:
            metrics.doubted(stages.model)


def _data_url(picture: CanonicalPicture) -> str:
    _, png = cv2.imencode(".png", picture)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
