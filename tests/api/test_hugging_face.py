"""`?format=hf`: labels and scores as in Hugging Face's image classification, for its own client."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.conftest import GOLDEN
from tests.needs import CLIENTS
from tests.serving import serve

SEVEN = GOLDEN / "7-photo.jpg"
QUERY = {"format": "hf"}


@pytest.mark.needs("clients")
def test_its_client_gets_labels_and_scores_and_errors() -> None:
    script = Path(__file__).with_name("hugging_face_client.py")
    with serve(Settings(api_keys=("a-long-key",))) as client:
        command = [CLIENTS, script, str(client.base_url).rstrip("/"), "a-long-key", SEVEN]
        result = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["path"] == found["name"] == found["bytes"]
    assert found["path"][0][0] == "7"
    assert len(found["path"]) == 5
    assert found["two"] == found["path"][:2]
    assert "The file is not a PNG" in found["no picture"]
    assert "function_to_apply" in found["sigmoid"]
    assert "The key is not valid" in found["wrong key"]


def test_all_ways_to_send_a_picture_work(client: httpx.Client) -> None:
    picture = SEVEN.read_bytes()
    by_bytes = client.post("/predict", params=QUERY, content=picture)
    by_form = client.post("/predict", params=QUERY, files={"file": picture})
    assert by_bytes.json() == by_form.json()
    scores = [entry["score"] for entry in by_bytes.json()]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": 7}, "inputs: Input should be a valid string"),
        ({"inputs": "!"}, "The text in 'inputs' is not base64"),
        ({"inputs": "", "parameters": {"top_k": 0}}, "parameters.top_k"),
        ({}, "inputs: Field required"),
    ],
)
def test_an_error_is_what_its_client_shows(client: httpx.Client, body: object, message: str) -> None:
    answer = client.post("/predict", params=QUERY, json=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert message in answer.json()["error"]


def test_other_formats_are_refused(client: httpx.Client) -> None:
    answer = client.post("/predict", params={"format": "xml"}, content=b"")
    assert answer.json()["detail"] == "query format is 'xml': Input should be 'hf'."
