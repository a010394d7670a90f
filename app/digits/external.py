"""Detect ONNX files that keep some of their weights in other files, which the file's hash does not cover.

onnxruntime reads such files from the working folder even if it is given bytes, and has no option to prevent
that. `onnx` is not a dependency of the service, so this module itself walks through the messages that lead to
tensors: see onnx/onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .protobuf import parse_fields

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


def has_external_data(onnx: bytes) -> bool:
    """Tell whether the data of any tensor, at any depth, is outside the file.

    Raises:
        ValueError: the bytes are not protobuf.
    """
    pending = [("Model", memoryview(onnx))]
    while pending:
        message, content = pending.pop()
        for number, value in parse_fields(content):
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
