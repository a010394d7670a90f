"""The REST API of TensorFlow Serving, with the shapes of its documentation."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.digits.classifier import Classifier
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.serving import serve
from tests.versions import make_two_versions

PREDICT = "/v1/models/cnn:predict"
ONE = np.zeros((28, 28), int)
ONE[4:24, 13:16] = 255
FILE = {"b64": base64.b64encode((GOLDEN / "7-photo.jpg").read_bytes()).decode()}


def predict(client: httpx.Client, body: object, path: str = PREDICT) -> httpx.Response:
    return client.post(path, json=body)


@pytest.mark.parametrize(
    "picture",
    [
        ONE.tolist(),
        ONE.reshape(28, 28, 1).tolist(),
        ONE.ravel().tolist(),
        (ONE / 255).tolist(),
        {"image": ONE.tolist()},
    ],
    ids=["28x28", "28x28x1", "784", "fractions", "named"],
)
def test_a_canonical_picture_goes_to_the_network_as_it_is(
    client: httpx.Client, classifier: Classifier, picture: object
) -> None:
    expected = classifier.classify(ONE[None].astype(np.uint8)).probabilities
    answer = predict(client, {"instances": [picture]}).json()
    np.testing.assert_allclose(answer["predictions"], expected, atol=1e-6)


def test_all_pictures_of_a_request_have_one_scale(client: httpx.Client) -> None:
    """A client whose JSON library writes 1.0 as 1 sends a black and white picture beside a grey one."""
    grey, binary = (ONE / 510).tolist(), (ONE // 255).tolist()
    _, second = predict(client, {"instances": [grey, binary]}).json()["predictions"]
    assert second == predict(client, {"instances": [ONE.tolist()]}).json()["predictions"][0]
    assert "may mean two scales" in predict(client, {"instances": [binary]}).json()["error"]


def test_a_file_is_read_as_predict_reads_it(client: httpx.Client) -> None:
    answer = predict(client, {"signature_name": "serving_default", "instances": [FILE, FILE]})
    expected = client.post("/predict", json={"image": FILE["b64"]}).json()["probabilities"]
    assert answer.json() == {"predictions": [expected, expected]}
    assert answer.headers["Server-Timing"].startswith("decode;dur=")


@pytest.mark.parametrize("inputs", [[FILE], {"image": [FILE]}])
def test_the_columnar_format_has_outputs(client: httpx.Client, inputs: object) -> None:
    (probabilities,) = predict(client, {"inputs": inputs}).json()["outputs"]
    assert int(np.argmax(probabilities)) == 7


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "Send either 'instances' or 'inputs'"),
        ({"instances": [FILE], "inputs": [FILE]}, 400, "Send either"),
        ({"inputs": {"other": [FILE]}}, 400, "'inputs' is no list"),
        ({"signature_name": "x", "instances": [FILE]}, 400, "no signature 'x'"),
        ({"instances": []}, 422, "no pictures"),
        ({"instances": [FILE] * 65}, 422, "more than 64"),
        ({"instances": [FILE, ONE.tolist()]}, 400, "instances[0] is not a list"),
        ({"instances": [ONE.tolist(), ONE[:5].tolist()]}, 400, "instances[1] has 5x28 numbers"),
        ({"instances": [[[1, 2], [3]]]}, 400, "instances[0] has rows of different lengths"),
        ({"instances": [[]]}, 400, "instances[0] has 0 numbers"),
        ({"instances": [(ONE * 2).tolist()]}, 400, "instances[0], row 4, column 13 is 510"),
        ({"instances": [{"b64": 7}]}, 400, "without a text 'b64'"),
        ({"instances": [{"b64": "!"}]}, 400, "is not base64"),
        ({"instances": [FILE, {"b64": "AAAA"}]}, 415, "instances[1]: The file is not"),
    ],
)
def test_an_error_is_a_text_as_tensorflow_serving_sends_it(
    client: httpx.Client, body: object, status: int, message: str
) -> None:
    answer = predict(client, body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]


def test_status_and_metadata_have_their_shapes(client: httpx.Client) -> None:
    version = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert client.get("/v1/models/cnn").json() == {"model_version_status": [version]}
    metadata = client.get("/v1/models/cnn/metadata").json()
    assert metadata["model_spec"] == {"name": "cnn", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["image"]["dtype"] == "DT_UINT8"
    sizes = [size["size"] for size in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "10"]


def test_a_version_can_be_named(tmp_path: Path) -> None:
    body = {"instances": [ONE.tolist()]}
    with serve(Settings(models_dir=make_two_versions(tmp_path))) as client:
        latest, first, second = (
            predict(client, body, f"/v1/models/cnn{version}:predict").json()
            for version in ("", "/versions/1", "/versions/2")
        )
        assert latest == second != first
        status = client.get("/v1/models/cnn").json()["model_version_status"]
        assert {version["version"] for version in status} == {"1", "2"}
        assert len(client.get("/v1/models/cnn/versions/2").json()["model_version_status"]) == 1
        assert predict(client, body, "/v1/models/cnn/versions/3:predict").status_code == 404


def test_only_classifiers_predict(client: httpx.Client) -> None:
    assert predict(client, {"instances": [FILE]}, "/v1/models/finder:predict").status_code == 400
    assert predict(client, {"instances": [FILE]}, "/v1/models/none:predict").status_code == 404
    assert client.get(PREDICT).status_code == 405


def test_keys_are_required_as_elsewhere() -> None:
    with serve(Settings(api_keys=("a-long-key",))) as client:
        assert list(predict(client, {"instances": [FILE]}).json()) == ["error"]
        assert client.get("/v1/models/cnn").status_code == 401
