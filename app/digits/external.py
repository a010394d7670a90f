"""Detect ONNX files that keep some of their weights in other files, which the file's hash does not cover.

onnxruntime reads such files from the working folder even if it is given bytes, and has no option to prevent
that. `onnx` is not a dependency of the service, so this module parses protobuf's wire format itself, in the
messages that lead to tensors: https://protobuf.dev/programming-guides/encoding/ and onnx/onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

# message → field number → message in that field; all other fields are skipped
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL_DATA: Final = 13  # field number in Tensor: entries that say where its data is
_DATA_LOCATION: Final = 14  # field number in Tensor: an enumeration, 0 for the file itself
_ENUMERATION_BITS: Final = 0xFFFFFFFF  # parsers keep the lowest 32 bits of an enumeration
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_VARINT_BYTES: Final = 10


def has_external_data(onnx: bytes) -> bool:
    """Tell whether the data of any tensor, at any depth, is outside the file.

    Raises:
        ValueError: the bytes are not protobuf.
    """
    pending = [("Model", memoryview(onnx))]
    while pending:
        message, content = pending.pop()
        for number, value in _parse_fields(content):
            if message == "Tensor" and _is_external(number, value):
                return True
            submessage = _MESSAGES[message].get(number)
            if submessage and isinstance(value, memoryview):
                pending.append((submessage, value))
    return False


def _is_external(number: int, value: int | memoryview) -> bool:
    if isinstance(value, int):
        return number == _DATA_LOCATION and bool(value & _ENUMERATION_BITS)
    return number == _EXTERNAL_DATA


def _parse_fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
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
