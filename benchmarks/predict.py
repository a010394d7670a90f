"""Times what one picture costs: stage by stage in process, over HTTP, and from start to ready.

    make bench            prints medians; compare two states of the code in alternation, on one machine

Every figure is the median of `ROUNDS` rounds; machines differ, so quote ratios.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from app.digits import images
from app.digits.catalogue import Catalogue
from app.digits.preprocessing import canonical

ROOT: Final = Path(__file__).parent.parent
GOLDEN: Final = ROOT / "tests" / "data" / "golden"
PICTURES: Final = ("3-canvas-black-on-white.png", "7-photo.jpg", "6-photo-small-in-large.jpg", "9-grey.bmp")
ROUNDS: Final = 100


def main() -> None:
    """Print all figures."""
    classifier = Catalogue.load(ROOT / "models", default="cnn").get().classifier
    print(f"{'picture':32}{'decode':>10}{'preprocess':>12}{'infer':>10}{'over HTTP':>12}   (median, ms)")
    started = time.perf_counter()
    with service() as client:
        ready = time.perf_counter() - started
        for name in PICTURES:
            data = (GOLDEN / name).read_bytes()
            picture = images.decode(images.identify(data))
            batch = canonical(picture.grey).picture[np.newaxis]
            stages = (
                lambda data=data: images.decode(images.identify(data)),
                lambda grey=picture.grey: canonical(grey),
                lambda batch=batch: classifier.classify(batch),
                lambda data=data: post(client, data),
            )
            decode, preprocess, infer, http = (median_milliseconds(stage) for stage in stages)
            print(f"{name:32}{decode:10.2f}{preprocess:12.2f}{infer:10.2f}{http:12.2f}")
    print(f"\nstart to ready: {ready:.2f} s")


def median_milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of one call in milliseconds."""
    spent = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent) * 1e3


def post(client: httpx.Client, data: bytes) -> None:
    """Send one picture as the raw body."""
    client.post("/predict", content=data, headers={"Content-Type": "image/png"}).raise_for_status()


@contextmanager
def service(*command: str, settings: Mapping[str, str] | None = None) -> Iterator[httpx.Client]:
    """Run the service, or what `python command` serves, in a process of its own until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "DIGITS_PORT": str(port), "UVICORN_PORT": str(port), **(settings or {})}
    with subprocess.Popen(  # noqa: S603  this project's own service
        [sys.executable, *(command or ("-m", "app"))], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until_ready(client)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)


def wait_until_ready(client: httpx.Client, *, seconds: float = 20.0) -> None:
    """Ask until the service is ready."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.get("/health/ready").raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


if __name__ == "__main__":
    main()
