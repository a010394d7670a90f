"""`POST /predict` and `/predict/batch`: pictures in, digits out."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Final, Literal, TypeVar

import cv2
import numpy as np
from anyio import fail_after, to_thread
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray

from app.api import problems, uploads
from app.api.openapi import BATCH, BATCH_BODY, PICTURE, PICTURE_BODY, PREDICTION, refusals
from app.api.schemas import BatchPrediction, BatchResult, ImageInfo, ModelRef, Prediction, Problem
from app.digits import images
from app.digits.catalogue import Model
from app.digits.contract import CanonicalPicture
from app.digits.errors import ImageError
from app.digits.images import Picture, Upload
from app.digits.preprocessing import Canonical, canonical
from app.state import State, state_of

router = APIRouter(tags=["predict"])

# Below it decoding and preprocessing take two milliseconds at most, less than a thread's hand-over and
# its contention for the interpreter are worth; above it they would keep the event loop waiting.
INLINE_PIXELS: Final = 100_000

IS_DIGIT: Final = 0.5  # likelihood from which on a picture counts as a digit

Given = TypeVar("Given")
Result = TypeVar("Result")
ModelName = Annotated[str | None, Query(description="A name from /models; else the default model.")]
View = Annotated[bool, Query(description="Add the 28x28 picture that the network saw.")]


@dataclass(frozen=True, slots=True)
class Read:
    """A picture that has been decoded and brought into canonical form."""

    picture: Picture
    canonical: Canonical


@dataclass(slots=True)
class Stages:
    """Seconds spent in each stage of a request; a batch's pictures add up."""

    decode: float = 0.0
    preprocess: float = 0.0
    infer: float = 0.0

    @contextmanager
    def timed(self, stage: Literal["decode", "preprocess", "infer"]) -> Iterator[None]:
        """Add the time that the block takes to `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - started)

    def header(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        spent = (f"{field.name};dur={getattr(self, field.name) * 1e3:.3f}" for field in fields(self))
        return ", ".join(spent)


@router.post("/predict", openapi_extra=PICTURE_BODY, responses=refusals(*PREDICTION, *PICTURE))
async def predict(
    request: Request, response: Response, model: ModelName = None, view: View = False
) -> Prediction:
    """Read the digit in one picture."""
    state = state_of(request)
    chosen = state["catalogue"].get(model)
    stages = Stages()
    (read,) = await _read_all([await uploads.picture(request)], stages, state)
    if isinstance(read, ImageError):
        raise read
    (prediction,) = _predictions([read], chosen, stages, view=view)
    response.headers["Server-Timing"] = stages.header()
    return prediction


@router.post(
    "/predict/batch",
    openapi_extra=BATCH_BODY,
    responses=refusals(*PREDICTION, *BATCH),
    response_model_exclude_unset=True,  # a problem without a limit has no `limit`
)
async def predict_batch(
    request: Request, response: Response, model: ModelName = None, view: View = False
) -> BatchPrediction:
    """Read the digit in each of several pictures; one that can't be read does not stop the others."""
    state = state_of(request)
    chosen = state["catalogue"].get(model)
    pictures = await uploads.pictures(request, most=state["settings"].max_batch)
    stages = Stages()
    with state["places"].held(len(pictures) - 1):  # the guard holds one already
        reads = await _read_all(pictures, stages, state)
        good = [read for read in reads if isinstance(read, Read)]
        predictions = iter(_predictions(good, chosen, stages, view=view))
    response.headers["Server-Timing"] = stages.header()
    return BatchPrediction(
        results=[
            BatchResult(index=index, prediction=next(predictions), problem=None)
            if isinstance(read, Read)
            else BatchResult(index=index, prediction=None, problem=Problem(**problems.document(read)))
            for index, read in enumerate(reads)
        ]
    )


async def _read_all(pictures: Sequence[bytes], stages: Stages, state: State) -> list[Read | ImageError]:
    """Decode and preprocess every picture, on the event loop or, where that takes long, off it."""
    settings = state["settings"]
    identify = partial(images.identify, max_pixels=settings.max_pixels)
    opened = [_attempted(identify, data) for data in pictures]
    work = partial(_read_opened, opened, stages)
    if sum(upload.pixels for upload in opened if isinstance(upload, Upload)) <= INLINE_PIXELS:
        return work()
    try:
        with fail_after(settings.request_timeout):
            return await to_thread.run_sync(work, limiter=state["threads"], abandon_on_cancel=True)
    except TimeoutError:
        msg = f"There was no prediction within {settings.request_timeout:g} s. Try a smaller picture."
        raise problems.TooSlow(msg) from None


def _read_opened(opened: Sequence[Upload | ImageError], stages: Stages) -> list[Read | ImageError]:
    return [
        upload if isinstance(upload, ImageError) else _attempted(partial(_read, stages=stages), upload)
        for upload in opened
    ]


def _attempted(step: Callable[[Given], Result], given: Given) -> Result | ImageError:
    try:
        return step(given)
    except ImageError as error:
        return error


def _read(upload: Upload, *, stages: Stages) -> Read:
    with stages.timed("decode"):
        picture = images.decode(upload)
    with stages.timed("preprocess"):
        return Read(picture, canonical(picture.grey))


def _predictions(reads: Sequence[Read], model: Model, stages: Stages, *, view: bool) -> list[Prediction]:
    if not reads:
        return []
    with stages.timed("infer"):
        scores = model.classifier.classify(np.stack([read.canonical.picture for read in reads]))
    likelihoods = scores.digit_likelihood
    return [
        _prediction(
            read,
            probabilities,
            likelihood=None if likelihoods is None else float(likelihoods[row]),
            model=ModelRef(name=model.name, version=model.classifier.version),
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
    picture, found = read.picture, read.canonical
    return Prediction(
        digit=digit,
        confidence=float(probabilities[digit]),
        probabilities=probabilities.tolist(),
        is_digit=likelihood is None or likelihood >= IS_DIGIT,
        digit_likelihood=likelihood,
        model=model,
        image=ImageInfo(
            width=picture.width,
            height=picture.height,
            polarity=found.polarity,
            box=picture.in_original(found.box),
        ),
        warnings=list(found.cautions),
        view=_data_url(found.picture) if view else None,
    )


def _data_url(picture: CanonicalPicture) -> str:
    _, png = cv2.imencode(".png", picture)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
