"""The codec: what is written comes back, in JSON and in binary; of chance comes a refusal."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.api.v2 import tensors
from app.api.v2.tensors import Output
from app.wire.problems import BatchTooLarge, EmptyBatch, MalformedRequest, RequestProblem
from tests.api.v2 import wire

MAX_PICTURES = 4
IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, MAX_PICTURES), st.just(28), st.just(28)))
PICTURES = st.lists(st.binary(max_size=50), min_size=1, max_size=MAX_PICTURES)
VALUES = {
    "FP32": arrays.arrays(np.float32, arrays.array_shapes(max_dims=2), elements=st.floats(0, 1, width=32)),
    "INT64": arrays.arrays(np.int64, arrays.array_shapes(max_dims=1)),
    "BYTES": arrays.arrays(np.str_, arrays.array_shapes(max_dims=2), elements=st.text("0.:9", max_size=12)),
}
OUTPUTS = st.lists(
    st.one_of(
        *(
            st.builds(Output, st.just("o"), st.just(datatype), values, st.booleans())
            for datatype, values in VALUES.items()
        )
    ),
    max_size=4,
)


def decode(content: bytes, headers: dict[str, str]) -> Any:  # noqa: ANN401  either kind of pictures
    length = headers.get("Inference-Header-Content-Length")
    return tensors.decode_request(content, json_length=length, max_pictures=MAX_PICTURES).pictures


@given(values=IMAGES, binary=st.booleans())
def test_images_are_decoded_to_what_was_encoded(values: Any, *, binary: bool) -> None:  # noqa: ANN401
    np.testing.assert_array_equal(decode(*wire.body(wire.image_input(values, binary=binary))), values)


@given(values=IMAGES)
def test_images_may_be_flat_in_json(values: Any) -> None:  # noqa: ANN401
    tensor, _ = wire.image_input(values, binary=False)
    tensor["data"] = values.ravel().tolist()
    np.testing.assert_array_equal(decode(*wire.body((tensor, b""))), values)


@given(pictures=PICTURES, binary=st.booleans())
def test_pictures_are_decoded_to_what_was_encoded(pictures: list[bytes], *, binary: bool) -> None:
    assert decode(*wire.body(wire.picture_input(pictures, binary=binary))) == pictures


@given(outputs=OUTPUTS)
def test_outputs_are_decoded_to_what_was_encoded(outputs: list[Output]) -> None:
    described, binary = tensors.encode_outputs(outputs)
    for output, tensor in zip(outputs, described, strict=True):
        if tensor.parameters:
            size = tensor.parameters.binary_data_size
            data = wire.read(binary[:size], tensor.datatype)
            binary = binary[size:]
        else:
            data = tensor.data
        np.testing.assert_array_equal(
            np.array(data, output.values.dtype).reshape(tensor.shape), output.values
        )
    assert not binary


@given(content=st.binary(max_size=300), length=st.none() | st.text("0123456789-. ", max_size=4))
def test_arbitrary_bytes_are_refused(content: bytes, length: str | None) -> None:
    with pytest.raises(RequestProblem):
        tensors.decode_request(content, json_length=length, max_pictures=MAX_PICTURES)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    data=ANY_JSON, shape=st.lists(st.integers(-1, 30), max_size=4) | ANY_JSON, binary=st.binary(max_size=40)
)
def test_arbitrary_tensors_are_refused_or_read(data: Any, shape: Any, binary: bytes) -> None:  # noqa: ANN401
    for name, datatype in (("image", "UINT8"), ("picture", "BYTES")):
        tensor = {"name": name, "datatype": datatype, "shape": shape, "data": data}
        for one in ((tensor, b""), (tensor | {"parameters": {"binary_data_size": len(binary)}}, binary)):
            with suppress(RequestProblem):
                assert 1 <= len(decode(*wire.body(one))) <= MAX_PICTURES


@pytest.mark.parametrize("end", [0, 1, 3, 4, 5, 10, -1])
def test_truncated_binary_pictures_are_refused_with_their_index(end: int) -> None:
    tensor, data = wire.picture_input([b"one", b"two", b"three"], binary=True)
    cut = data[:end]
    tensor["parameters"]["binary_data_size"] = len(cut)
    content, _ = wire.body((tensor, cut))
    text = str(len(content) - len(cut))
    with pytest.raises(RequestProblem, match=r"picture\[[012]\] of 3 reaches beyond the \d+ bytes"):
        tensors.decode_request(content, json_length=text, max_pictures=MAX_PICTURES)


def test_the_batch_is_bounded_before_numbers_become_objects() -> None:
    flood = b'{"inputs": [' + b"0," * (MAX_PICTURES * 784 + 2000)
    with pytest.raises(BatchTooLarge, match="more values than 4 pictures have"):
        tensors.decode_request(flood, json_length=None, max_pictures=MAX_PICTURES)


def test_a_large_tensor_of_short_numbers_is_accepted() -> None:
    tensor, _ = wire.image_input(np.zeros((MAX_PICTURES, 28, 28), np.uint8), binary=False)
    content, _ = wire.body((tensor, b""))
    indented = json.dumps(json.loads(content), indent=16).encode()
    assert (
        len(tensors.decode_request(indented, json_length=None, max_pictures=MAX_PICTURES).pictures)
        == MAX_PICTURES
    )
    with pytest.raises(MalformedRequest, match="more than 128 bytes each on average"):
        tensors.decode_request(
            indented.replace(b"\n", b"\n" + b" " * 100), json_length=None, max_pictures=MAX_PICTURES
        )


@pytest.mark.parametrize("binary", [True, False])
def test_no_pictures_and_too_many_are_refused(binary: bool) -> None:  # noqa: FBT001
    for count, problem in ((0, EmptyBatch), (MAX_PICTURES + 1, BatchTooLarge)):
        with pytest.raises(problem):
            decode(*wire.body(wire.picture_input([b"x"] * count, binary=binary)))
        with pytest.raises(problem):
            decode(*wire.body(wire.image_input(np.zeros((count, 28, 28), np.uint8), binary=binary)))
