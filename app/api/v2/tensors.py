"""Tensors as JSON, or as binary data that follows the JSON: bytes to arrays, and back. Does no I/O.

`app.rpc` reads and writes the same tensors as protobuf messages.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...digits.contract import INPUT, SIDE, DigitBatch
from ...wire.problems import BatchTooLarge, EmptyBatch, MalformedRequest
from .. import base64_text, json_body
from .schemas import BinarySize, InferRequest, InputTensor, OutputTensor, TensorInfo

IMAGE_INPUT: Final = TensorInfo(name=INPUT, datatype="UINT8", shape=[-1, SIDE, SIDE])
PICTURE_INPUT: Final = TensorInfo(name="picture", datatype="BYTES", shape=[-1])
INPUTS: Final[Mapping[str, TensorInfo]] = {info.name: info for info in (IMAGE_INPUT, PICTURE_INPUT)}
INTEGER: Final = re.compile(r"[0-9]{1,18}")  # Python refuses to parse a number of 5,000 digits
LENGTH_BYTES: Final = 4  # bytes of the length that precedes each element of a BYTES tensor

Pictures: TypeAlias = Sequence[bytes]  # encoded, as uploads are
Values: TypeAlias = NDArray[np.float32] | NDArray[np.int64] | NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Inference:
    """A request: its JSON, and its pictures, either canonical or encoded."""

    request: InferRequest
    pictures: DigitBatch | Pictures


@dataclass(frozen=True, slots=True)
class Output:
    """An output tensor, and whether it is sent as binary data."""

    name: str
    datatype: str
    values: Values
    binary: bool


def decode_request(body: bytes, *, json_length: str | None, max_pictures: int) -> Inference:
    """Decode the body of an inference request.

    `json_length` is the header Inference-Header-Content-Length; without it, all of the body is JSON.

    Raises:
        MalformedRequest: the body does not conform to the protocol; the text says where.
        EmptyBatch, BatchTooLarge: there is no picture, or there are more than `max_pictures`.
    """
    json, binary = _split_body(body, json_length)
    try:
        request = json_body.parse(
            json,
            InferRequest,
            max_values=max_pictures + json_body.MAX_VALUES,
            max_numbers=max_pictures * SIDE * SIDE,
        )
    except json_body.TooManyValues:
        msg = f"The JSON has more values than {max_pictures} pictures have. Send them in several requests."
        raise BatchTooLarge(msg, limit=max_pictures) from None
    tensor = get_input(request)
    return Inference(request, read_pictures(tensor, _choose_data(tensor, binary), max_pictures=max_pictures))


def get_input(request: InferRequest) -> InputTensor:
    """Return the only input of a request.

    Raises:
        MalformedRequest: there is none, or there are several.
    """
    if len(request.inputs) != 1:
        expected = f"{_describe_input(IMAGE_INPUT)}, or {_describe_input(PICTURE_INPUT)}"
        msg = f"There are {len(request.inputs)} inputs. Send one: {expected}."
        raise MalformedRequest(msg)
    return request.inputs[0]


def read_pictures(
    tensor: InputTensor, data: bytes | list[Any], *, max_pictures: int
) -> DigitBatch | Pictures:
    """Return the pictures of an input, whose data is binary or a list of values.

    Raises:
        MalformedRequest: the data does not agree with the shape and type of the input, or these are wrong.
        EmptyBatch, BatchTooLarge: there is no picture, or there are more than `max_pictures`.
    """
    _check_shape(tensor, max_pictures)
    read = _read_images if tensor.name == INPUT else _read_uploads
    return read(data, tensor.shape[0])


def encode_outputs(outputs: Sequence[Output]) -> tuple[list[OutputTensor], bytes]:
    """Return the description of the outputs for the JSON, and the binary data that follows it."""
    binary = [encode_output(output) if output.binary else b"" for output in outputs]
    tensors = [
        OutputTensor(
            name=output.name,
            datatype=output.datatype,
            shape=list(output.values.shape),
            parameters=BinarySize(binary_data_size=len(data)) if output.binary else None,
            data=None if output.binary else output.values.ravel().tolist(),
        )
        for output, data in zip(outputs, binary, strict=True)
    ]
    return tensors, b"".join(binary)


def _split_body(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    if json_length is None:
        return body, b""
    length = int(json_length) if INTEGER.fullmatch(json_length) else -1
    if not 0 <= length <= len(body):
        msg = (
            f"The Inference-Header-Content-Length is {json_length[:64]!r}, the body has {len(body)} bytes. "
            "Send the length of the JSON that the body begins with."
        )
        raise MalformedRequest(msg)
    return body[:length], body[length:]


def _choose_data(tensor: InputTensor, binary: bytes) -> bytes | list[Any]:
    """Return the data of a request's only input, from the JSON or from the binary data after it."""
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        has = "neither 'data' nor" if size is None else "both 'data' and"
        msg = f"Input {tensor.name!r} has {has} 'binary_data_size'. Send one of them."
        raise MalformedRequest(msg)
    if (size or 0) != len(binary):
        msg = (
            f"The input's 'binary_data_size' is {size or 0}, but {len(binary)} bytes follow the JSON. "
            "Inference-Header-Content-Length is the JSON's length alone."
        )
        raise MalformedRequest(msg)
    return binary if tensor.data is None else tensor.data


