"""The three ways to send pictures, told apart by Content-Type: multipart, raw bytes, JSON."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import unquote

from pydantic import ValidationError
from starlette.requests import Request

from app.api import multipart
from app.api.problems import BatchTooLarge, EmptyBatch, MalformedRequest, UnsupportedMediaType
from app.api.schemas import JsonFeedback, JsonPicture, JsonPictures, Wire
from app.digits.contract import CLASSES

MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
NO_DIGIT: Final = "none"
# as forms and queries tell them
DIGITS: Final[dict[str, int | None]] = {**{str(digit): digit for digit in range(CLASSES)}, NO_DIGIT: None}
_DATA_URL: Final = re.compile(
    r"\s*data:[^,]*?(?P<base64>;\s*base64\s*)?,(?P<data>.*)", re.IGNORECASE | re.DOTALL
)
Body = TypeVar("Body", bound=Wire)


async def picture(request: Request) -> bytes:
    """Return the one picture of a request.

    Raises:
        UnsupportedMediaType: the Content-Type is none of the three ways.
        MalformedRequest: the body is not what its Content-Type says, or holds no picture.
        BodyTooLarge, SlowUpload: see `app.guard.bodies`.
    """
    kind = _media_type(request)
    if kind.startswith("image/") or kind == BYTES:
        return await request.body()
    if kind == MULTIPART:
        (data,) = await _parts(request, "file", most=1)
        return data
    if kind == JSON:
        return decoded(parsed(await request.body(), JsonPicture).image, "image")
    raise _unsupported(kind, f"image/*, {BYTES}, {MULTIPART} or {JSON}")


async def judged(request: Request) -> tuple[bytes, int | None]:
    """Return the one picture of a request and its right digit, None where it holds none.

    The digit is in the query, the form or the JSON; in several of them if they agree.

    Raises:
        UnsupportedMediaType, MalformedRequest, BodyTooLarge, SlowUpload: as `picture` does.
    """
    kind = _media_type(request)
    told = set(request.query_params.getlist("digit"))
    if kind == JSON:
        body = parsed(await request.body(), JsonFeedback)
        data = decoded(body.image, "image")
        told.add(NO_DIGIT if body.digit is None else str(body.digit))
    else:
        data = await picture(request)
        if kind == MULTIPART and (field := await _field(request, "digit")) is not None:
            told.add(field)
    if not told:
        msg = "The right digit is missing. Send it as the field 'digit' of a form, or as ?digit=7."
        raise MalformedRequest(msg)
    if len(told) > 1:
        msg = f"The right digit is told as {' and as '.join(map(repr, sorted(told)))}. Send one."
        raise MalformedRequest(msg)
    (digit,) = told
    if digit not in DIGITS:
        msg = f"The right digit is {digit!r}. Send 0 to 9, or {NO_DIGIT!r} where the picture holds none."
        raise MalformedRequest(msg)
    return data, DIGITS[digit]


async def pictures(request: Request, *, most: int) -> Sequence[bytes | MalformedRequest]:
    """Return the pictures of a batch, in the order sent; a text that is no base64 as its problem.

    Raises:
        UnsupportedMediaType, MalformedRequest, BodyTooLarge, SlowUpload: as `picture` does.
        EmptyBatch: there is none.
        BatchTooLarge: there are more than `most`.
    """
    kind = _media_type(request)
    if kind == MULTIPART:
        return await _parts(request, "files", most=most)
    if kind != JSON:
        raise _unsupported(kind, f"{MULTIPART} or {JSON}")
    texts = parsed(await request.body(), JsonPictures).images
    if not texts:
        msg = "The batch is empty: 'images' has no pictures. Send at least one."
        raise EmptyBatch(msg)
    if len(texts) > most:
        raise _too_many(most)
    return [_attempted(text, f"images.{index}") for index, text in enumerate(texts)]


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported(kind: str, ways: str) -> UnsupportedMediaType:
    said = f"The Content-Type {kind!r} is not read here" if kind else "The request has no Content-Type"
    return UnsupportedMediaType(f"{said}. Send {ways}.")


async def _parts(request: Request, field: str, *, most: int) -> list[bytes]:
    body, kind = await request.body(), request.headers["content-type"]
    try:
        found = multipart.parts(body, kind, field=field, most=most)
    except multipart.TooManyParts:
        if most == 1:
            msg = "There are several pictures, /predict takes one. /predict/batch takes several."
            raise MalformedRequest(msg) from None
        raise _too_many(most) from None
    if not found:
        msg = f"The form has no field {field!r}. Send the picture in it, as a file."
        raise MalformedRequest(msg)
    return found


async def _field(request: Request, field: str) -> str | None:
    """Return the text of a form's field, None if the form does not have it."""
    try:
        found = multipart.parts(await request.body(), request.headers["content-type"], field=field, most=1)
    except multipart.TooManyParts:
        msg = f"The form has the field {field!r} twice. Send it once."
        raise MalformedRequest(msg) from None
    return found[0].decode(errors="replace") if found else None


def _too_many(most: int) -> BatchTooLarge:
    msg = f"There are more than {most} pictures in the batch. Send them in several batches."
    return BatchTooLarge(msg, limit=most)


def parsed(json: bytes, body: type[Body]) -> Body:
    """Return what a JSON text says.

    Raises:
        MalformedRequest: it is none, or not what `body` wants.
    """
    try:
        return body.model_validate_json(json.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the body"
        msg = f"The JSON is not as it should be: {where}: {wrong['msg']}."
        raise MalformedRequest(msg) from None


def decoded(text: str, where: str) -> bytes:
    """Decode base64 or a base64 `data:` URL; as in browsers, blanks and missing padding pass.

    Raises:
        MalformedRequest: it is neither.
    """
    url = _DATA_URL.fullmatch(text)
    if url:
        if not url["base64"]:
            msg = f"The data: URL in {where!r} is not in base64. Send one that begins data:image/png;base64."
            raise MalformedRequest(msg)
        text = unquote(url["data"])
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"The text in {where!r} is no base64: {error}. Send the file's bytes in standard base64."
        raise MalformedRequest(msg) from None


def _attempted(text: str, where: str) -> bytes | MalformedRequest:
    try:
        return decoded(text, where)
    except MalformedRequest as error:
        return error
