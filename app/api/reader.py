"""Uploads → pictures → digits, for every route that reads single digits.

Pictures that take about a millisecond are read on the event loop, since a thread would cost more than it
saves. Others are read in a thread, where a large picture is first decoded as a small copy.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from http import HTTPStatus
from itertools import chain
from typing import Final, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from ..digits import images
from ..digits.canonical_upload import CanonicalUpload, canonicalise_upload, glance
from ..digits.catalogue import Model
from ..digits.classifier import Scores
from ..digits.contract import MIN_DIGIT_LIKELIHOOD, CanonicalPicture, DigitBatch
from ..digits.errors import DigitsError
from ..digits.images import Picture, Upload
from ..digits.preprocessing import is_quick
from ..digits.working_picture import Caution
from ..state import get_state
from ..telemetry.stages import Stages
from ..wire.problems import BatchTooLarge
from ..wire.scope import WORK, get_client
from .schemas import ImageInfo, ModelRef, OtherDigit, Prediction
from .work import attempt, run_in_thread, unwrap

# Limits on what is read on the event loop. They bound the time to decode the files; then `is_quick` looks at
#  the decoded pictures. The longest side has a limit of its own: a thin strip takes ten times as long.
MAX_INLINE_PICTURES: Final = 8
MAX_INLINE_FILE_BYTES: Final = 16_384  # a drawing on a canvas has 1 to 8 KB
MAX_INLINE_COST: Final = 0.5  # milliseconds to decode
MAX_INLINE_PIXELS: Final = 90_000
MAX_INLINE_SIDE: Final = 300  # pixels

# Limits on a picture that is read in the thread for small ones, besides MAX_INLINE_FILE_BYTES. Noise of so
#  many pixels takes 75 ms, a drawing up to 20.
MAX_SMALL_COST: Final = 20.0  # milliseconds to decode
MAX_SMALL_PIXELS: Final = 640 * 480

# milliseconds of processor time for all pictures of a request: about a dozen phone photos
MAX_BATCH_COST: Final = 800.0


class PreparedPicture(NamedTuple):
    """The digit of an upload in canonical form; the decoded picture is no longer in memory."""

    canonical: CanonicalPicture
    scores: Scores | None  # of a batch of one, if the classifier has been asked already
    image: ImageInfo
    others: list[OtherDigit]
    cautions: list[Caution]


class Reader:
    """The work of one request with one model: its places, stages, results and response."""

    def __init__(self, request: Request, model: Model) -> None:
        """Refuse the request, before its body is read, if there is no place for it now.

        Raises:
            Overloaded: all places are taken.
        """
        self.model = model
        self.state = get_state(request)
        self.stages = Stages(model.name, self.state.tracer)
        self.request = request
        self._client = get_client(request.scope)
        self.state.places.check(1, self._client)

    def publish_stages(self) -> None:
        """Hand the stages to the log, metrics and traces."""
        self.request.scope[WORK] = self.stages

    def hold_places(self, count: int) -> AbstractContextManager[None]:
        """Hold a place for each picture of the request while it is read: see `Places.hold`."""
        self.publish_stages()
        return self.state.places.hold(count, self._client)

    def identify(self, data: bytes) -> Upload:
        """Recognise the format and size of a picture's file."""
        with self.stages.time_stage("decode"):
            return images.identify(data, max_pixels=self.state.settings.max_pixels)

    def is_small(self, data: bytes) -> bool:
        """Tell whether a picture takes a few milliseconds, and so need not wait for large ones.

        Raises:
            DigitsError: it can't be read.
        """
        if len(data) > MAX_INLINE_FILE_BYTES:
            return False
        upload = images.identify(data, max_pixels=self.state.settings.max_pixels)
        return upload.pixels <= MAX_SMALL_PIXELS and upload.cost <= MAX_SMALL_COST

    def decode(self, upload: Upload) -> Picture:
        """Decode a picture."""
        with self.stages.time_stage("decode"):
            return images.decode(upload)

    def count_results(
        self, digits: Sequence[tuple[int, float]], *, negatives: int = 0, cautions: Iterable[str] = ()
    ) -> None:
        """Count negatives, cautions and digits, given as (digit, confidence), for the log and metrics."""
        metrics = self.state.metrics
        self.stages.note_digits(digits)
        metrics.count_digits(self.model.name, digits)
        metrics.count_negatives(self.model.name, negatives)
        metrics.count_cautions(cautions)

    def respond(self, result: BaseModel) -> Response:
        """Return the response with a result, and with the time that its stages took."""
        return JsonResponse(result, (b"server-timing", self.stages.format_header().encode()))

    def describe_model(self) -> ModelRef:
        """Return the name and version of the model that answers."""
        return describe_model(self.model)


