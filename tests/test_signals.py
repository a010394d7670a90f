"""SIGHUP: models are loaded again under the eyes of clients."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.digits.contract import Metadata
from tests.conftest import GOLDEN, MODELS
from tests.serving import PATIENCE, Process, process, until
from tests.tiny import GOOD, tiny_model

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PNG = {"Content-Type": "image/png"}
WORKERS = ["1", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of models whose default is tiny."""
    shutil.copytree(MODELS / "linear", tmp_path / "linear")
    put(tmp_path, "1.0.0")
    return tmp_path


def put(folder: Path, version: str) -> None:
    """Replace the tiny model as one should: written beside, then renamed."""
    (folder / "tiny").mkdir(exist_ok=True)
    draft = folder / "tiny" / "draft"
    draft.write_bytes(tiny_model(metadata=GOOD | {Metadata.VERSION: version}))
    draft.rename(folder / "tiny" / "model.onnx")


def served(running: Process) -> set[str]:
    """Return the versions that several new connections are answered by."""
    return {
        httpx.get(f"{running.client.base_url}/models/tiny", timeout=PATIENCE).json()["version"]
        for _ in range(8)
    }


@contextmanager
def asked_all_along(running: Process) -> Iterator[list[int]]:
    """Ask for predictions without a pause, and collect the statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            headers = PNG | {"Connection": "close"}
            answer = httpx.post(
                f"{running.client.base_url}/predict", content=THREE, headers=headers, timeout=PATIENCE
            )
            statuses.append(answer.status_code)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        yield statuses
    finally:
        over.set()
        for asker in askers:
            asker.join()


@pytest.mark.parametrize("workers", WORKERS)
def test_a_new_model_is_served_without_a_failed_request(folder: Path, workers: str) -> None:
    quiet = {"log_level": "error"}  # nobody reads the log, and a full pipe would hold up the service
    with process(models_dir=str(folder), default_model="tiny", workers=workers, **quiet) as running:
        assert served(running) == {"1.0.0"}
        with asked_all_along(running) as statuses:
            put(folder, "2.0.0")
            running.popen.send_signal(signal.SIGHUP)
            until(lambda: served(running) == {"2.0.0"})
        assert set(statuses) == {200}
        running.popen.send_signal(signal.SIGTERM)
        status, _ = running.end()
    assert status == 0


@pytest.mark.parametrize("workers", WORKERS)
def test_a_damaged_model_leaves_the_old_one_serving(folder: Path, workers: str) -> None:
    with process(models_dir=str(folder), default_model="tiny", workers=workers) as running:
        log: list[str] = []
        reader = threading.Thread(target=lambda: log.extend(running.popen.stderr or ()))
        reader.start()
        until(lambda: sum('"ready"' in line for line in log) == int(workers))
        file = folder / "tiny" / "model.onnx"
        file.write_bytes(file.read_bytes()[:300])
        running.popen.send_signal(signal.SIGHUP)
        until(lambda: any("serve on" in line for line in log))
        assert served(running) == {"1.0.0"}
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(60) == 0
        reader.join()
    (told,) = [line for line in log if "serve on" in line]
    assert "tiny/model.onnx can't be served: onnxruntime can't load it" in told
    assert not any("Traceback" in line for line in log)
