"""multipart/form-data, in memory: the guard limits the body, so that nothing need be spooled to a disk.

Starlette's own parser makes a temporary file of every part, writes to it in a thread, and takes three times
as long to tell the parts apart.
"""

from __future__ import annotations

from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from app.wire.problems import MalformedRequest

# parts that are not asked for: browsers' forms have a few, which are ignored
MAX_UNEXPECTED_PARTS: Final = 16


class TooManyParts(Exception):
    """The form has more parts of the field than are wanted; the rest has not been parsed."""


def read_parts(body: bytes, content_type: str, *, field: str, max_parts: int) -> list[bytes]:
    """Return the contents of the parts named `field`, in the order sent.

    Raises:
        MalformedRequest: the body is no multipart/form-data, or breaks off.
        TooManyParts: there are more than `max_parts`.
    """
    _, options = parse_options_header(content_type)
    if not options.get("boundary"):
        msg = (
            "The Content-Type multipart/form-data names no boundary. Let your HTTP library write the header."
        )
        raise MalformedRequest(msg)
    try:
        # strict: a header in a thousand continued lines would be joined and decoded again for each
        parser = PushMultipartParser(options["boundary"], strict=True)
        contents = _collect_parts(parser, body, field=field, max_parts=max_parts)
    except MultipartError as error:
        error.__traceback__ = None  # the parser keeps the error, whose frames would keep parser and body
        msg = f"The body is not multipart/form-data: {error}."
        raise MalformedRequest(msg) from None
    try:
        parser.close()
    except MultipartError:
        msg = "The multipart/form-data is cut off: its closing boundary is missing. Send all of it."
        raise MalformedRequest(msg) from None
    return contents


def _collect_parts(parser: PushMultipartParser, body: bytes, *, field: str, max_parts: int) -> list[bytes]:
    pieces_by_part: list[list[bytes]] = []  # of each part wanted its pieces: nearly always one
    unexpected = 0
    is_expected = False
    for event in parser.parse(body):
        if isinstance(event, MultipartSegment):
            is_expected = event.name == field
            unexpected += not is_expected
            if unexpected > MAX_UNEXPECTED_PARTS:
                msg = (
                    f"The form has more than {MAX_UNEXPECTED_PARTS} parts that are not named {field!r}. "
                    "Leave them out."
                )
                raise MalformedRequest(msg)
            if is_expected and len(pieces_by_part) == max_parts:
                raise TooManyParts
            if is_expected:
                pieces_by_part.append([])
        elif is_expected and event is not None:
            pieces_by_part[-1].append(event)
    return [b"".join(pieces) for pieces in pieces_by_part]
