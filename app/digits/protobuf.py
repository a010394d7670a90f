"""Protobuf's wire format, as far as ONNX files need it: the service has no dependency that knows it.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_VARINT_BYTES: Final = 10


def parse_fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and value of each field of a message; those of a fixed size are skipped.

    Raises:
        ValueError: the bytes are not protobuf.
    """
    offset = 0
    while offset < len(content):
        tag, offset = _read_varint(content, offset)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, offset = _read_varint(content, offset)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, offset = _read_varint(content, offset)
        elif wire_type in {_FIXED64, _FIXED32}:
            size = 8 if wire_type == _FIXED64 else 4
        else:
            msg = f"a field has the wire type {wire_type}"
            raise ValueError(msg)
        if size > len(content) - offset:
            msg = "it ends within a field"
            raise ValueError(msg)
        if wire_type == _BYTES:
            yield number, content[offset : offset + size]
        offset += size


def _read_varint(content: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for position, byte in enumerate(content[offset : offset + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:  # noqa: PLR2004  the highest bit says that more bytes follow
            return value, offset + position + 1
    msg = "it ends within a number"
    raise ValueError(msg)


def encode_field(number: int, content: bytes) -> bytes:
    """Return a field that holds text or a message."""
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
