"""What KServe's client says of gRPC.

    .venv-clients/bin/python -m tests.rpc.kserve_client HOST:PORT KEY PICTURE…

`test_clients.py` runs it, in the clients' own environment: each client in a process of its own, because both
register messages of the same names. The pictures' names begin with their digits.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as kserve_messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import InferResponse, RequestedOutput

from tests.rpc.checks import run_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ADDRESS, KEY, *FILES = sys.argv[1:] or ["", ""]
UPLOADS: Final = [Path(file).read_bytes() for file in FILES]
DIGITS: Final = [int(Path(file).name[0]) for file in FILES]
METADATA: Final = (("x-api-key", KEY),)
BLANK: Final = np.zeros((2, 28, 28), np.uint8)
Result = TypeVar("Result")


def call_kserve(ask: Callable[[InferenceGRPCClient], Coroutine[Any, Any, Result]]) -> Result:
    async def call() -> Result:
        async with InferenceGRPCClient(ADDRESS) as client:
            return await ask(client)

    return asyncio.run(call())


def infer_with_kserve(request: InferRequest) -> InferResponse:
    return call_kserve(lambda client: client.infer(request, headers=METADATA))


def kserve_finds_server_and_model_live_and_ready() -> None:
    assert call_kserve(lambda client: client.is_server_live())
    assert call_kserve(lambda client: client.is_server_ready())
    assert call_kserve(lambda client: client.is_model_ready("cnn", headers=METADATA))
    assert not call_kserve(lambda client: client.is_model_ready("vgg", headers=METADATA))


def kserve_reads_images_raw_and_typed() -> None:
    found = []
    for binary in (True, False):
        tensor = InferInput("image", list(BLANK.shape), "UINT8")
        tensor.set_data_from_numpy(BLANK, binary_data=binary)
        request = InferRequest(model_name="cnn", infer_inputs=[tensor], request_id="7")
        answer = infer_with_kserve(request)
        assert (answer.id, answer.model_name) == ("7", "cnn")
        found.append({output.name: output.as_numpy() for output in answer.outputs})
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


def kserve_reads_pictures() -> None:
    tensor = InferInput("picture", [len(UPLOADS)], "BYTES")
    tensor.set_data_from_numpy(np.array(UPLOADS, np.object_), binary_data=True)
    request = InferRequest("cnn", [tensor], request_outputs=[RequestedOutput("digit")])
    answer = infer_with_kserve(request)
    assert [output.as_numpy().tolist() for output in answer.outputs] == [DIGITS]


def kserve_unloads_a_model_and_loads_it_again() -> None:
    with grpc.insecure_channel(ADDRESS) as channel:
        stub = GRPCInferenceServiceStub(channel)
        request = kserve_messages.RepositoryModelUnloadRequest(model_name="mlp-128")
        assert stub.RepositoryModelUnload(request, metadata=METADATA).isUnloaded
        request = kserve_messages.RepositoryModelLoadRequest(model_name="mlp-128")
        assert stub.RepositoryModelLoad(request, metadata=METADATA).isLoaded


def kserve_gets_errors_as_its_exception() -> None:
    tensor = InferInput("image", [1, 28, 28], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 28, 28), np.float32))
    caught = None
    try:
        infer_with_kserve(InferRequest("cnn", [tensor]))
    except grpc.RpcError as error:
        caught = error
    assert caught, "there was no error"
    assert caught.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Input 'image' is FP32 [1, 28, 28]" in caught.details()


if __name__ == "__main__":
    logging.disable()  # KServe logs the errors that it raises
    run_checks(globals(), prefix="kserve_")
