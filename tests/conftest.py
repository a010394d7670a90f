"""Shared fixtures: the committed models, a real server on a real socket, and MNIST and fonts if available."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest

from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.digits.finder import Finder
from app.digits.numbers import NumberReader
from app.digits.process import set_up_process
from app.settings import VARIABLES, Settings
from tests.needs import FIXTURES, NEEDS, find_mnist
from tests.serving import serve
from tests.slow import SlowDecoder, slow_down_pillow
from training.data import fonts, mnist
from training.data.labelled import Labelled

# no test may depend on how fast the machine is
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
GOLDEN = ROOT / "tests" / "data" / "golden"
HOSTILE = ROOT / "tests" / "data" / "hostile"
# What takes longest is started first: processes that run tests at the same time then end together.
SLOWEST = (
    "deploy/ray/test_serve.py",
    "training/test_commands.py",
    "notebook",
    "page",
    "deploy/ray/test_score.py",
    "training/learn",
    "training/export",
    "training/search",
    "server",
    "resilience",
    "client",
    "test_install.py",
    "test_container.py",
    "test_integrate.py",
)


def pytest_configure() -> None:
    set_up_process()
    # Shells let background jobs ignore it, and so would every process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-extras",
        action="store_true",
        help="skip the tests that need more than .venv-dev, even where it is there: what `make test` does",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the mark `needs` to tests whose fixtures need it, and put the slowest first."""
    for item in items:
        for fixture in FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.needs(FIXTURES[fixture]))
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """Return where in `SLOWEST` a test is, and a number above all if it is nowhere."""
    path = item.path.relative_to(ROOT / "tests")
    return next((rank for rank, slow in enumerate(SLOWEST) if path.is_relative_to(slow)), len(SLOWEST))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs something that is missing, or that --no-extras rules out."""
    for name in (name for mark in item.iter_markers("needs") for name in mark.args):
        if item.config.getoption("--no-extras"):
            pytest.skip(f"needs {name}, which `make test` does without: make test-all")
        if not NEEDS[name].is_met():
            pytest.skip(f"needs {name}: {NEEDS[name].remedy}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where all that tests need has been prepared, count a test that nobody asked to skip as failed."""
    report = yield
    asked = item.config.getoption("--no-extras") and any(item.iter_markers("needs"))
    if report.skipped and not asked and not hasattr(report, "wasxfail") and os.environ.get("DIGITS_NO_SKIPS"):
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
def finder(catalogue: Catalogue) -> Finder:
    finder = catalogue.get_finder()
    assert finder
    return finder


@pytest.fixture(scope="session")
def number_reader(catalogue: Catalogue) -> NumberReader:
    return catalogue.get_number_reader()


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """A client of the service with default settings, over a real socket."""
    with serve(Settings()) as client:
        yield client


@pytest.fixture
def slow_decoder() -> Iterator[SlowDecoder]:
    """Slow down Pillow, so that pictures are being decoded until the test releases them."""
    with slow_down_pillow() as decoder:
        yield decoder


@pytest.fixture(scope="session")
def mnist_file() -> Path:
    file = find_mnist()
    assert file
    return file


@pytest.fixture(scope="session")
def mnist_test(mnist_file: Path) -> Labelled:
    return mnist.load_test(mnist_file)


@pytest.fixture(scope="session")
def font_folder() -> Path:
    """The folder of the fonts that scenes are drawn with."""
    return fonts.find_folder()


def golden_uploads() -> list[Path]:
    return sorted(file for file in GOLDEN.iterdir() if not file.name.endswith(".canonical.png"))


def hostile_files() -> dict[str, tuple[int, str | None]]:
    """Return the expected status and code of each hostile file, by name."""
    expected = json.loads((HOSTILE / "expected.json").read_text())
    return {name: (answer["status"], answer["code"]) for name, answer in expected.items()}
