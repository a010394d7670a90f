"""The three ways to send pictures, told apart by Content-Type: multipart, raw bytes, JSON."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from starlette.requests import Request

from app.api import base64_text, json_body, multipart
from app.api.schemas import JsonFeedback, JsonPicture, JsonPictures
from app.api.work import attempt, run_in_thread
from app.digits.errors import DigitsError
from app.feedback.labels import LABELS, NO_DIGIT
from app.wire.problems import BatchTooLarge, EmptyBatch, MalformedRequest, UnsupportedMediaType

MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
# Bodies up to this length are parsed on the event loop: that takes a millisecond at most, whatever they hold,
# and less than handing them to a thread is worth.
MAX_INLINE_BODY: Final = 65_536  # bytes
MAX_QUOTED: Final = 64  # characters of a header that an error repeats

Parsed = TypeVar("Parsed")


async def read_picture(request: Request) -> bytes:
    """Return the one picture of a request.

    Raises:
        UnsupportedMediaType: the Content-Type is none of the three ways, or the body is encoded or text.
        MalformedRequest: the body is not what its Content-Type says, or holds no picture.
        BodyTooLarge, SlowUpload: see `app.guard.bodies`.
        TooSlow, ClientDisconnect: see `app.api.work.run_in_thread`.
    """
    kind = _media_type(request)
    if kind.startswith("image/") or kind == BYTES:
        _check_not_encoded(request)
        return _check_binary(await request.body(), "body")
    if kind == MULTIPART:
        return await read_body(request, partial(_read_file, request.headers["content-type"]))
    if kind == JSON:
        return await read_body(request, _read_json_picture)
    raise _build_unsupported_type(kind, f"image/*, {BYTES}, {MULTIPART} or {JSON}")


async def read_feedback(request: Request) -> tuple[bytes, int | None]:
    """Return the one picture of a request and its right digit, None where it holds none.

    The digit is in the query, the form or the JSON; in several of them if they agree.

    Raises:
        UnsupportedMediaType, MalformedRequest, BodyTooLarge, SlowUpload: as `read_picture` does.
    """
    kind = _media_type(request)
    digits = set(request.query_params.getlist("digit"))
    if kind == JSON:
        data, digit = await read_body(request, _read_json_feedback)
        digits.add(digit)
    else:
        data = await read_picture(request)
    if kind == MULTIPART:
        digits |= await read_body(request, partial(_read_digits, request.headers["content-type"]))
    return data, _choose_digit(digits)


async def read_pictures(request: Request, *, most: int) -> Sequence[bytes | DigitsError]:
    """Return the pictures of a batch, in the order sent; one that is not what it should be as its problem.

    Raises:
        UnsupportedMediaType, MalformedRequest, BodyTooLarge, SlowUpload: as `read_picture` does.
        EmptyBatch: there is none.
        BatchTooLarge: there are more than `most`.
    """
    kind = _media_type(request)
    if kind == MULTIPART:
        return await read_body(
            request, partial(_read_files, request.headers["content-type"], max_pictures=most)
        )
    if kind == JSON:
        return await read_body(request, partial(_read_json_pictures, max_pictures=most))
    raise _build_unsupported_type(kind, f"{MULTIPART} or {JSON}")


async def read_body(request: Request, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return what `parse` makes of a request's body, off the event loop where that may take long.

    Raises:
        UnsupportedMediaType: the body is compressed.
        BodyTooLarge, SlowUpload: see `app.guard.bodies`.
        TooSlow, ClientDisconnect: see `app.api.work.run_in_thread`.
    """
    _check_not_encoded(request)
    body = await request.body()
    if len(body) <= MAX_INLINE_BODY:
        return parse(body)
    return await run_in_thread(partial(parse, body), request)


def _check_not_encoded(request: Request) -> None:
    codings = ", ".join(request.headers.getlist("content-encoding"))
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings.split(",")):
        msg = (
            f"The Content-Encoding {codings[:MAX_QUOTED]!r} is not supported here. Send the body as it "
            "is, without it: "
            "pictures are compressed already."
        )
        raise UnsupportedMediaType(msg)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _build_unsupported_type(kind: str, accepted_types: str) -> UnsupportedMediaType:
    sent = (
        f"The Content-Type {kind[:MAX_QUOTED]!r} is not read here"
        if kind
        else "The request has no Content-Type"
    )
    return UnsupportedMediaType(f"{sent}. Send {accepted_types}.")


