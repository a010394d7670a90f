"""The protocol as a client writes and reads it, apart from the service's own code."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

DTYPES = {"FP32": "<f4", "INT64": "<i8"}


def image_input(values: NDArray[np.uint8], *, binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of an input, and the binary data that follows it."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(values.shape)}
    if binary:
        return tensor | {"parameters": {"binary_data_size": values.size}}, values.tobytes()
    return tensor | {"data": values.tolist()}, b""


def picture_input(pictures: list[bytes], *, binary: bool) -> tuple[dict[str, Any], bytes]:
    tensor: dict[str, Any] = {"name": "picture", "datatype": "BYTES", "shape": [len(pictures)]}
    if binary:
        data = b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures)
        return tensor | {"parameters": {"binary_data_size": len(data)}}, data
    return tensor | {"data": [base64.b64encode(picture).decode() for picture in pictures]}, b""


def body(*inputs: tuple[dict[str, Any], bytes], **members: Any) -> tuple[bytes, dict[str, str]]:  # noqa: ANN401
    """Return a request's body, and the header that tells where its JSON ends."""
    text = json.dumps({"inputs": [tensor for tensor, _ in inputs], **members}).encode()
    binary = b"".join(data for _, data in inputs)
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
    return text + binary, headers


def infer(
    client: httpx.Client,
    *inputs: tuple[dict[str, Any], bytes],
    model: str = "cnn",
    **members: Any,  # noqa: ANN401  JSON
) -> httpx.Response:
    content, headers = body(*inputs, **members)
    return client.post(f"/v2/models/{model}/infer", content=content, headers=headers)


def outputs(answer: httpx.Response) -> dict[str, NDArray[Any]]:
    """Return an answer's tensors."""
    assert answer.status_code == 200, answer.text
    content = answer.content
    length = int(answer.headers.get("Inference-Header-Content-Length", len(content)))
    binary = content[length:]
    found = {}
    for tensor in json.loads(content[:length])["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        data = tensor.get("data") if size is None else read(binary[:size], tensor["datatype"])
        found[tensor["name"]] = np.array(data).reshape(tensor["shape"])
        binary = binary[size or 0 :]
    assert not binary
    return found


def read(data: bytes, datatype: str) -> Any:  # noqa: ANN401  what numpy takes
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype])
    texts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        texts.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return texts


def error(answer: httpx.Response, status: int, detail: str) -> str:
    """Check that the answer is the protocol's error with that status, and that its text says so."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    content = answer.json()
    assert content.keys() == {"error"}
    text: str = content["error"]
    assert detail in text, text
    return text