class DigitReader(Reader):
    """Reads a digit in each of a request's pictures."""

    def __init__(self, request: Request, model: Model) -> None:
        """Refuse the request, before its body is read, if it can't be served now.

        Raises:
            UnsuitableModel: the model is not a classifier.
            Overloaded: all places are taken.
        """
        self._classifier = model.classifier
        super().__init__(request, model)

    async def predict(self, picture: bytes, *, view: bool = False) -> Prediction:
        """Read the digit in one picture.

        Raises:
            DigitsError: the picture can't be read.
        """
        with self.hold_places(1):
            prepared = await self.canonicalise(picture)
            scores = prepared.scores or await self._classify_with_others(prepared.canonical)
        (prediction,) = build_predictions([prepared], scores, self.describe_model(), view=view)
        return prediction

    async def predict_all(
        self, uploads: Sequence[bytes | DigitsError], *, view: bool = False
    ) -> list[Prediction | DigitsError]:
        """Read the digit in each upload; where that fails, return the error instead."""
        with self.hold_places(len(uploads)):
            outcomes = await self.canonicalise_all(uploads)
            prepared = [outcome for outcome in outcomes if isinstance(outcome, PreparedPicture)]
            predictions = iter(self._predict(prepared, view=view))
        return [outcome if isinstance(outcome, DigitsError) else next(predictions) for outcome in outcomes]

    async def canonicalise(self, picture: bytes) -> PreparedPicture:
        """Bring the digit of one picture into canonical form.

        Raises:
            DigitsError: the picture can't be read.
        """
        quick = self._canonicalise_quick(picture)
        return quick or unwrap(*await self._canonicalise_slowly([picture], is_small=self.is_small(picture)))

    async def canonicalise_all(
        self, uploads: Sequence[bytes | DigitsError]
    ) -> list[PreparedPicture | DigitsError]:
        """Bring the digit of each upload into canonical form; where that fails, return the error instead."""
        return self._canonicalise_few(uploads) or await self._canonicalise_slowly(uploads)

    def classify(self, pictures: Sequence[PreparedPicture]) -> Scores:
        """Return the scores of pictures; the network runs for those that have none yet."""
        new = [picture.canonical for picture in pictures if picture.scores is None]
        scores = self.infer(np.array(new)) if new else None
        if scores is not None and len(new) == len(pictures):
            return scores
        rest = iter(()) if scores is None else scores.split()
        return Scores.join([picture.scores or next(rest) for picture in pictures])

    async def _classify_with_others(self, picture: CanonicalPicture) -> Scores:
        """Return the scores of one picture; with traces, each picture's inference is a span of its own."""
        batcher = self.state.batcher
        if batcher.is_alone or self.state.tracer is not None:
            return self.infer(picture[np.newaxis])
        scores, seconds = await batcher.classify(self._classifier, picture)
        self.stages.add("infer", seconds)
        return scores

    def infer(self, batch: DigitBatch) -> Scores:
        """Run the network."""
        with self.stages.time_stage("infer", pictures=len(batch)):
            return self._classifier.classify(batch)

    def count_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Count the predictions for several pictures, for the log and metrics."""
        self.count_results(
            [(prediction.digit, prediction.confidence) for prediction in predictions],
            negatives=sum(not prediction.is_digit for prediction in predictions),
            cautions=chain.from_iterable(prediction.warnings for prediction in predictions),
        )

    def _canonicalise_quick(self, data: bytes) -> PreparedPicture | None:
        """Canonicalise one picture if a quick look at it is enough; otherwise return None."""
        picture = self._decode_within(_Allowance(), data) if len(data) <= MAX_INLINE_FILE_BYTES else None
        return self._glance(picture) if picture and is_quick([picture.grey]) else None

    def _canonicalise_few(
        self, uploads: Sequence[bytes | DigitsError]
    ) -> list[PreparedPicture | DigitsError]:
        """Canonicalise a few pictures as `_canonicalise_quick` does; otherwise return an empty list."""
        pictures = self._decode_few(uploads)
        if not is_quick([picture.grey for picture in pictures if isinstance(picture, Picture)]):
            return []
        outcomes = list[PreparedPicture | DigitsError]()
        for picture in pictures:
            outcome = attempt(self._glance, picture)
            if outcome is None:
                return []
            outcomes.append(outcome)
        return outcomes

    def _decode_few(self, uploads: Sequence[bytes | DigitsError]) -> list[Picture | DigitsError]:
        """Decode the pictures if they are few and small; otherwise return an empty list."""
        size = sum(len(upload) for upload in uploads if isinstance(upload, bytes))
        if len(uploads) > MAX_INLINE_PICTURES or size > MAX_INLINE_FILE_BYTES:
            return []
        pictures, decode = list[Picture | DigitsError](), partial(self._decode_within, _Allowance())
        for upload in uploads:
            picture = attempt(decode, upload)
            if picture is None:
                return []
            pictures.append(picture)
        return pictures

    def _decode_within(self, allowance: _Allowance, data: bytes) -> Picture | None:
        """Decode a picture if that is quick, and those before it have left enough time."""
        with self.stages.time_stage("decode"):
            upload = images.identify(data, max_pixels=self.state.settings.max_pixels)
            return images.decode(upload) if allowance.covers(upload) else None

    async def _canonicalise_slowly(
        self, uploads: Sequence[bytes | DigitsError], *, is_small: bool = False
    ) -> list[PreparedPicture | DigitsError]:
        work = partial(self._canonicalise_in_thread, uploads)
        return await run_in_thread(
            work, self.request, stages=self.stages, pictures=len(uploads), is_small=is_small
        )

    def _canonicalise_in_thread(
        self, uploads: Sequence[bytes | DigitsError]
    ) -> list[PreparedPicture | DigitsError]:
        """Canonicalise pictures of any size, until the request has used up MAX_BATCH_COST."""
        started = time.thread_time()

        def prepare(data: bytes) -> PreparedPicture:
            upload = self.identify(data)
            if len(uploads) > 1:
                _check_cost(upload, spent=(time.thread_time() - started) * 1e3)
            return describe_upload(
                canonicalise_upload(
                    upload,
                    classifier=self._classifier,
                    finder=self.state.catalogue.get_finder(),
                    time_stage=self.stages.time_stage,
                )
            )

        return [attempt(prepare, upload) for upload in uploads]

    def _glance(self, picture: Picture) -> PreparedPicture | None:
        upload = glance(picture, classifier=self._classifier, time_stage=self.stages.time_stage)
        return None if upload is None else describe_upload(upload)

    def _predict(self, prepared: Sequence[PreparedPicture], *, view: bool) -> list[Prediction]:
        if not prepared:
            return []
        return build_predictions(prepared, self.classify(prepared), self.describe_model(), view=view)


class _Allowance:
    """What the pictures that are read on the event loop may cost, all together."""

    def __init__(self) -> None:
        self._cost = MAX_INLINE_COST
        self._pixels = MAX_INLINE_PIXELS

    def covers(self, upload: Upload) -> bool:
        """Subtract what a picture costs, and tell whether nothing is overdrawn."""
        self._cost -= upload.cost
        self._pixels -= upload.pixels
        return self._cost >= 0 and self._pixels >= 0 and max(upload.size) <= MAX_INLINE_SIDE


class JsonResponse(Response):
    """A response of JSON, created in a quarter of the time that Starlette takes for the headers."""

    def __init__(self, content: BaseModel, *headers: tuple[bytes, bytes]) -> None:
        self.status_code = HTTPStatus.OK
        self.background = None
        # serialised by pydantic itself: FastAPI would validate again what has just been built
        # exclude_unset: a problem in a batch may have no `limit`
        self.body = content.model_dump_json(exclude_unset=True).encode()
        length = (b"content-length", b"%d" % len(self.body))
        self.raw_headers = [(b"content-type", b"application/json"), length, *headers]


def _check_cost(upload: Upload, *, spent: float) -> None:
    """Refuse a picture if decoding it may take more milliseconds than the batch has left."""
    if spent + upload.cost > MAX_BATCH_COST:
        msg = (
            f"The pictures before this one took {spent:.0f} ms of processor time; this one may take "
            f"{upload.cost:.0f} ms, and a request is allowed {MAX_BATCH_COST:.0f} ms. "
            "Send it in another batch."
        )
        raise BatchTooLarge(msg, limit=round(MAX_BATCH_COST))


def describe_model(model: Model) -> ModelRef:
    """Return the name and version of a model."""
    return _describe_version(model.name, model.network.recipe_version)


@lru_cache(maxsize=64)  # validation takes as long as looking at a small picture does
def _describe_version(name: str, recipe_version: str) -> ModelRef:
    return ModelRef(name=name, version=recipe_version)


def describe_upload(upload: CanonicalUpload) -> PreparedPicture:
    """Return what an answer tells of an upload, besides the scores."""
    picture, form, found, scores = upload
    box = picture.map_to_original(form.box)
    info = ImageInfo(width=picture.width, height=picture.height, polarity=form.polarity, box=box)
    cautions = dict.fromkeys(form.cautions)
    if found:
        cautions["several_digits"] = None
    others = [
        OtherDigit(digit=digit, confidence=certainty, box=picture.map_to_original(box))
        for digit, certainty, box in found
    ]
    return PreparedPicture(form.picture, scores, info, others, list(cautions))


def build_predictions(
    pictures: Sequence[PreparedPicture], scores: Scores, model: ModelRef, *, view: bool = False
) -> list[Prediction]:
    """Return the answers for pictures that a network has scored; `view` adds what it saw."""
    rows = scores.probabilities.tolist()
    likelihoods = [None] * len(rows) if scores.digit_likelihood is None else scores.digit_likelihood.tolist()
    return [
        Prediction(
            digit=probabilities.index(confidence := max(probabilities)),
            confidence=confidence,
            probabilities=probabilities,
            is_digit=likelihood is None or likelihood >= MIN_DIGIT_LIKELIHOOD,
            digit_likelihood=likelihood,
            model=model,
            image=picture.image,
            others=picture.others,
            warnings=picture.cautions,
            view=encode_data_url(picture.canonical) if view else None,
        )
        for picture, probabilities, likelihood in zip(pictures, rows, likelihoods, strict=True)
    ]


def encode_data_url(picture: CanonicalPicture) -> str:
    """Return a picture as a PNG `data:` URL."""
    _, png = cv2.imencode(".png", picture)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
