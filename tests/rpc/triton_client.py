"""What tritonclient says of gRPC.

    .venv-clients/bin/python -m tests.rpc.triton_client HOST:PORT KEY PICTURE…

`test_clients.py` runs it, in the clients' own environment: each client in a process of its own, because both
register messages of the same names. The pictures' names begin with their digits.
"""

from __future__ import annotations

import queue
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from tests.rpc.checks import run_checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ADDRESS, KEY, *FILES = sys.argv[1:] or ["", ""]
UPLOADS: Final = [Path(file).read_bytes() for file in FILES]
DIGITS: Final = [int(Path(file).name[0]) for file in FILES]
HEADERS: Final = {"x-api-key": KEY}
BLANK: Final = np.zeros((2, 28, 28), np.uint8)


def build_picture_input() -> triton.InferInput:
    tensor = triton.InferInput("picture", [len(UPLOADS)], "BYTES")
    return tensor.set_data_from_numpy(np.array(UPLOADS, np.object_))


def build_image_input(values: NDArray[np.uint8]) -> triton.InferInput:
    return triton.InferInput("image", list(values.shape), "UINT8").set_data_from_numpy(values)


def infer_with_triton(tensor: triton.InferInput, model: str = "cnn", **options: object) -> triton.InferResult:
    with triton.InferenceServerClient(ADDRESS) as client:
        return client.infer(model, [tensor], headers=HEADERS, **options)


@contextmanager
def expect_refusal(status: str, detail: str) -> Iterator[None]:
    caught = None
    try:
        yield
    except InferenceServerException as error:
        caught = error
    assert caught, f"there was no {status}"
    assert caught.status() == f"StatusCode.{status}", caught.status()
    assert detail in caught.message(), caught.message()


def triton_finds_the_server_live_and_ready_without_a_key() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        assert client.is_server_live()
        assert client.is_server_ready()


def triton_reads_metadata() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        server = client.get_server_metadata(headers=HEADERS)
        assert (server.name, "classification" in server.extensions) == ("digits", True)
        metadata = client.get_model_metadata("cnn", "1", headers=HEADERS, as_json=True)
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"][0] == {"name": "image", "datatype": "UINT8", "shape": ["-1", "28", "28"]}
    assert [tensor["name"] for tensor in metadata["outputs"]] == [
        "probabilities",
        "digit",
        "digit_likelihood",
    ]


def triton_finds_a_model_ready_and_an_unknown_one_not() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        assert client.is_model_ready("cnn", headers=HEADERS)
        assert client.is_model_ready("cnn", "1", headers=HEADERS)
        assert not client.is_model_ready("cnn", "3", headers=HEADERS)
        assert not client.is_model_ready("vgg", headers=HEADERS)


def triton_reads_images() -> None:
    found = infer_with_triton(build_image_input(BLANK), request_id="seven")
    response = found.get_response()
    assert (response.id, response.model_name, response.model_version) == ("seven", "cnn", "1")
    assert found.as_numpy("probabilities").shape == (2, 10)
    assert found.as_numpy("probabilities").dtype == np.float32
    assert found.as_numpy("digit").dtype == np.int64
    assert found.as_numpy("digit_likelihood").shape == (2,)


def triton_reads_pictures_also_compressed() -> None:
    for coding in (None, "gzip", "deflate"):
        found = infer_with_triton(build_picture_input(), compression_algorithm=coding)
        assert found.as_numpy("digit").tolist() == DIGITS


def triton_gets_classes() -> None:
    output = triton.InferRequestedOutput("probabilities", class_count=3)
    classes = infer_with_triton(build_picture_input(), outputs=[output]).as_numpy("probabilities")
    assert classes.shape == (len(DIGITS), 3)
    assert [int(text.decode().split(":")[1]) for text in classes[:, 0]] == DIGITS


def triton_asks_many_at_once() -> None:
    results: queue.Queue[Any] = queue.Queue()
    with triton.InferenceServerClient(ADDRESS) as client:
        for _ in range(16):
            client.async_infer(
                "cnn",
                [build_picture_input()],
                callback=lambda result, error: results.put(error or result),
                headers=HEADERS,
            )
        assert all(results.get(timeout=60).as_numpy("digit").tolist() == DIGITS for _ in range(16))


def triton_gets_errors_as_its_exception() -> None:
    with expect_refusal("NOT_FOUND", "no model 'vgg'"):
        infer_with_triton(build_image_input(BLANK), "vgg")
    with expect_refusal("INVALID_ARGUMENT", "FP32 [1, 28, 28]"):
        floats = triton.InferInput("image", [1, 28, 28], "FP32")
        infer_with_triton(floats.set_data_from_numpy(np.zeros((1, 28, 28), np.float32)))
    with expect_refusal("INVALID_ARGUMENT", "'nothing' of 'cnn' does not exist"):
        infer_with_triton(build_image_input(BLANK), outputs=[triton.InferRequestedOutput("nothing")])
    with expect_refusal("INVALID_ARGUMENT", "picture[1]: "):
        tensor = triton.InferInput("picture", [2], "BYTES")
        infer_with_triton(tensor.set_data_from_numpy(np.array([UPLOADS[0], b"no picture"], np.object_)))
    with triton.InferenceServerClient(ADDRESS) as client:
        with expect_refusal("UNAUTHENTICATED", "no key"):
            client.infer("cnn", [build_image_input(BLANK)])
        with expect_refusal("UNIMPLEMENTED", ""):
            client.get_model_config("cnn", headers=HEADERS)


def triton_unloads_a_model_and_loads_it_again() -> None:
    with triton.InferenceServerClient(ADDRESS) as client:
        client.unload_model("linear", headers=HEADERS)
        index = client.get_model_repository_index(headers=HEADERS)
        assert {model.name: model.state for model in index.models}["linear"] == "UNAVAILABLE"
        assert not client.is_model_ready("linear", headers=HEADERS)
        client.load_model("linear", headers=HEADERS)
        assert client.is_model_ready("linear", headers=HEADERS)
        with expect_refusal("FAILED_PRECONDITION", "'cnn' is the default model"):
            client.unload_model("cnn", headers=HEADERS)
        with expect_refusal("INVALID_ARGUMENT", "parameters.config"):
            client.load_model("linear", headers=HEADERS, config="{}")


if __name__ == "__main__":
    run_checks(globals(), prefix="triton_")
