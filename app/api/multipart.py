"""multipart/form-data, in memory: the guard limits the body, so that nothing need be spooled to a disk.

Starlette's own parser makes a temporary file of every part, and writes to it in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.problems import MalformedRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

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
    if not options.get(b"boundary"):
        msg = (
            "The Content-Type multipart/form-data names no boundary. Let your HTTP library write the header."
        )
        raise MalformedRequest(msg)
    form = _Form(field.encode(), most=most)
    try:
        MultipartParser(options[b"boundary"], form.callbacks()).write(body)
    except FormParserError as error:
        msg = f"The body is no multipart/form-data: {error}."
        raise MalformedRequest(msg) from None
    if not form.ended:
        msg = "The multipart/form-data breaks off: its closing boundary is missing. Send the whole of it."
        raise MalformedRequest(msg)
    return [bytes(part) for part in form.found]


class _Form:
    """Takes the parser's callbacks."""

    def __init__(self, field: bytes, *, most: int) -> None:
        self.found: list[bytearray] = []
        self.ended = False
        self._field = field
        self._most = most
        self._others = 0
        self._header = b""
        self._value = b""
        self._name: bytes | None = None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._name = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name")
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        if self._name != self._field:
            self._others += 1
        elif len(self.found) == self._most:
            raise TooManyParts
        else:
            self.found.append(bytearray())
        if self._others > MAX_OTHERS:
            msg = f"more than {MAX_OTHERS} parts are not named {self._field.decode()!r}"
            raise FormParserError(msg)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._field:
            self.found[-1] += memoryview(data)[start:end]

    def _end(self) -> None:
        self.ended = True
