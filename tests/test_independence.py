"""What the service does not import, and what importing it does not do. These tests are tested, too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

FOREIGN = (
    "tensorflow",
    "keras",
    "tf2onnx",
    "onnx",
    "sklearn",
    "matplotlib",
    "training",
    "sqlalchemy",
    "psycopg",
    "grpc",
    "google",
    "mcp",
)
SERVE = """
import sys
{first}
from fastapi.testclient import TestClient
from app.main import create_app
with TestClient(create_app()) as client:
    data = open("tests/data/golden/7-photo.jpg", "rb").read()
    answer = client.post("/predict", content=data, headers={{"Content-Type": "image/jpeg"}})
    assert answer.json()["digit"] == 7
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
EVALUATE = """
import sys
{first}
import training.data.mnist, training.judge.evaluation, training.recipe, training.search.study
import training.show.model_table, training.show.plots, training.show.tables
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def run_script(script: str, *, first: str = "") -> set[str]:
    """Run a script in a fresh interpreter, and return the words of its last line."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script.format(first=first)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(process.stdout.splitlines()[-1].split())


def test_the_service_imports_neither_training_nor_extras() -> None:
    assert run_script(SERVE).isdisjoint(FOREIGN)


def test_evaluation_does_not_import_keras() -> None:
    assert run_script(EVALUATE).isdisjoint({"keras", "tensorflow"})


@pytest.mark.parametrize("name", ["keras", "training", "sqlalchemy", "grpc", "mcp"])
def test_the_tests_above_can_fail(name: str) -> None:
    stand_in = f"import types; sys.modules[{name!r}] = types.ModuleType({name!r})"
    assert name in run_script(SERVE, first=stand_in)


LOAD = """
import os, sys
import app.main, app.server.start, training.__main__
assert "onnxruntime" not in sys.modules
assert "ORT_DISABLE_TELEMETRY" not in os.environ
from app.digits.classifier import Classifier
Classifier.load(open("models/linear/model.onnx", "rb").read())
assert "onnxruntime" in sys.modules
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


def test_the_telemetry_of_onnxruntime_is_disabled_before_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    assert run_script(LOAD) == {"1"}


IMPORT = """
import os, sys
import cv2, PIL.Image, PIL.ImageFile  # OpenCV sets variables of its own
def get_state():
    limits = PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES
    return dict(os.environ), limits, cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
os.environ["DIGITS_PORT"] = "not a port"  # whatever reads the settings raises
before = get_state()
import app.main, app.server.start
{first}
assert get_state() == before
assert "onnxruntime" not in sys.modules
print("imported")
"""


def test_importing_the_application_reads_no_settings_and_changes_no_library() -> None:
    assert run_script(IMPORT) == {"imported"}


@pytest.mark.parametrize(
    "change",
    [
        "app.main.create_app()",
        "import onnxruntime",
        "from app.digits.process import set_up_process; set_up_process()",
    ],
)
def test_the_test_of_the_import_can_fail(change: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_script(IMPORT, first=change)
