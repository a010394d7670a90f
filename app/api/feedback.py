"""`POST /feedback`: store a picture and its correct digit; off unless a database is configured."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from ..feedback.labels import LABELS
from ..state import get_state
from ..wire.problems import FeedbackFull, FeedbackUnavailable, Forbidden, UnknownFeedback
from ..wire.scope import get_client
from . import openapi, uploads
from .errors import require_key
from .predict import ModelName
from .reader import DigitReader
from .schemas import Feedback

if TYPE_CHECKING:
    from ..feedback.async_store import AsyncStore

router = APIRouter(tags=["feedback"])

Digit = Annotated[
    str | SkipJsonSchema[None],
    Query(
        description="The correct digit of a picture that is sent as bytes.",
        json_schema_extra={"enum": list(LABELS)},
    ),
]
_STORE_PROBLEMS: Final = (Forbidden, FeedbackFull, FeedbackUnavailable)
_ID: Final = re.compile("[0-9a-f]{64}")  # anything else is not looked up in the database
Identity = Annotated[str, Path(description="The SHA-256 of the picture's bytes.", examples=[64 * "0"])]


@router.post(
    "/feedback",
    status_code=HTTPStatus.CREATED,
    openapi_extra=openapi.FEEDBACK_BODY,
    response_model=Feedback,
    responses={
        HTTPStatus.OK: {"model": Feedback},
        HTTPStatus.CREATED: {"description": "The picture is new."},
        **openapi.describe_problems(*openapi.PICTURE_PROBLEMS, *_STORE_PROBLEMS),
    },
)
async def give_feedback(
    request: Request,
    digit: Digit = None,  # noqa: ARG001  for the OpenAPI document; `read_feedback` reads it
    model: ModelName = None,
) -> Response:
    """Store a picture and its correct digit; if the picture is known, replace its digit."""
    state = get_state(request)
    store = _require_store(request)
    selected_model = state.catalogue.get(model)
    store.check(get_client(request.scope))
    reader = DigitReader(request, selected_model)
    picture, correct_digit = await uploads.read_feedback(request)
    feedback, is_new = await store_picture(reader, store, picture, correct_digit)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return Response(feedback.model_dump_json(), status, media_type=uploads.JSON)


async def store_picture(
    reader: DigitReader, store: AsyncStore, picture: bytes, correct_digit: int | None
) -> tuple[Feedback, bool]:
    """Read a picture, and store it with its correct digit; return what is stored, and whether it is new.

    Raises:
        DigitsError: the picture can't be read, or can't be stored.
    """
    with store.admit(get_client(reader.request.scope)):
        # places are held while the picture is read, and not while it is stored
        prediction = await reader.predict(picture)
        reader.stages.note_digits([(prediction.digit, prediction.confidence)])
        picture_id, is_new = await store.save(
            picture,
            digit=correct_digit,
            prediction=prediction.model_dump(),
            sha256=reader.model.classifier.sha256,
        )
    reader.state.metrics.count_feedback(
        reader.model.name, right=correct_digit == (prediction.digit if prediction.is_digit else None)
    )
    return Feedback(id=picture_id, digit=correct_digit, prediction=prediction), is_new


@router.delete(
    "/feedback/{id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_description="The picture has been deleted.",
    responses=openapi.describe_problems(Forbidden, UnknownFeedback, FeedbackUnavailable),
)
async def delete_feedback(request: Request, id: Identity) -> Response:  # noqa: A002  its name in the path
    """Delete a picture and all that is stored with it. Needs a key."""
    store = _require_store(request)
    require_key(request, "delete pictures")
    if not _ID.fullmatch(id) or not await store.delete(id):
        msg = f"No picture {id!r} is kept. The id is the SHA-256 of the picture's bytes."
        raise UnknownFeedback(msg)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _require_store(request: Request) -> AsyncStore:
    store = get_state(request).feedback_store
    if store is None:
        msg = "This service does not keep pictures: no database is configured (DIGITS_FEEDBACK_URL)."
        raise Forbidden(msg)
    return store