def _check_shape(tensor: InputTensor, max_pictures: int) -> None:
    expected, shape = INPUTS[tensor.name], reprlib.repr(tensor.shape)
    if tensor.datatype != expected.datatype or tensor.shape[1:] != expected.shape[1:] or not tensor.shape:
        sent = f"{tensor.datatype[:64]} {shape}"
        msg = f"Input {tensor.name!r} is {sent}. Send {_describe_input(expected)}."
        raise MalformedRequest(msg)
    count = tensor.shape[0]
    if count < 1:
        msg = f"Input {tensor.name!r} has the shape {shape}: no pictures. Send at least one."
        raise EmptyBatch(msg)
    if count > max_pictures:
        msg = (
            f"There are {reprlib.repr(count)} pictures in the request, at most {max_pictures} are taken. "
            "Send several requests."
        )
        raise BatchTooLarge(msg, limit=max_pictures)


def _read_images(data: bytes | list[Any], count: int) -> DigitBatch:
    pixels = data if isinstance(data, bytes) else _to_bytes(data)
    _check_count(IMAGE_INPUT, len(pixels), [count, SIDE, SIDE])
    return np.frombuffer(pixels, np.uint8).reshape(count, SIDE, SIDE)


def _to_bytes(data: list[Any]) -> bytes:
    """Return the pixels of a list, flat or nested in any way: the shape says how they are arranged."""
    while data and set(map(type, data)) == {list}:
        data = list(chain.from_iterable(data))
    if set(map(type, data)) <= {int}:  # `bool` is another type
        try:
            return bytes(data)
        except ValueError:
            pass
    is_pixel = [type(value) is int and 0 <= value <= 255 for value in data]  # noqa: PLR2004
    index = is_pixel.index(False)
    quoted = data[index][:64] if isinstance(data[index], str) else reprlib.repr(data[index])
    msg = f"Value {index} of input {IMAGE_INPUT.name!r} is {quoted}. Send whole numbers from 0 to 255."
    raise MalformedRequest(msg)


def _read_uploads(data: bytes | list[Any], count: int) -> Pictures:
    if isinstance(data, bytes):
        return list(_split_elements(data, count))
    _check_count(PICTURE_INPUT, len(data), [count])
    return [_decode_upload(text, f"{PICTURE_INPUT.name}[{index}]") for index, text in enumerate(data)]


def _decode_upload(text: object, where: str) -> bytes:
    if isinstance(text, bytes):  # protobuf has them, JSON does not
        return text
    if not isinstance(text, str):
        msg = f"{where} is not a string. Send each picture's bytes in base64, or all of them as binary data."
        raise MalformedRequest(msg)
    return base64_text.decode(text, where)


def _split_elements(data: bytes, count: int) -> Iterator[bytes]:
    end = 0
    for index in range(count):
        start = end + LENGTH_BYTES
        end = start + int.from_bytes(data[end:start], "little")
        if end > len(data):
            msg = (
                f"{PICTURE_INPUT.name}[{index}] of {count} reaches beyond the {len(data)} bytes of the "
                f"input. Send each element's length, {LENGTH_BYTES} bytes, little-endian, before its bytes."
            )
            raise MalformedRequest(msg)
        yield data[start:end]
    if end < len(data):
        extra = len(data) - end
        msg = f"{extra} bytes follow the {count} elements of {PICTURE_INPUT.name!r}. Leave them out."
        raise MalformedRequest(msg)


def encode_output(output: Output) -> bytes:
    """Return the values of an output as binary data."""
    if output.datatype != "BYTES":
        return output.values.astype(output.values.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [str(text).encode() for text in output.values.ravel()]
    return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in texts)


def _describe_input(info: TensorInfo) -> str:
    shape = str(["n", *info.shape[1:]]).replace("'", "")
    return f"{info.name!r} as {info.datatype} {shape}"


def _check_count(info: TensorInfo, count: int, shape: list[int]) -> None:
    expected = np.prod(shape)
    if count != expected:
        msg = f"Input {info.name!r} has {count} values, its shape {shape} holds {expected}. Make them agree."
        raise MalformedRequest(msg)
