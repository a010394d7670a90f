"""Helpers for tests of running services: replace a model, send requests continuously, follow the log."""

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
READY = '"ready"'  # in the log line that each worker writes once its models are loaded


def put_model(folder: Path, version: str) -> None:
    """Replace the tiny model atomically: write a new file, then rename it."""
    (folder / "tiny").mkdir(exist_ok=True)
    draft = folder / "tiny" / "draft"
    draft.write_bytes(build_tiny_model(metadata=GOOD | {Metadata.VERSION: version}))
    draft.rename(folder / "tiny" / "model.onnx")


def find_served_versions(running: Process) -> set[str]:
    """Return the versions of the tiny model that serve several new connections."""
    return {
        httpx.get(f"{running.client.base_url}/models/tiny", timeout=PATIENCE).json()["version"]
        for _ in range(8)
    }


def follow_log(running: Process) -> tuple[list[str], threading.Thread]:
    """Collect log lines as they are written, in a thread that ends with the process."""
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(running.popen.stderr or ()))
    reader.start()
    return log, reader


def count_starts(log: list[str]) -> int:
    """Return how many workers have loaded their models."""
    return sum(READY in line for line in log)


@contextmanager
def request_continuously(running: Process) -> Iterator[list[int]]:
    """Request predictions continuously from three threads, and collect the statuses."""
    statuses: list[int] = []
    stop = threading.Event()

    def request_predictions() -> None:
        while not stop.is_set():
            headers = PNG | {"Connection": "close"}
            answer = httpx.post(
                f"{running.client.base_url}/predict", content=THREE, headers=headers, timeout=PATIENCE
            )
            statuses.append(answer.status_code)

    threads = [threading.Thread(target=request_predictions) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()
