"""Methods of gRPC give what /v2 gives."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from app.rpc.messages import CLASSES
from tests.api.v2.wire import image_input, infer, outputs, picture_input
from tests.conftest import GOLDEN
from tests.rpc.calling import (
    Answer,
    Caller,
    build,
    build_request,
    image_tensor,
    picture_tensor,
    serve_grpc,
)

PICTURES = [(GOLDEN / name).read_bytes() for name in ("3-canvas-black-on-white.png", "7-photo.jpg")]
IMAGES = np.random.default_rng(1).integers(0, 256, (2, 28, 28), np.uint8)
DTYPES = {"FP32": "<f4", "INT64": "<i8"}
Status = grpc.StatusCode


def read_outputs(answer: Answer) -> dict[str, NDArray[Any]]:
    assert answer.code is Status.OK, answer.detail
    tensors, raw = answer.message.outputs, answer.message.raw_output_contents
    return {
        tensor.name: np.frombuffer(data, DTYPES[tensor.datatype]).reshape(list(tensor.shape))
        for tensor, data in zip(tensors, raw, strict=True)
    }


def prefix_length(*elements: bytes) -> bytes:
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


@pytest.mark.parametrize(
    "request_message",
    [
        build_request(image_tensor(2), raw_input_contents=[IMAGES.tobytes()]),
        build_request(image_tensor(2, uint_contents=IMAGES.ravel().tolist())),
    ],
    ids=["raw", "typed"],
)
def test_images_give_the_outputs_of_v2(caller: Caller, request_message: bytes) -> None:
    expected = outputs(infer(caller.http, image_input(IMAGES, binary=True)))
    found = read_outputs(caller.call("ModelInfer", request_message))
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


@pytest.mark.parametrize("compression", list(grpc.Compression))
@pytest.mark.parametrize("raw", [True, False])
def test_pictures_give_the_outputs_of_v2(caller: Caller, compression: grpc.Compression, *, raw: bool) -> None:
    expected = outputs(infer(caller.http, picture_input(PICTURES, binary=True)))
    tensor = picture_tensor(*PICTURES)
    members = {}
    if raw:
        del tensor["contents"]
        members["raw_input_contents"] = [prefix_length(*PICTURES)]
    answer = caller.infer(tensor, options={"compression": compression}, **members)
    np.testing.assert_allclose(read_outputs(answer)["probabilities"], expected["probabilities"], rtol=1e-6)
    assert read_outputs(answer)["digit"].tolist() == [3, 7]


def test_the_answer_names_the_model_its_version_and_the_id(caller: Caller) -> None:
    message = caller.infer(picture_tensor(PICTURES[0]), id="eleven", model_version="1").message
    assert (message.model_name, message.model_version, message.id) == ("cnn", "1", "eleven")


def test_a_request_chooses_its_outputs_and_classes(caller: Caller) -> None:
    requested = [
        {"name": "digit"},
        {"name": "probabilities", "parameters": {"classification": {"int64_param": 1}}},
    ]
    message = caller.infer(picture_tensor(PICTURES[1]), outputs=requested).message
    assert [(output.name, output.datatype) for output in message.outputs] == [
        ("digit", "INT64"),
        ("probabilities", "BYTES"),
    ]
    assert message.raw_output_contents[1][4:].endswith(b":7")


def test_metadata_are_those_of_v2(caller: Caller) -> None:
    for method, members, path in (
        ("ServerMetadata", {}, "/v2"),
        ("ModelMetadata", {"name": "cnn"}, "/v2/models/cnn"),
        ("ModelMetadata", {"name": "finder", "version": "1"}, "/v2/models/finder/versions/1"),
    ):
        message = caller.call(method, build(f"{method}Request", **members)).message
        assert message == CLASSES[f"{method}Response"](**caller.http.get(path).json())


def test_a_model_is_ready_or_not(caller: Caller) -> None:
    for name, version, expected in (
        ("cnn", "", True),
        ("cnn", "1", True),
        ("cnn", "2", False),
        ("x", "", False),
    ):
        message = caller.call("ModelReady", build("ModelReadyRequest", name=name, version=version)).message
        assert message.ready is expected


def test_the_server_is_live_ready_and_healthy(caller: Caller) -> None:
    assert caller.call("ServerLive").message.live
    assert caller.call("ServerReady").message.ready
    for service in ("", "inference.GRPCInferenceService"):
        assert caller.call("Check", build("HealthCheckRequest", service=service)).message.status == 1
    unknown = caller.call("Check", build("HealthCheckRequest", service="other"))
    assert (unknown.code, unknown.detail) == (
        Status.NOT_FOUND,
        "The service 'other' does not exist. See /docs for the paths that do.",
    )


def test_a_method_that_does_not_exist_is_unimplemented(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        caller.channel.unary_unary("/inference.GRPCInferenceService/ModelConfig")(b"")
    assert caught.value.code() is Status.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("tensor", "model", "code"),
    [
        ({"name": "picture", "datatype": "BYTES", "shape": [1]}, "vgg", Status.NOT_FOUND),
        ({"name": "picture", "datatype": "BYTES", "shape": [1]}, "finder", Status.INVALID_ARGUMENT),
        ({"name": "image", "datatype": "FP32", "shape": [1, 28, 28]}, "cnn", Status.INVALID_ARGUMENT),
        ({"name": "image", "datatype": "UINT8", "shape": [2, 28, 28]}, "cnn", Status.INVALID_ARGUMENT),
        ({"name": "image", "datatype": "UINT8", "shape": [65, 28, 28]}, "cnn", Status.INVALID_ARGUMENT),
        ({"name": "image", "datatype": "UINT8", "shape": [0, 28, 28]}, "cnn", Status.INVALID_ARGUMENT),
        ({"name": "picture", "datatype": "BYTES", "shape": [2]}, "cnn", Status.INVALID_ARGUMENT),
    ],
)
def test_errors_are_those_of_v2(
    caller: Caller, tensor: dict[str, Any], model: str, code: grpc.StatusCode
) -> None:
    data = prefix_length(b"no picture") if tensor["name"] == "picture" else bytes(784)
    binary_tensor = {**tensor, "parameters": {"binary_data_size": len(data)}}
    expected = infer(caller.http, (binary_tensor, data), model=model).json()["error"]
    answer = caller.infer(tensor, model_name=model, raw_input_contents=[data])
    assert (answer.code, answer.detail) == (code, expected)


def test_an_error_has_the_code_of_its_problem_and_the_id_of_the_request(caller: Caller) -> None:
    blank = (GOLDEN.parent / "hostile" / "white.png").read_bytes()
    answer = caller.infer(picture_tensor(blank), options={"metadata": {"x-request-id": "mine"}})
    assert answer.code is Status.INVALID_ARGUMENT
    assert answer.detail.startswith("picture[0]: ")
    assert answer.metadata == {"problem-code": "no_ink", "x-request-id": "mine"}


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"inputs": []}, "There are 0 inputs. Send one"),
        ({"inputs": [image_tensor()] * 2}, "There are 2 inputs. Send one"),
        (
            {"inputs": [image_tensor()]},
            "has 0 'raw_input_contents' and 0 values in 'uint_contents' for input 'image'. Send one of them",
        ),
        (
            {"inputs": [image_tensor(uint_contents=[0] * 784)], "raw_input_contents": [bytes(784)]},
            "has 1 'raw_input_contents' and 784 values in 'uint_contents'",
        ),
        (
            {"inputs": [image_tensor(uint_contents=[256] * 784)]},
            "Value 0 of input 'image' is 256. Send whole",
        ),
        (
            {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1]}]},
            "The message can't be accepted: inputs.0.name: Input should be 'image' or 'picture'.",
        ),
        ({"inputs": [image_tensor()], "id": "x" * 1025}, "The message can't be accepted: id: String should"),
        (
            {"inputs": [image_tensor(uint_contents=[0] * 784)], "outputs": [{"name": "digits"}]},
            "The output 'digits' of 'cnn' does not exist. The outputs are probabilities",
        ),
    ],
)
def test_what_is_wrong_with_a_message_is_said(caller: Caller, members: dict[str, Any], detail: str) -> None:
    answer = caller.call("ModelInfer", build("ModelInferRequest", model_name="cnn", **members))
    assert answer.code is Status.INVALID_ARGUMENT
    assert detail in answer.detail


def test_base64_in_a_message_is_named(caller: Caller) -> None:
    answer = caller.infer(picture_tensor(base64.b64encode(PICTURES[0])))
    assert answer.code is Status.INVALID_ARGUMENT
    assert answer.metadata["problem-code"] == "unsupported_media_type"


def test_models_are_listed_unloaded_and_loaded() -> None:
    with serve_grpc(api_keys=("a key of some length",)) as caller:
        caller.metadata["x-api-key"] = "a key of some length"
        states = {model.name: model.state for model in caller.call("RepositoryIndex").message.models}
        assert states["linear"] == "READY"
        triton = build("RepositoryModelUnloadRequest", model_name="linear")
        assert caller.call("RepositoryModelUnload", triton).code is Status.OK
        ready = caller.call("RepositoryIndex", build("RepositoryIndexRequest", ready=True)).message.models
        assert {model.name for model in ready} == states.keys() - {"linear"}
        kserve = build("RepositoryModelLoadRequest", repository_name="linear")  # their field 1 is the model
        loaded = caller.call("RepositoryModelLoad", kserve).message
        assert (loaded.model_name, loaded.is_done) == ("linear", True)
        refusals: list[tuple[str, dict[str, Any], grpc.StatusCode, str]] = [
            (
                "RepositoryModelUnload",
                {"model_name": "cnn"},
                Status.FAILED_PRECONDITION,
                "'cnn' is the default",
            ),
            ("RepositoryModelLoad", {"model_name": "vgg"}, Status.NOT_FOUND, "no model 'vgg'"),
            (
                "RepositoryModelLoad",
                {"model_name": "linear", "parameters": {"config": {"string_param": "{}"}}},
                Status.INVALID_ARGUMENT,
                "parameters.config: Extra inputs are not permitted",
            ),
        ]
        for method, members, code, detail in refusals:
            answer = caller.call(method, build(f"{method}Request", **members))
            assert answer.code is code
            assert detail in answer.detail


def test_without_configured_keys_the_repository_is_forbidden(caller: Caller) -> None:
    for method in ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"):
        answer = caller.call(method)
        assert (answer.code, answer.metadata["problem-code"]) == (Status.PERMISSION_DENIED, "forbidden")
        assert "set DIGITS_API_KEYS_FILE" in answer.detail


def test_timings_are_sent_with_the_answer(caller: Caller) -> None:
    metadata = caller.infer(picture_tensor(PICTURES[0])).metadata
    assert metadata["server-timing"].startswith("decode;dur=")
    assert metadata["x-request-id"]
