"""The three ways to send pictures, distinguished by Content-Type: multipart, raw bytes, JSON.

JSON has the picture's file in base64, or its pixels as numbers.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from ..digits.errors import DigitsError
from ..feedback.labels import LABELS, format_label
from ..wire.problems import BatchTooLarge, EmptyBatch, MalformedRequest, UnsupportedMediaType
from ..wire.scope import get_header, get_headers
from . import base64_text, json_body, multipart, pixels
from .json_body import Body
from .schemas import JsonFeedback, JsonPicture, JsonPictures
from .work import attempt, run_in_thread

MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
_BINARY_TYPES: Final = frozenset({BYTES, "application/x-image"})  # the latter is Amazon SageMaker's
# Bodies up to this length are parsed on the event loop: parsing takes at most a millisecond, whatever the
# content, and a thread would cost more.
MAX_INLINE_BODY: Final = 65_536  # bytes
MAX_PIXEL_NUMBERS: Final = 512 * 512  # in one body: parsing them holds Python's lock for 20 ms
MAX_PIXEL_ROWS: Final = 4096  # in one body: a parsed row takes 300 bytes besides its numbers
MAX_QUOTED: Final = 64  # characters of a header or field that an error repeats

Parsed = TypeVar("Parsed")


async def read_picture(request: Request, *, default_type: str = "") -> bytes:
    """Return the single picture of a request; `default_type` stands for a missing Content-Type.

    Raises:
        UnsupportedMediaType: the Content-Type is not supported, or the body is compressed or base64 text.
        MalformedRequest: the body is not what its Content-Type says, or holds no picture.
        BodyTooLarge, SlowUpload, PredictionTimeout, ClientDisconnect: see `read_body`.
    """
    picture, _ = await _read_picture(request, JsonPicture, fields=("file",), default_type=default_type)
    return picture


async def read_feedback(request: Request) -> tuple[bytes, int | None]:
    """Return the single picture of a request and its correct digit, or None if the picture shows no digit.

    The digit is in the query, in the form or in the JSON; it may be in several of them if they agree.

    Raises:
        MalformedRequest: there is no digit, or there are several; other errors are those of `read_picture`.
    """
    picture, labels = await _read_picture(request, JsonFeedback, fields=("file", "digit"))
    return picture, _choose_digit({*labels, *request.query_params.getlist("digit")})


async def read_pictures(request: Request, *, max_pictures: int) -> Sequence[bytes | DigitsError]:
    """Return the pictures of a batch in the order sent, with an error in place of each malformed one.

    Raises:
        EmptyBatch, BatchTooLarge: there is no picture, or more than `max_pictures`; other errors are those of
            `read_picture`.
    """
    media_type = get_media_type(request)
    if media_type == MULTIPART:
        header = request.headers["content-type"]
        return await read_body(request, partial(_parse_batch_form, header, max_pictures=max_pictures))
    if media_type == JSON:
        return await read_body(request, partial(_parse_json_batch, max_pictures=max_pictures))
    raise build_unsupported_type(media_type, f"{MULTIPART} or {JSON}")


async def read_body(request: Request, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return the parsed body of a request; a large body is parsed in a thread.

    Raises:
        UnsupportedMediaType: the body is compressed.
        BodyTooLarge, SlowUpload: see `app.guard.bodies`.
        PredictionTimeout, ClientDisconnect: see `app.api.work.run_in_thread`.
    """
    body = await receive_body(request)
    if len(body) <= MAX_INLINE_BODY:
        return parse(body)
    return await run_in_thread(partial(parse, body), request)


async def _read_picture(
    request: Request, schema: type[JsonPicture], *, fields: Sequence[str], default_type: str = ""
) -> tuple[bytes, Sequence[str]]:
    """Return the single picture of a request, and the labels that the body gives it."""
    media_type = get_media_type(request) or default_type
    if media_type.startswith("image/") or media_type in _BINARY_TYPES:
        return _check_binary(await receive_body(request), "body"), ()
    if media_type == MULTIPART:
        return await read_body(request, partial(_parse_form, request.headers["content-type"], fields))
    if media_type == JSON:
        return await read_body(request, partial(_parse_json, schema))
    raise build_unsupported_type(media_type, f"image/*, {BYTES}, {MULTIPART} or {JSON}")


async def receive_body(request: Request) -> bytes:
    """Return the body of a request, in a fifth of the time that Starlette's `Request.body` takes.

    Raises:
        UnsupportedMediaType: it is compressed.
        BodyTooLarge, SlowUpload: see `app.guard.bodies`.
        ClientDisconnect: the client has hung up.
    """
    _check_not_encoded(request)
    chunks: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _check_not_encoded(request: Request) -> None:
    if b"content-encoding" not in get_headers(request.scope):
        return
    codings = ", ".join(request.headers.getlist("content-encoding"))
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings.split(",")):
        msg = (
            f"The Content-Encoding {codings[:MAX_QUOTED]!r} is not supported here. Send the body as it is: "
            "pictures are compressed already."
        )
        raise UnsupportedMediaType(msg)


