"""`/ping` and `/invocations`, as Amazon SageMaker calls a container."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.conftest import GOLDEN, ROOT
from tests.serving import PATIENCE, free_port, serve, wait_until

SEVEN = (GOLDEN / "7-photo.jpg").read_bytes()
TEXT = base64.b64encode(SEVEN).decode()


@pytest.fixture(scope="module")
def container() -> Iterator[httpx.Client]:
    with serve(Settings(sagemaker=True)) as client:
        yield client


def test_it_is_off_by_default(client: httpx.Client) -> None:
    assert client.get("/ping").status_code == 404
    assert client.post("/invocations", content=SEVEN).status_code == 404
    assert "/invocations" not in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("media_type", ["image/jpeg", "application/x-image", "application/octet-stream"])
def test_a_picture_is_answered_as_by_predict(container: httpx.Client, media_type: str) -> None:
    assert container.get("/ping").status_code == 200
    headers = {"Content-Type": media_type}
    answer = container.post("/invocations", content=SEVEN, headers=headers)
    assert answer.json() == container.post("/predict", content=SEVEN, headers=headers).json()
    assert container.post("/invocations", json={"image": TEXT}).json() == answer.json()


def test_instances_are_answered_as_by_tensorflow_serving(container: httpx.Client) -> None:
    body = {"instances": [{"b64": TEXT}]}
    answer = container.post("/invocations", json=body)
    assert answer.json() == container.post("/v1/models/cnn:predict", json=body).json()
    (probabilities,) = answer.json()["predictions"]
    assert probabilities.index(max(probabilities)) == 7


def test_what_it_does_not_take_is_named(container: httpx.Client) -> None:
    refused = container.post("/invocations", content=b"1,2", headers={"Content-Type": "text/csv"})
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    empty = container.post("/invocations", json={})
    assert "Send one as 'image'" in empty.json()["detail"]


def test_the_images_program_serves_as_it_is_started_there() -> None:
    port = str(free_port())
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SAGEMAKER_BIND_TO_PORT": port,
    }
    environment.pop("DIGITS_PORT", None)
    running = subprocess.Popen([ROOT / "deploy" / "sagemaker" / "serve"], cwd=ROOT, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_until(lambda: running.poll() is not None or answers(client))
            assert client.get("/ping").json() == {"status": "ready"}
    finally:
        running.terminate()
        running.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ping").is_success
    except httpx.TransportError:
        return False
