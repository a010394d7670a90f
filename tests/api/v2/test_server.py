"""Metadata and health, and errors in the protocol's words from every layer."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from app import __version__
from app.server.protocol import MAX_HEAD
from app.settings import Settings
from app.wire.paths import is_protocol_path
from tests.api.v2.wire import error, image_input, infer, picture_input
from tests.conftest import GOLDEN
from tests.serving import serve, start_process, wait_until
from tests.slow import SlowDecoder

NINE = (GOLDEN / "9-grey.png").read_bytes()
INFER = "/v2/models/cnn/infer"


def test_the_server_describes_itself(client: httpx.Client) -> None:
    assert client.get("/v2").json() == {
        "name": "digits",
        "version": __version__,
        "extensions": ["binary_tensor_data", "classification"],
    }


@pytest.mark.parametrize(
    ("settings", "expects_repository"),
    [
        (Settings(api_keys=("k",)), True),
        (Settings(api_keys=("k",), workers=2), False),
    ],
)
def test_the_repository_extension_is_listed_if_it_is_enabled(
    settings: Settings, expects_repository: object
) -> None:
    with serve(settings) as client:
        extensions = client.get("/v2", headers={"X-API-Key": "k"}).json()["extensions"]
    assert ("model_repository" in extensions) is expects_repository


def test_it_is_live_and_ready(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_a_draining_worker_is_live_but_not_ready() -> None:
    with start_process(drain_delay="60") as running:
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: running.client.get("/v2/health/ready").status_code == 503)
        error(running.client.get("/v2/health/ready"), 503, "shutting down")
        assert running.client.get("/v2/health/live").json() == {"live": True}
        assert infer(running.client, picture_input([NINE], binary=True)).status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/cnn", "/v2/models/cnn/versions/1"])
def test_a_model_is_described(client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {
        "name": "cnn",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]},
            {"name": "picture", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "digit", "datatype": "INT64", "shape": [-1]},
            {"name": "digit_likelihood", "datatype": "FP32", "shape": [-1]},
        ],
    }


def test_a_model_without_a_digit_likelihood_lacks_that_output(client: httpx.Client) -> None:
    outputs = client.get("/v2/models/linear").json()["outputs"]
    assert [output["name"] for output in outputs] == ["probabilities", "digit"]


@pytest.mark.parametrize(
    ("name", "shape", "outputs"),
    [
        ("finder", [-1, -1, -1, 1], {"heat": [-1, -1, -1, 20], "boxes": [-1, -1, -1, 4]}),
        ("line-reader", [-1, 32, -1, 1], {"logits": [-1, -1, 21]}),
    ],
)
def test_a_network_for_numbers_is_described_but_takes_no_requests(
    client: httpx.Client, name: str, shape: list[int], outputs: dict[str, list[int]]
) -> None:
    metadata = client.get(f"/v2/models/{name}").json()
    assert {output["name"]: output["shape"] for output in metadata["outputs"]} == outputs
    assert {output["datatype"] for output in metadata.pop("outputs")} == {"FP32"}
    assert metadata == {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": shape}],
    }
    assert client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    for path in (name, f"{name}/versions/1"):
        answer = infer(client, picture_input([NINE], binary=True), model=path)
        error(answer, 400, f"'{name}' is a {name}, and this needs a classifier")


def test_a_version_may_be_named_if_it_exists(client: httpx.Client) -> None:
    path = "/v2/models/cnn/versions/1"
    assert client.get(f"{path}/ready").json() == {"name": "cnn", "ready": True}
    answer = client.post(f"{path}/infer", content=b"{}")
    error(answer, 400, "inputs")


def test_404_for_unknown_models_and_versions(client: httpx.Client) -> None:
    error(client.get("/v2/nothing"), 404, "/v2/nothing does not exist")
    error(client.get("/v2/nowhere/"), 404, "does not exist")
    known = "cnn, finder, line-reader, linear, mlp-1000, mlp-128"
    error(client.get("/v2/models/vgg"), 404, f"no model 'vgg'. The models are {known}")
    error(client.get("/v2/models/vgg/ready"), 404, "no model 'vgg'")
    for path in ("", "/ready"):
        error(
            client.get(f"/v2/models/cnn/versions/2{path}"), 404, f"no model 'cnn@2'. The models are {known}"
        )
    error(client.post("/v2/models/cnn/versions/2/infer", content=b"{}"), 404, "no model 'cnn@2'")
    error(client.post("/v2/models/vgg/infer", content=b"{}"), 404, "no model 'vgg'")


def test_paths_that_only_begin_like_v2_keep_their_problem_documents(client: httpx.Client) -> None:
    assert client.get("/v2nothing").headers["Content-Type"] == "application/problem+json"


def test_405_names_the_method(client: httpx.Client) -> None:
    answer = client.get(INFER)
    error(answer, 405, "does not allow GET, only POST")
    assert answer.headers["Allow"] == "POST"


def test_401_without_a_required_key_except_for_health() -> None:
    with serve(Settings(api_keys=("k",))) as client:
        error(client.get("/v2"), 401, "no key")
        assert client.post(INFER, content=b"{}").headers["WWW-Authenticate"].startswith("Bearer")
        assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200
        assert client.get("/v2", headers={"X-API-Key": "k"}).status_code == 200


def test_408_for_a_body_that_comes_too_slowly() -> None:
    def trickle() -> Iterator[bytes]:
        yield b"{"
        time.sleep(3)  # ten times what is allowed: even a machine that stands still for a while is in time
        yield b"}"

    with serve(Settings(read_timeout=0.3)) as client:
        error(client.post(INFER, content=trickle()), 408, "0.3 s")


def test_413_by_the_declared_and_by_the_counted_length() -> None:
    with serve(Settings(max_body_bytes=1024, max_batch_body_bytes=2048)) as client:
        error(client.post(INFER, content=bytes(3000)), 413, "at most 2048 are allowed")
        error(client.post(INFER, content=iter([bytes(2000)] * 2)), 413, "at most 2048 are allowed")
        error(client.post(INFER, content=bytes(2000)), 400, "JSON")


def test_429_for_too_many_requests() -> None:
    with serve(Settings(rate_limit=1)) as client:
        client.get("/v2")
        answer = client.get("/v2")
        error(answer, 429, "Requests are limited to 1 a minute")
        assert int(answer.headers["Retry-After"]) > 0


def test_431_for_a_head_that_is_too_long(client: httpx.Client) -> None:
    raw = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80)
    raw.request("GET", "/v2/models?x", headers={"X": "x" * MAX_HEAD})
    answer = raw.getresponse()
    assert answer.status == 431
    assert "head" in json.loads(answer.read())["error"]
    assert answer.headers["X-Request-ID"]
    raw.close()


def test_500_reveals_no_internals() -> None:
    from app.main import create_app  # noqa: PLC0415

    app = create_app(Settings())

    @app.get("/v2/broken")
    async def broken() -> None:
        msg = "secret of the inside"
        raise RuntimeError(msg)

    with serve(Settings(), app) as client:
        answer = client.get("/v2/broken", headers={"X-Request-ID": "my-own-id"})
    assert "secret" not in error(answer, 500, "a defect")
    assert answer.headers["X-Request-ID"] == "my-own-id"


def test_503_for_more_pictures_than_free_places(slow_decoder: SlowDecoder) -> None:
    pair = np.zeros((2, 28, 28), np.uint8)
    with serve(Settings(max_in_flight=2, max_batch=2)) as client:
        with slow_decoder.occupy(client, 1):
            assert infer(client, image_input(pair[:1], binary=True)).status_code == 200
            answer = infer(client, image_input(pair, binary=True))
            error(answer, 503, "has room for 1 more; the request needs room for 2")
            assert answer.headers["Retry-After"] == "1"
        wait_until(lambda: infer(client, image_input(pair, binary=True)).status_code == 200)


def test_503_before_the_body_is_read_when_no_place_is_free(slow_decoder: SlowDecoder) -> None:
    with (
        serve(Settings(max_in_flight=2, max_batch=2)) as client,
        slow_decoder.occupy(client, 2),
        socket.create_connection((client.base_url.host, client.base_url.port)) as raw,
    ):
        raw.sendall(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n".encode())
        assert raw.recv(12) == b"HTTP/1.1 503"


def test_504_when_it_takes_too_long() -> None:
    large = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
    with serve(Settings(request_timeout=0.0001)) as client:
        error(infer(client, picture_input([large], binary=True)), 504, "within 0.0001 s")


def test_a_page_of_another_origin_may_send_and_read_binary_tensors() -> None:
    name = "Inference-Header-Content-Length"
    origin = {"Origin": "https://good.example"}
    preflight = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": name}
    with serve(Settings(cors_origins=("https://good.example",))) as client:
        allowed = client.options(INFER, headers=preflight)
        refused = client.options(INFER, headers=preflight | {"Origin": "https://evil.example"})
        answer = client.get("/v2", headers=origin)
    assert name.lower() in allowed.headers["Access-Control-Allow-Headers"].lower()
    assert name in answer.headers["Access-Control-Expose-Headers"]
    error(refused, 400, "DIGITS_CORS_ORIGINS")


@pytest.mark.parametrize("keys", [(), ("k",)], ids=["open", "with keys"])
def test_the_document_describes_the_protocols_errors_and_has_no_outside_references(
    keys: tuple[str, ...],
) -> None:
    with serve(Settings(api_keys=keys)) as client:
        document = client.get("/openapi.json").json()
    assert "#/$defs" not in json.dumps(document)
    for path, operations in document["paths"].items():
        kind = "application/json" if is_protocol_path(path) else "application/problem+json"
        for operation in operations.values():
            errors = {status: detail for status, detail in operation["responses"].items() if status >= "4"}
            assert all(detail["content"].keys() == {kind} for detail in errors.values())
            assert ("401" in errors) is ("health" not in path)
