"""Messages whose parsing would cost too much, refused before they are parsed.

A message of 32 MiB may hold 16 million empty tensors, each of which becomes an object. Its fields are counted
here without parsing any, and the count ends at the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from ..api.json_body import MAX_VALUES
from ..digits.contract import SIDE
from ..wire.problems import BatchTooLarge, MalformedRequest

PIXEL_BYTES: Final = 2  # at most, in `uint_contents`: seven bits a byte
MAX_VARINT_BYTES: Final = 10
# wire types: https://protobuf.dev/programming-guides/encoding/
_VARINT: Final = 0
_LENGTH: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
_OPAQUE_TYPES: Final = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})


class _Malformed(Exception):
    """The bytes are no message."""


def check_cost(data: bytes, descriptor: Any, *, max_pictures: int) -> None:  # noqa: ANN401  protobuf has no types
    """Check that a message has no more fields, and no longer lists of numbers, than its pictures need.

    Raises:
        BatchTooLarge: it has more.
        MalformedRequest: it is no message.
    """
    fields_left = max_pictures + MAX_VALUES
    list_bytes_left = max_pictures * SIDE * SIDE * PIXEL_BYTES + MAX_VALUES
    try:
        for list_bytes in _walk(data, descriptor):
            fields_left -= 1
            list_bytes_left -= list_bytes
            if min(fields_left, list_bytes_left) < 0:
                msg = f"The message has more values than {max_pictures} pictures have. Send them in several."
                raise BatchTooLarge(msg, limit=max_pictures)
    except (_Malformed, IndexError):
        msg = f"The {len(data)} bytes of the message are not protobuf. Send what the protocol defines."
        raise MalformedRequest(msg) from None


def _walk(data: bytes, descriptor: Any) -> Iterator[int]:  # noqa: ANN401
    """Yield for each field how many bytes it has if it is a list of numbers, and 0 for others."""
    pending = [(0, len(data), descriptor)]  # parts of the data that are messages
    while pending:
        position, end, kind = pending.pop()
        while position < end:
            tag, position = _read_varint(data, position)
            if tag & 7 == _LENGTH:
                length, start = _read_varint(data, position)
                position = start + length
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    pending.append((start, position, field.message_type))
                is_list = field is not None and not field.message_type and field.type not in _OPAQUE_TYPES
                yield length if is_list else 0
            else:
                position = _skip_number(data, position, tag & 7)
                yield 0
        if position > end:
            raise _Malformed


def _skip_number(data: bytes, position: int, wire_type: int) -> int:
    """Return where the next field begins."""
    if wire_type == _VARINT:
        return _read_varint(data, position)[1]
    if wire_type not in _FIXED_BYTES:  # a group, which the protocol does not have
        raise _Malformed
    return position + _FIXED_BYTES[wire_type]


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and the position after it."""
    value = 0
    for index in range(MAX_VARINT_BYTES):
        byte = data[position + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:  # noqa: PLR2004  the eighth bit says that there are more
            return value, position + index + 1
    raise _Malformed
