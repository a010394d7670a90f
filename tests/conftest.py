"""Real things for the tests: the committed models, a real server on a real socket, MNIST where it is."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest

from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.settings import VARIABLES, Settings
from tests.serving import serving
from tests.slow import SlowDecoder, slowing_down
from training import data, fonts
from training.data import Labelled

# no test may depend on how fast the machine is
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
GOLDEN = ROOT / "tests" / "data" / "golden"
HOSTILE = ROOT / "tests" / "data" / "hostile"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything that the tests need has been prepared, a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("DIGITS_NO_SKIPS"):
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "DIGITS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(MODELS, default="cnn")


@pytest.fixture(scope="session")
def classifier(catalogue: Catalogue) -> Classifier:
    return catalogue.get().classifier


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """A client of the service with default settings, over a real socket."""
    with serving(Settings()) as client:
        yield client


@pytest.fixture
def slow_decoder() -> Iterator[SlowDecoder]:
    """Pillow, slowed down: pictures are being read until the test lets go of them."""
    with slowing_down() as decoder:
        yield decoder


@pytest.fixture(scope="session")
def mnist_file() -> Path:
    shared = ROOT.parent / "shared" / "data" / "mnist" / "mnist.npz"
    for file in (data.find(None), shared):
        if file.exists():
            return file
    pytest.skip("MNIST is neither at DIGITS_MNIST nor in Keras' folder: python -m training fetch")


@pytest.fixture(scope="session")
def mnist_test(mnist_file: Path) -> Labelled:
    return data.load_test(mnist_file)


@pytest.fixture(scope="session")
def font_folder() -> Path:
    """The folder of the fonts that scenes are drawn with."""
    if not fonts.present():
        pytest.skip("the fonts have not been fetched: python -m training fetch-fonts")
    return fonts.folder()


def golden_uploads() -> list[Path]:
    return sorted(file for file in GOLDEN.iterdir() if not file.name.endswith(".canonical.png"))


def hostile_files() -> dict[str, tuple[int, str | None]]:
    """File name → the status and code that it must give."""
    expected = json.loads((HOSTILE / "expected.json").read_text())
    return {name: (answer["status"], answer["code"]) for name, answer in expected.items()}
