"""What is around predictions: models, health, the OpenAPI document."""

from __future__ import annotations

import hashlib
import json
from operator import itemgetter

import httpx

from tests.conftest import MODELS


def test_models_are_listed_with_the_default_first(client: httpx.Client) -> None:
    models = client.get("/models").json()["models"]
    assert [(model["name"], model["kind"]) for model in models] == [
        ("cnn", "classifier"),
        ("finder", "finder"),
        ("line-reader", "line-reader"),
        ("linear", "classifier"),
        ("mlp-1000", "classifier"),
        ("mlp-128", "classifier"),
    ]
    assert [model["name"] for model in models if model["default"]] == ["cnn"]


def test_a_model_is_described_by_the_file_that_is_served(client: httpx.Client) -> None:
    model = client.get("/models/mlp-128").json()
    onnx = (MODELS / "mlp-128" / "model.onnx").read_bytes()
    assert model == {
        "name": "mlp-128",
        "kind": "classifier",
        "version": "1.0.0",
        "sha256": hashlib.sha256(onnx).hexdigest(),
        "default": False,
        "input": {"name": "image", "dtype": "uint8", "shape": ["batch", 28, 28]},
        "output": [{"name": "probabilities", "dtype": "float32", "shape": ["batch", 10]}],
        "metrics": json.loads((MODELS / "mlp-128" / "metrics.json").read_text()),
        "limits": {
            "max_body_bytes": 10485760,
            "max_batch_body_bytes": 33554432,
            "max_pixels": 40000000,
            "min_side": 4,
            "max_batch": 64,
        },
    }


def test_the_finder_and_the_line_reader_are_described_by_their_arrays(client: httpx.Client) -> None:
    finder, line_reader = (client.get(f"/models/{name}").json() for name in ("finder", "line-reader"))
    assert finder["input"] == {"name": "image", "dtype": "uint8", "shape": ["batch", "height", "width", 1]}
    assert sorted(finder["output"], key=itemgetter("name")) == [
        {"name": "boxes", "dtype": "float32", "shape": ["batch", "rows", "columns", 4]},
        {"name": "heat", "dtype": "float32", "shape": ["batch", "rows", "columns", 20]},
    ]
    assert line_reader["input"] == {"name": "image", "dtype": "uint8", "shape": ["batch", 32, "width", 1]}
    assert line_reader["output"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", "frames", 21]}]


def test_it_is_live_and_ready(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_the_openapi_document_describes_bodies_and_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    predict = document["paths"]["/predict"]["post"]
    assert predict["requestBody"]["content"].keys() == {
        "multipart/form-data",
        "image/*",
        "application/octet-stream",
        "application/json",
    }
    assert predict["responses"].keys() == {
        "200", "400", "401", "404", "408", "411", "413", "415", "422", "429", "503", "504", "default",
    }  # fmt: skip
    refusals = predict["responses"]["422"]
    assert "`no_ink`" in refusals["description"]
    assert refusals["content"].keys() == {"application/problem+json"}
