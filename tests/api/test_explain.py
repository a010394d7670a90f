"""`POST /explain`: over a real socket, in all three forms, with its limits."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from app.guard import keys
from app.settings import Settings
from tests.conftest import GOLDEN, HOSTILE
from tests.costs import measure_cost, needs_proc
from tests.serving import serve, start_process

PNG = {"Content-Type": "image/png"}
THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()


def decode_data_url(url: str) -> np.ndarray[Any, Any]:
    data = np.frombuffer(base64.b64decode(url.removeprefix("data:image/png;base64,")), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture)


def test_the_three_ways_to_send_a_picture_have_the_same_explanation(client: httpx.Client) -> None:
    answers = [
        client.post("/explain", content=THREE, headers=PNG),
        client.post("/explain", files={"file": THREE}),
        client.post("/explain", json={"image": base64.b64encode(THREE).decode()}),
    ]
    assert {answer.status_code for answer in answers} == {200}
    first, *others = [answer.json() for answer in answers]
    assert others == [first, first]
    assert first["prediction"] == client.post("/predict?view=true", content=THREE, headers=PNG).json()
    assert "infer;dur=" in answers[0].headers["Server-Timing"]


def test_ink_is_hot_and_layers_are_pictures_of_their_shape(client: httpx.Client) -> None:
    explanation = client.post("/explain", content=THREE, headers=PNG).json()
    view = decode_data_url(explanation["prediction"]["view"])
    heat = np.array(explanation["heat_map"])
    assert view.shape == heat.shape == (28, 28)
    assert heat[view > 127].mean() > heat[view == 0].mean()
    assert [layer["name"] for layer in explanation["layers"]] == [
        "conv1",
        "conv2",
        "conv3",
        "conv4",
        "conv5",
        "dense1",
    ]
    for layer in explanation["layers"]:
        _, height, width = layer["shape"] if len(layer["shape"]) == 3 else (1, 1, 1)
        rows, columns = decode_data_url(layer["mosaic"]).shape
        assert (rows % height, columns) == (0, layer["columns"] * width)


def test_each_network_has_an_explanation_and_linear_has_no_layers(client: httpx.Client) -> None:
    layers = {}
    for name in ("linear", "mlp-128", "mlp-1000"):
        explanation = client.post(f"/explain?model={name}", content=THREE, headers=PNG).json()
        assert explanation["prediction"]["model"]["name"] == name
        layers[name] = [layer["shape"] for layer in explanation["layers"]]
    assert layers == {"linear": [], "mlp-128": [[128]], "mlp-1000": [[1000]]}


@pytest.mark.parametrize(
    ("query", "file", "status", "code"),
    [
        ("?model=finder", None, 400, "unsuitable_model"),
        ("?model=none", None, 404, "unknown_model"),
        ("", "white.png", 422, "no_ink"),
        ("", "bomb.png", 422, "image_too_large"),
        ("", "truncated-half.png", 422, "unreadable_image"),
    ],
)
def test_what_predict_refuses_is_refused(
    client: httpx.Client, query: str, file: str | None, status: int, code: str
) -> None:
    picture = (HOSTILE / file).read_bytes() if file else THREE
    answer = client.post(f"/explain{query}", content=picture, headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.fixture(scope="module")
def reserved() -> Iterator[httpx.Client]:
    """A service that explains nothing and wants a key."""
    with serve(
        Settings(explain=False, api_keys=(keys.create_key("explain")[1], "a-key-for-tests"))
    ) as client:
        yield client


def test_a_key_is_required_as_elsewhere(reserved: httpx.Client) -> None:
    assert reserved.post("/explain", content=THREE, headers=PNG).status_code == 401


def test_off_it_names_the_setting_and_the_remedy(reserved: httpx.Client) -> None:
    headers = {**PNG, "X-API-Key": "a-key-for-tests"}
    answer = reserved.post("/explain", content=THREE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "DIGITS_EXPLAIN=false" in answer.json()["detail"]
    assert reserved.get("/models", headers=headers).json()["explain"] is False


def test_it_is_counted_like_any_prediction() -> None:
    with serve(Settings()) as client:
        assert client.get("/models").json()["explain"] is True
        client.post("/explain", content=THREE, headers=PNG)
        metrics = client.get("/metrics").text
    assert 'digits_requests_total{method="POST",route="/explain",status="200"} 1.0' in metrics
    assert 'digits_predictions_total{digit="3",model="cnn"} 1.0' in metrics


@needs_proc
def test_the_costliest_picture_costs_no_more_than_any_request_may() -> None:
    full = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)  # ink everywhere
    _, data = cv2.imencode(".png", full)
    with start_process() as process:
        for name in ("cnn", "mlp-1000"):
            with measure_cost(process.popen.pid) as cost:
                answer = process.client.post(f"/explain?model={name}", content=data.tobytes(), headers=PNG)
            assert answer.status_code == 200
            assert cost.seconds < 1
            assert cost.megabytes < 256