def _read_json_picture(body: bytes) -> bytes:
    return base64_text.decode(json_body.parse(body, JsonPicture).image, "image")


def _read_json_feedback(body: bytes) -> tuple[bytes, str]:
    feedback = json_body.parse(body, JsonFeedback)
    digit = NO_DIGIT if feedback.digit is None else str(feedback.digit)
    return base64_text.decode(feedback.image, "image"), digit


def _read_json_pictures(body: bytes, *, max_pictures: int) -> list[bytes | DigitsError]:
    try:
        texts = json_body.parse(body, JsonPictures, max_values=max_pictures + json_body.MAX_VALUES).images
    except json_body.TooManyValues:
        raise _build_batch_too_large(max_pictures) from None
    if not texts:
        msg = "The batch is empty: 'images' has no pictures. Send at least one."
        raise EmptyBatch(msg)
    if len(texts) > max_pictures:
        raise _build_batch_too_large(max_pictures)
    return [
        attempt(partial(base64_text.decode, where=f"images.{index}"), text)
        for index, text in enumerate(texts)
    ]


def _read_file(content_type: str, body: bytes) -> bytes:
    try:
        (data,) = _read_parts(content_type, body, field="file", max_parts=1)
    except multipart.TooManyParts:
        msg = "There are several pictures, /predict takes one. /predict/batch takes several."
        raise MalformedRequest(msg) from None
    return _check_binary(data, "field 'file'")


def _read_files(content_type: str, body: bytes, *, max_pictures: int) -> list[bytes | DigitsError]:
    try:
        parts = _read_parts(content_type, body, field="files", max_parts=max_pictures)
    except multipart.TooManyParts:
        raise _build_batch_too_large(max_pictures) from None
    return [
        attempt(partial(_check_binary, where=f"field 'files' (number {index})"), part)
        for index, part in enumerate(parts)
    ]


def _read_parts(content_type: str, body: bytes, *, field: str, max_parts: int) -> list[bytes]:
    parts = multipart.read_parts(body, content_type, field=field, max_parts=max_parts)
    if not parts:
        msg = f"The form has no field {field!r}. Send the picture in it, as a file."
        raise MalformedRequest(msg)
    return parts


def _read_digits(content_type: str, body: bytes) -> set[str]:
    """Return the text of a form's field `digit`, if it has one."""
    try:
        parts = multipart.read_parts(body, content_type, field="digit", max_parts=1)
    except multipart.TooManyParts:
        msg = "The form has the field 'digit' twice. Send it once."
        raise MalformedRequest(msg) from None
    return {part[:MAX_QUOTED].decode(errors="replace") for part in parts}


def _choose_digit(digits: set[str]) -> int | None:
    if not digits:
        msg = "The right digit is missing. Send it as the field 'digit' of a form, or as ?digit=7."
        raise MalformedRequest(msg)
    if len(digits) > 1:
        sent = " and as ".join(map(reprlib.repr, sorted(digits)[:3]))
        msg = f"The right digit is given as {sent}. Send one."
        raise MalformedRequest(msg)
    (digit,) = digits
    if digit not in LABELS:
        msg = (
            f"The right digit is {reprlib.repr(digit)}. "
            f"Send 0 to 9, or {NO_DIGIT!r} where the picture holds none."
        )
        raise MalformedRequest(msg)
    return LABELS[digit]


def _check_binary(data: bytes, where: str) -> bytes:
    """Return a picture's file, unless it is base64 text of one: that belongs into JSON."""
    if base64_text.looks_like_base64(data):
        msg = f"The {where} is base64 text. Send the bytes of the file itself, or the text in JSON: {JSON}."
        raise UnsupportedMediaType(msg)
    return data


def _build_batch_too_large(max_pictures: int) -> BatchTooLarge:
    msg = f"There are more than {max_pictures} pictures in the batch. Send them in several batches."
    return BatchTooLarge(msg, limit=max_pictures)