def get_media_type(request: Request) -> str:
    """Return the Content-Type of a request without its parameters, or an empty text if it has none."""
    content_type = get_header(request.scope, b"content-type").decode("latin-1")
    return content_type.partition(";")[0].strip().lower()


def build_unsupported_type(media_type: str, accepted_types: str) -> UnsupportedMediaType:
    """Return the problem of a request whose Content-Type is none of those that its route accepts."""
    reason = "The request has no Content-Type"
    if media_type:
        reason = f"The Content-Type {media_type[:MAX_QUOTED]!r} is not supported here"
    return UnsupportedMediaType(f"{reason}. Send {accepted_types}.")


def _parse_json(schema: type[JsonPicture], body: bytes) -> tuple[bytes, Sequence[str]]:
    try:
        parsed = _parse_pictures(body, schema)
    except json_body.TooManyValues:
        msg = (
            f"The JSON has more than {MAX_PIXEL_NUMBERS} numbers, which is a picture of 512x512 pixels. "
            "Send a larger picture as a file, or in base64."
        )
        raise MalformedRequest(msg, limit=MAX_PIXEL_NUMBERS) from None
    labels = (format_label(parsed.digit),) if isinstance(parsed, JsonFeedback) else ()
    return decode_json_image(parsed.image, "image"), labels


def _parse_pictures(body: bytes, schema: type[Body], *, max_values: int = json_body.MAX_VALUES) -> Body:
    return json_body.parse(
        body, schema, max_values=max_values, max_numbers=MAX_PIXEL_NUMBERS, max_lists=MAX_PIXEL_ROWS
    )


def decode_json_image(image: str | list[Any], where: str) -> bytes:
    """Return the file of a picture in JSON: what the base64 text holds, or a PNG of the pixels.

    Raises:
        MalformedRequest: it is neither.
    """
    return base64_text.decode(image, where) if isinstance(image, str) else pixels.encode_rows(image, where)


def _parse_form(content_type: str, fields: Sequence[str], body: bytes) -> tuple[bytes, Sequence[str]]:
    parts = multipart.read_parts(body, content_type, limits=dict.fromkeys(fields, 1), required="file")
    (picture,) = parts["file"]
    labels = [part[:MAX_QUOTED].decode(errors="replace") for part in parts.get("digit", ())]
    return _check_binary(picture, "field 'file'"), labels


def _parse_json_batch(body: bytes, *, max_pictures: int) -> list[bytes | DigitsError]:
    max_values = max_pictures + json_body.MAX_VALUES  # MAX_VALUES does not count the pictures
    try:
        images = _parse_pictures(body, JsonPictures, max_values=max_values).images
    except (json_body.TooManyValues, json_body.TooLongValues):
        raise _build_batch_too_large(max_pictures) from None
    if not images:
        msg = "The batch is empty: 'images' has no pictures. Send at least one."
        raise EmptyBatch(msg)
    if len(images) > max_pictures:
        raise _build_batch_too_large(max_pictures)
    return [
        attempt(partial(decode_json_image, where=f"images.{index}"), image)
        for index, image in enumerate(images)
    ]


def _parse_batch_form(content_type: str, body: bytes, *, max_pictures: int) -> list[bytes | DigitsError]:
    try:
        parts = multipart.read_parts(body, content_type, limits={"files": max_pictures}, required="files")
    except multipart.TooManyParts:
        raise _build_batch_too_large(max_pictures) from None
    return [
        attempt(partial(_check_binary, where=f"field 'files' (index {index})"), part)
        for index, part in enumerate(parts["files"])
    ]


def _choose_digit(labels: set[str]) -> int | None:
    if not labels:
        msg = "The correct digit is missing. Send it as the field 'digit' of a form, or as ?digit=7."
        raise MalformedRequest(msg)
    quoted = " and as ".join(map(reprlib.repr, sorted(labels)[:3]))
    if len(labels) > 1:
        msg = f"The correct digit is given as {quoted}. Send one."
        raise MalformedRequest(msg)
    (label,) = labels
    if label not in LABELS:
        msg = f"The correct digit is given as {quoted}. Send 0 to 9, or 'none' if the picture shows no digit."
        raise MalformedRequest(msg)
    return LABELS[label]


def _check_binary(data: bytes, where: str) -> bytes:
    """Return the bytes of a picture; refuse base64 text, which belongs in JSON."""
    if base64_text.looks_like_base64(data):
        msg = f"The {where} is base64 text. Send the bytes of the file itself, or the text as JSON ({JSON})."
        raise UnsupportedMediaType(msg)
    return data


def _build_batch_too_large(max_pictures: int) -> BatchTooLarge:
    msg = f"There are more than {max_pictures} pictures in the batch. Send them in several batches."
    return BatchTooLarge(msg, limit=max_pictures)
