"""multipart/form-data, parsed in memory: the guard limits the body, so nothing is written to a disk.

Starlette's own parser creates a temporary file for every part, writes to it in a thread, and takes three
times as long to split the parts.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping, Sized
from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from ..wire.problems import MalformedRequest

MAX_UNEXPECTED_PARTS: Final = 16  # ignored parts: forms of browsers have a few


class TooManyParts(MalformedRequest, code=MalformedRequest.code, status=MalformedRequest.status_hint):
    """The form has a field more often than allowed; the rest of it has not been parsed."""


def read_parts(
    body: bytes, content_type: str, *, limits: Mapping[str, int], required: str
) -> dict[str, list[bytes]]:
    """Return the contents of the parts in the order sent, by their names; `limits` has the names to read.

    Raises:
        MalformedRequest: the body is not multipart/form-data, is cut off, or lacks the required part.
        TooManyParts: a name occurs more often than allowed.
    """
    _, options = parse_options_header(content_type)
    if not options.get("boundary"):
        msg = "The Content-Type multipart/form-data has no boundary. Let your HTTP library write the header."
        raise MalformedRequest(msg)
    try:
        # strict: a header in a thousand continued lines would be joined and decoded again for each
        parser = PushMultipartParser(options["boundary"], strict=True)
        parts, others = _collect_parts(parser, body, limits)
    except MultipartError as error:
        error.__traceback__ = None  # the parser keeps the error, whose frames would keep parser and body
        msg = f"The body is not multipart/form-data: {error}."
        raise MalformedRequest(msg) from None
    try:
        parser.close()
    except MultipartError:
        msg = "The multipart/form-data is cut off: its closing boundary is missing. Send all of it."
        raise MalformedRequest(msg) from None
    if not parts[required]:
        found = " and ".join([repr(name) for name in parts if parts[name]] + list(others))
        msg = (
            f"The form has no field {required!r}{f', only {found}' if found else ''}. Send the picture in it."
        )
        raise MalformedRequest(msg)
    return parts


def _collect_parts(
    parser: PushMultipartParser, body: bytes, limits: Mapping[str, int]
) -> tuple[dict[str, list[bytes]], Collection[str]]:
    """Return the parts to read, and the quoted names of others."""
    parts: dict[str, list[list[bytes]]] = {name: [] for name in limits}  # each part in pieces, mostly one
    pieces: list[bytes] | None = None  # of the current part, None if it is ignored
    others: list[str] = []
    for event in parser.parse(body):
        if isinstance(event, MultipartSegment):
            pieces = None
            if event.name in limits:
                parts[event.name].append(pieces := [])
            else:
                others.append(reprlib.repr(event.name))
            _check_count(parts, limits, len(others))
        elif pieces is not None and event is not None:
            pieces.append(event)
    contents = {name: list(map(b"".join, same_name)) for name, same_name in parts.items()}
    return contents, dict.fromkeys(others).keys()


def _check_count(parts: Mapping[str, Sized], limits: Mapping[str, int], unexpected: int) -> None:
    if unexpected > MAX_UNEXPECTED_PARTS:
        names = " or ".join(map(repr, limits))
        msg = f"The form has more than {MAX_UNEXPECTED_PARTS} parts that are not named {names}. Omit them."
        raise MalformedRequest(msg)
    for name, limit in limits.items():
        if len(parts[name]) > limit:
            msg = f"Only {limit} part named {name!r} is allowed. Send several pictures to /predict/batch."
            raise TooManyParts(msg)
