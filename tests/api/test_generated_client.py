"""A client that a standard generator makes of the OpenAPI document: it compiles, and it works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx
import pytest

from app.settings import Settings
from tests.conftest import ROOT
from tests.serving import serve

# as in docs/integrate.md: the generator knows raw bytes by this type alone
CONFIG: Final = "content_type_overrides:\n  image/*: application/octet-stream\n"
# the generator's own file, which is the same whatever the document, is not typed to the last word
TYPES: Final = (
    "[mypy]\nstrict = true\nincremental = false\nwarn_redundant_casts = false\n"
    "[mypy-digits_client.client]\nignore_errors = true\n"
)
USE: Final = """
import io, sys
from pathlib import Path
from digits_client import AuthenticatedClient, Client
from digits_client.api.health import ready
from digits_client.api.models import describe_model, list_models
from digits_client.api.predict import predict, predict_batch, predict_number
from digits_client.models import JsonPicture, JsonPictures, PictureForm, PicturesForm, Prediction, Problem
from digits_client.types import File

import base64

seven = Path("tests/data/golden/7-photo.jpg").read_bytes()
blank = Path("tests/data/hostile/white.png").read_bytes()
number = Path("tests/data/numbers/4071.jpg").read_bytes()

def file(data):
    return File(payload=io.BytesIO(data), file_name="picture", mime_type="image/jpeg")

with AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2]) as client:
    assert ready.sync(client=client).status == "ready"
    bodies = PictureForm(file=file(seven)), file(seven), JsonPicture(image=base64.b64encode(seven).decode())
    for body in bodies:
        answer = predict.sync(client=client, body=body, view=True)
        assert isinstance(answer, Prediction)
        assert (answer.digit, answer.is_digit, answer.model.name, answer.image.width) == (7, True, "cnn", 640)
        assert answer.image.polarity == "dark_on_light" and answer.view.startswith("data:image/png")
    pixels = JsonPicture(image=[[0.0, 0.0, float(0 < row < 9), 0.0, 0.0] for row in range(10)])
    assert isinstance(predict.sync(client=client, body=pixels), Prediction)
    assert predict.sync(client=client, body=file(seven), model="mlp-128").digit_likelihood is None
    problem = predict.sync(client=client, body=file(blank))
    assert isinstance(problem, Problem)
    assert (problem.status, problem.code) == (422, "no_ink")
    for batch in PicturesForm(files=[file(seven), file(blank)]), JsonPictures(
        images=[base64.b64encode(seven).decode(), ""]
    ):
        first, second = predict_batch.sync(client=client, body=batch).results
        assert first.prediction.digit == 7 and first.problem is None
        assert second.prediction is None and second.problem.status in (415, 422)
    assert predict_number.sync(client=client, body=file(number)).text == "4071"
    assert list_models.sync(client=client).models[0].name == "cnn"
    assert describe_model.sync(client=client, name="cnn").limits.max_batch == 64
    assert describe_model.sync(client=client, name="none").code == "unknown_model"
with Client(base_url=sys.argv[1]) as stranger:
    answer = predict.sync_detailed(client=stranger, body=file(seven))
    assert (answer.status_code, answer.parsed.code) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"]
print("done")
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, client: httpx.Client) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "mypy.ini").write_text(TYPES)
    environment = Path(sys.executable).parent
    generator = str(environment / "openapi-python-client")
    document = str(client.base_url.join("openapi.json"))
    command = [generator, "generate", "--url", document, "--meta", "none", "--fail-on-warning"]
    result = subprocess.run(
        [*command, "--config", "config.yaml", "--output-path", "digits_client"],
        cwd=folder,
        env={**os.environ, "PATH": f"{environment}{os.pathsep}{os.environ['PATH']}"},  # it calls ruff
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_it_has_a_function_for_each_operation(generated: Path, client: httpx.Client) -> None:
    named = {
        operation["operationId"]
        for item in client.get("/openapi.json").json()["paths"].values()
        for operation in item.values()
    }
    made = {file.stem for file in (generated / "digits_client" / "api").glob("*/*.py")} - {"__init__"}
    assert made == named


def test_its_types_pass_mypy(generated: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "-p", "digits_client"],
        cwd=generated,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


def test_it_returns_predictions_and_problems(generated: Path) -> None:
    with serve(Settings(api_keys=("a-key",))) as client:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", USE, str(client.base_url), "a-key"],
            cwd=ROOT,
            env={"PYTHONPATH": str(generated)},
            check=False,
            capture_output=True,
            text=True,
        )
    assert (result.stdout, result.stderr) == ("done\n", "")
