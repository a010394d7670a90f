"""What clients that others wrote say of the service: tritonclient and KServe's.

    .venv-clients/bin/python tests/api/v2/clients.py HOST:PORT KEY PICTURE…

`test_clients.py` runs it, in the clients' own environment. Prints JSON: each check's name, and its traceback
if it failed. The pictures' names begin with their digits.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferResponse, RequestedOutput
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from numpy.typing import NDArray

ADDRESS, KEY, *FILES = sys.argv[1:] or ["", ""]
UPLOADS: Final = [Path(file).read_bytes() for file in FILES]
DIGITS: Final = [int(Path(file).name[0]) for file in FILES]
HEADERS: Final = {"X-API-Key": KEY}
BLANK: Final = np.zeros((2, 28, 28), np.uint8)
FIRST: Final = "1"  # of `cnn`; it does not tell the likelihood of a digit
SECOND: Final = "2"
Result = TypeVar("Result")


def build_picture_input(*, binary: bool) -> triton.InferInput:
    elements = UPLOADS if binary else [base64.b64encode(upload).decode() for upload in UPLOADS]
    tensor = triton.InferInput("picture", [len(UPLOADS)], "BYTES")
    return tensor.set_data_from_numpy(np.array(elements, np.object_), binary_data=binary)


def build_image_input(values: NDArray[np.uint8], *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("image", list(values.shape), "UINT8")
    return tensor.set_data_from_numpy(values, binary_data=binary)


def infer_with_triton(tensor: triton.InferInput, model: str = "cnn", **options: object) -> triton.InferResult:
    with triton.InferenceServerClient(ADDRESS) as client:
        return client.infer(model, [tensor], headers=dict(HEADERS), **options)


@contextmanager
def expect_refusal(status: int, detail: str) -> Iterator[None]:
    caught = None
    try:
        yield
    except InferenceServerException as error:
        caught = error
    assert caught, f"there was no error {status}"
    assert caught.status() == str(status), caught.status()
    assert detail in caught.message(), caught.message()


def triton_finds_the_server_live_and_ready_without_a_key() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        assert client.is_server_live()
        assert client.is_server_ready()


def triton_reads_the_servers_metadata() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        metadata = client.get_server_metadata(headers=HEADERS)
    assert metadata["name"] == "digits"
    assert set(metadata["extensions"]) == {"binary_tensor_data", "classification", "model_repository"}


def triton_reads_a_models_metadata_with_and_without_its_version() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        metadata = client.get_model_metadata("cnn", headers=HEADERS)
        assert metadata == client.get_model_metadata("cnn", SECOND, headers=HEADERS)
        first = client.get_model_metadata("cnn", FIRST, headers=HEADERS)
    assert metadata["versions"] == first["versions"] == [FIRST, SECOND]
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["image", "picture"]
    assert [tensor["name"] for tensor in first["outputs"]] == ["probabilities", "digit"]


def triton_finds_a_model_ready_and_an_unknown_one_not() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        assert client.is_model_ready("cnn", headers=HEADERS)
        assert client.is_model_ready("cnn", FIRST, headers=HEADERS)
        assert client.is_model_ready("cnn", SECOND, headers=HEADERS)
        assert not client.is_model_ready("cnn", "3", headers=HEADERS)
        assert not client.is_model_ready("vgg", headers=HEADERS)


def triton_gets_the_same_for_images_in_json_and_in_binary() -> None:
    one = infer_with_triton(build_image_input(BLANK, binary=True), request_id="both ways")
    other = infer_with_triton(
        build_image_input(BLANK, binary=False),
        outputs=[triton.InferRequestedOutput("probabilities", binary_data=False)],
    )
    assert one.get_response()["id"] == "both ways"
    assert one.get_response()["model_version"] == SECOND
    np.testing.assert_array_equal(one.as_numpy("probabilities"), other.as_numpy("probabilities"))
    assert one.as_numpy("probabilities").shape == (2, 10)
    assert one.as_numpy("probabilities").dtype == np.float32
    assert one.as_numpy("digit").dtype == np.int64
    assert one.as_numpy("digit_likelihood").shape == (2,)
    assert other.as_numpy("digit") is None


def triton_reads_uploads_as_raw_bytes_and_as_base64() -> None:
    for binary in (True, False):
        assert infer_with_triton(build_picture_input(binary=binary)).as_numpy("digit").tolist() == DIGITS


def triton_names_a_version() -> None:
    assert (
        infer_with_triton(build_picture_input(binary=True), model_version=SECOND).as_numpy("digit").tolist()
        == DIGITS
    )
    assert (
        infer_with_triton(build_picture_input(binary=True), model_version=FIRST).as_numpy("digit_likelihood")
        is None
    )
    with expect_refusal(404, "no model 'cnn@3'. The models are cnn@1, cnn@2"):
        infer_with_triton(build_picture_input(binary=True), model_version="3")


def triton_gets_classes_in_binary_and_in_json() -> None:
    for binary in (True, False):
        output = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)
        classes = infer_with_triton(build_picture_input(binary=True), outputs=[output]).as_numpy(
            "probabilities"
        )
        assert classes.shape == (len(DIGITS), 3)
        texts = [best.decode() if isinstance(best, bytes) else best for best in classes[:, 0]]
        assert [int(text.split(":")[1]) for text in texts] == DIGITS
        assert all(0.5 < float(text.split(":")[0]) <= 1 for text in texts)


def triton_compresses_both_ways() -> None:
    for coding in ("gzip", "deflate"):
        for binary in (True, False):
            found = infer_with_triton(
                build_image_input(np.zeros((64, 28, 28), np.uint8), binary=binary),
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            assert found.as_numpy("digit").shape == (64,)


def triton_asks_many_at_once() -> None:
    with triton.InferenceServerClient(ADDRESS, concurrency=4) as client:
        waiting = [
            client.async_infer("cnn", [build_picture_input(binary=True)], headers=dict(HEADERS))
            for _ in range(8)
        ]
        assert all(one.get_result().as_numpy("digit").tolist() == DIGITS for one in waiting)


def triton_gets_errors_as_its_exception() -> None:
    with expect_refusal(404, "no model 'vgg'"):
        infer_with_triton(build_image_input(BLANK), "vgg")
    with expect_refusal(400, "There are 2 inputs"), triton.InferenceServerClient(ADDRESS) as client:
        client.infer(
            "cnn", [build_image_input(BLANK), build_picture_input(binary=False)], headers=dict(HEADERS)
        )
    with expect_refusal(400, "FP32 [1, 28, 28]"):
        floats = triton.InferInput("image", [1, 28, 28], "FP32")
        infer_with_triton(floats.set_data_from_numpy(np.zeros((1, 28, 28), np.float32)))
    with expect_refusal(400, "'nothing' of 'cnn' does not exist"):
        infer_with_triton(build_image_input(BLANK), outputs=[triton.InferRequestedOutput("nothing")])
    with expect_refusal(415, "picture[1]: "):
        tensor = triton.InferInput("picture", [2], "BYTES")
        infer_with_triton(tensor.set_data_from_numpy(np.array([UPLOADS[0], b"no picture"], np.object_)))
    with expect_refusal(401, "no key"), triton.InferenceServerClient(ADDRESS) as client:
        client.infer("cnn", [build_image_input(BLANK)])
    with expect_refusal(404, "does not exist"), triton.InferenceServerClient(ADDRESS) as client:
        client.get_model_config("cnn", headers=HEADERS)


def triton_unloads_a_model_and_loads_it_again() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        before = client.get_model_repository_index(headers=HEADERS)
        assert {entry["state"] for entry in before} == {"READY"}
        client.unload_model("linear", headers=HEADERS)
        states = {
            entry["name"]: entry["state"] for entry in client.get_model_repository_index(headers=HEADERS)
        }
        assert states == {entry["name"]: "READY" for entry in before} | {"linear": "UNAVAILABLE"}
        assert not client.is_model_ready("linear", headers=HEADERS)
        with expect_refusal(404, "no model 'linear'"):
            infer_with_triton(build_image_input(BLANK), "linear")
        client.load_model("linear", headers=HEADERS)
        assert client.is_model_ready("linear", headers=HEADERS)
        assert infer_with_triton(build_image_input(BLANK), "linear").as_numpy("digit").shape == (2,)
        assert client.get_model_repository_index(headers=HEADERS) == before


def triton_unloads_one_version_and_loads_it_again() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        client.unload_model("cnn@1", headers=HEADERS)
        assert not client.is_model_ready("cnn", FIRST, headers=HEADERS)
        assert client.is_model_ready("cnn", SECOND, headers=HEADERS)
        client.load_model("cnn@1", headers=HEADERS)
        assert client.is_model_ready("cnn", FIRST, headers=HEADERS)


def triton_is_refused_what_the_repository_does_not_do() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        with expect_refusal(409, "'cnn' is the default model"):
            client.unload_model("cnn", headers=HEADERS)
        with expect_refusal(404, "no model 'vgg'"):
            client.load_model("vgg", headers=HEADERS)
        with expect_refusal(400, "parameters.config"):
            client.load_model("linear", headers=HEADERS, config="{}")
        with expect_refusal(401, "no key"):
            client.get_model_repository_index()


async def _call_kserve(ask: Callable[[InferenceRESTClient, str], Coroutine[Any, Any, Result]]) -> Result:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        return await ask(client, f"http://{ADDRESS}")


def call_kserve(ask: Callable[[InferenceRESTClient, str], Coroutine[Any, Any, Result]]) -> Result:
    return asyncio.run(_call_kserve(ask))


def infer_with_kserve(tensor: InferInput, **options: object) -> InferResponse:
    request = InferRequest(model_name="cnn", infer_inputs=[tensor], **options)
    return call_kserve(
        lambda client, url: client.infer(url, request, model_name="cnn", headers=dict(HEADERS))
    )


def kserve_finds_server_and_model_live_and_ready() -> None:
    assert call_kserve(lambda client, url: client.is_server_live(url))
    assert call_kserve(lambda client, url: client.is_server_ready(url))
    assert call_kserve(lambda client, url: client.is_model_ready(url, "cnn", headers=HEADERS))
    assert not call_kserve(lambda client, url: client.is_model_ready(url, "vgg", headers=HEADERS))


def kserve_gets_the_same_for_images_in_json_and_in_binary() -> None:
    found = []
    for binary in (True, False):
        tensor = InferInput("image", list(BLANK.shape), "UINT8")
        tensor.set_data_from_numpy(BLANK, binary_data=binary)
        answer = infer_with_kserve(tensor, request_id="7", parameters={"binary_data_output": binary})
        assert answer.id == "7"
        assert answer.model_name == "cnn"
        found.append({output.name: output.as_numpy() for output in answer.outputs})
    assert found[0].keys() == found[1].keys() == {"probabilities", "digit", "digit_likelihood"}
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


def kserve_reads_uploads_as_raw_bytes() -> None:
    tensor = InferInput("picture", [len(UPLOADS)], "BYTES")
    tensor.set_data_from_numpy(np.array(UPLOADS, np.object_), binary_data=True)
    answer = infer_with_kserve(tensor, request_outputs=[RequestedOutput("digit", {"binary_data": True})])
    assert [output.name for output in answer.outputs] == ["digit"]
    assert answer.outputs[0].as_numpy().tolist() == DIGITS


def kserve_reads_uploads_as_base64_from_plain_json() -> None:
    texts = [base64.b64encode(upload).decode() for upload in UPLOADS]
    request = {"inputs": [{"name": "picture", "shape": [len(texts)], "datatype": "BYTES", "data": texts}]}
    answer = call_kserve(
        lambda client, url: client.infer(url, request, model_name="cnn", headers=dict(HEADERS))
    )
    assert {output.name: output for output in answer.outputs}["digit"].data == DIGITS


def kserve_gets_errors_as_its_exception() -> None:
    tensor = InferInput("image", [1, 28, 28], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 28, 28), np.float32))
    caught = None
    try:
        infer_with_kserve(tensor)
    except httpx.HTTPStatusError as error:
        caught = error
    assert caught, "there was no error"
    assert caught.response.status_code == 400
    assert "Input 'image' is FP32 [1, 28, 28]" in str(caught)


def outcome(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Exception:  # noqa: BLE001  reported to the process that started this
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    checks = {
        name: check for name, check in list(globals().items()) if name.startswith(("triton_", "kserve_"))
    }
    json.dump({name: outcome(check) for name, check in checks.items()}, sys.stdout)
