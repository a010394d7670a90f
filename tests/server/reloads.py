"""What tests do to running services: put a model into the folder, ask all along, follow the log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.digits.contract import Metadata
from tests.conftest import GOLDEN
from tests.serving import PATIENCE, Process
from tests.tiny import GOOD, build_tiny_model

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PNG = {"Content-Type": "image/png"}
READY = '"ready"'  # in the line of the log that each worker writes when it has loaded its models


def put_model(folder: Path, version: str) -> None:
    """Replace the tiny model as one should: written beside, then renamed."""
    (folder / "tiny").mkdir(exist_ok=True)
    draft = folder / "tiny" / "draft"
    draft.write_bytes(build_tiny_model(metadata=GOOD | {Metadata.VERSION: version}))
    draft.rename(folder / "tiny" / "model.onnx")


def served_versions(running: Process) -> set[str]:
    """Return the versions of the tiny model that several new connections are answered by."""
    return {
        httpx.get(f"{running.client.base_url}/models/tiny", timeout=PATIENCE).json()["version"]
        for _ in range(8)
    }


def follow_log(running: Process) -> tuple[list[str], threading.Thread]:
    """Collect the lines of the log as they come; the thread ends with the process."""
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(running.popen.stderr or ()))
    reader.start()
    return log, reader


def count_starts(log: list[str]) -> int:
    """Return how many workers have loaded their models."""
    return sum(READY in line for line in log)


@contextmanager
def asking(running: Process) -> Iterator[list[int]]:
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
