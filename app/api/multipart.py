"""multipart/form-data, in memory: the guard limits the body, so that nothing need be spooled to a disk.

Starlette's own parser makes a temporary file of every part, writes to it in a thread, and takes three times
as long to tell the parts apart.
"""

from __future__ import annotations

from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from app.wire.problems import MalformedRequest

MAX_OTHERS: Final = 16  # parts that are not asked for: browsers' forms have a few, which are ignored


class TooManyParts(Exception):
    """The form has more parts of the field than are wanted; the rest has not been parsed."""


def parts(body: bytes, content_type: str, *, field: str, most: int) -> list[bytes]:
    """Return the contents of the parts named `field`, in the order sent.

    Raises:
        MalformedRequest: the body is no multipart/form-data, or breaks off.
        TooManyParts: there are more than `most`.
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
        found = _found(parser, body, field=field, most=most)
    except MultipartError as error:
        error.__traceback__ = None  # the parser keeps the error, whose frames would keep parser and body
        msg = f"The body is no multipart/form-data: {error}."
        raise MalformedRequest(msg) from None
    try:
        parser.close()
    except MultipartError:
        msg = "The multipart/form-data breaks off: its closing boundary is missing. Send the whole of it."
        raise MalformedRequest(msg) from None
    return found


def _found(parser: PushMultipartParser, body: bytes, *, field: str, most: int) -> list[bytes]:
    found: list[list[bytes]] = []  # of each part wanted its pieces: nearly always one
    others = 0
    wanted = False
    for event in parser.parse(body):
        if isinstance(event, MultipartSegment):
            wanted = event.name == field
            others += not wanted
            if others > MAX_OTHERS:
                msg = (
                    f"The form has more than {MAX_OTHERS} parts that are not named {field!r}. Leave them out."
                )
                raise MalformedRequest(msg)
            if wanted and len(found) == most:
                raise TooManyParts
            if wanted:
                found.append([])
        elif wanted and event is not None:
            found[-1].append(event)
    return [b"".join(pieces) for pieces in found]
