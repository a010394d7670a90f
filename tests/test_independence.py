"""The service needs none of the workshop: absence is tested, and so is the test."""

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


def loaded(script: str, *, first: str = "") -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after the script."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script.format(first=first)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_running_service_has_loaded_nothing_of_the_workshop_and_no_database() -> None:
    assert loaded(SERVE).isdisjoint(FOREIGN)


def test_evaluation_needs_no_keras() -> None:
    assert loaded(EVALUATE).isdisjoint({"keras", "tensorflow"})


@pytest.mark.parametrize("name", ["keras", "training", "sqlalchemy"])
def test_the_tests_above_can_fail(name: str) -> None:
    stand_in = f"import types; sys.modules[{name!r}] = types.ModuleType({name!r})"
    assert name in loaded(SERVE, first=stand_in)


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


def test_onnxruntime_is_told_not_to_phone_home_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    assert loaded(LOAD) == {"1"}


IMPORT = """
import os
os.environ["DIGITS_MODELS_DIR"] = "/nowhere"
import cv2, PIL.Image  # OpenCV adds variables of its own
before = dict(os.environ)
threads, pixels = cv2.getNumThreads(), PIL.Image.MAX_IMAGE_PIXELS
import app.main, app.server.start
assert os.environ == before
assert (cv2.getNumThreads(), PIL.Image.MAX_IMAGE_PIXELS) == (threads, pixels)
print("imported")
"""


def test_importing_the_application_reads_no_model_and_sets_nothing() -> None:
    assert loaded(IMPORT) == {"imported"}
