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


def list_loaded_modules(script: str, *, first: str = "") -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after the script."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script.format(first=first)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_running_service_loads_neither_the_workshop_nor_a_database() -> None:
    assert list_loaded_modules(SERVE).isdisjoint(FOREIGN)


def test_evaluation_needs_no_keras() -> None:
    assert list_loaded_modules(EVALUATE).isdisjoint({"keras", "tensorflow"})


@pytest.mark.parametrize("name", ["keras", "training", "sqlalchemy"])
def test_the_tests_above_can_fail(name: str) -> None:
    stand_in = f"import types; sys.modules[{name!r}] = types.ModuleType({name!r})"
    assert name in list_loaded_modules(SERVE, first=stand_in)


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


def test_onnxruntimes_telemetry_is_disabled_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    assert list_loaded_modules(LOAD) == {"1"}


IMPORT = """
import os, sys
import cv2, PIL.Image  # OpenCV adds variables of its own
readers = set()
class Environment(type(os.environ)):
    def __getitem__(self, key):
        frame = sys._getframe(1)
        while frame.f_globals["__name__"] in {{"os", "collections.abc", "_collections_abc"}}:
            frame = frame.f_back
        readers.add(frame.f_globals["__name__"].partition(".")[0])
        return super().__getitem__(key)
os.environ.__class__ = Environment
def settings():
    opencv = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    return *opencv, PIL.Image.MAX_IMAGE_PIXELS, list(os.environ), "onnxruntime" in sys.modules
before = settings()
readers.clear()
{first}
import app.main, app.server.start
print("set" if settings() != before else "unset", "read" if "app" in readers else "unread")
"""


def test_importing_the_application_reads_no_variable_and_sets_nothing() -> None:
    assert list_loaded_modules(IMPORT) == {"unset", "unread"}


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ("from app.digits.process import set_up_process; set_up_process()", {"set", "read"}),
        ("from app.settings import load_settings; load_settings()", {"unset", "read"}),
    ],
)
def test_the_test_above_can_fail(change: str, result: set[str]) -> None:
    assert list_loaded_modules(IMPORT, first=change) == result
