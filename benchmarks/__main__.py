"""Measures the service: `make bench`, or `python -m benchmarks [--rounds N] [--seconds S] [--check]`.

Prints medians and ratios, and writes them as JSON. The service runs on one core, and what asks it on another;
what is compared is asked in turn, round by round. Machines differ, and so do a shared one's minutes: quote
ratios. Logs, guards and limits are on, as they come.

With --check it fails where a ratio is below its floor, so that a change which makes the service slower is
noticed on any machine, fast or slow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.digits import images
from app.digits.catalogue import Catalogue
from app.digits.look import look
from benchmarks import budget, pictures
from benchmarks.load import CONNECTIONS, Target, alternating, form, median, press, ratio
from benchmarks.serving import CLIENT, SERVER, served

BATCH: Final = 64
IN_FLIGHT: Final = 2  # batches: as many pictures as a worker takes on
SOAK: Final = 5.0  # seconds at full load, of each kind of picture
SIZES: Final = {"photograph 640x480": (640, 480), "1280x960": (1280, 960), "12 megapixels": (4032, 3024)}
FLOORS: Final = {  # ratios, a tenth or more below those of short rounds: 0.38 to 0.50 for the first
    ("small", "16 connections", "raw over nothing"): 0.34,
    ("small", "16 connections", "form over nothing"): 0.35,
    ("batch", "over the loop"): 0.55,
    ("workers", "two over one"): 1.6,
}
_TIMING: Final = re.compile(r"dur=([\d.]+)")


def main() -> None:
    """Measure all, print, and write the file."""
    parser = argparse.ArgumentParser("python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5, help="of everything that is compared (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (3)")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--check", action="store_true", help="fail where a ratio is below its floor")
    asked = parser.parse_args()
    press_for = {"rounds": asked.rounds, "seconds": asked.seconds}
    found: dict[str, Any] = {
        "machine": {
            "processor": _processor(),
            "python": platform.python_version(),
            "onnxruntime": version("onnxruntime"),
        }
    }
    for name, measure in (
        ("small", lambda: small(**press_for)),
        ("budget", budget.measure),
        ("batch", lambda: batch(**press_for)),
        ("pictures", lambda: kinds(rounds=asked.rounds)),
        ("start", lambda: start(rounds=asked.rounds)),
        ("memory", memory),
        ("workers", lambda: workers(**press_for)),
    ):
        found[name] = measure()
        print(f"{name}:", json.dumps(found[name], indent=2), flush=True)
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    below = {path: floor for path, floor in FLOORS.items() if _at(found, path) < floor}
    if asked.check and below:
        told = [f"{' / '.join(path)}: {_at(found, path)}, at least {floor}" for path, floor in below.items()]
        sys.exit("\n".join(["slower than it was:", *told]))


def _at(found: Any, path: Sequence[str]) -> float:  # noqa: ANN401
    for part in path:
        found = found[part]
    return float(found)


def small(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Ask for one small picture, raw and as a form, and for nothing in the same two ways."""
    body, content_type = form(pictures.SMALL)
    found: dict[str, Any] = {}
    with (
        served("-m", "benchmarks.nothing") as service,
        served("-m", "uvicorn", "benchmarks.bare:app", "--no-access-log") as bare,
    ):
        paths = {"": "/predict", " nothing": "/predict/nothing"}
        targets = {"bare": Target(f"http://127.0.0.1:{bare.port}/", pictures.SMALL)}
        for suffix, path in paths.items():
            url = f"http://127.0.0.1:{service.port}{path}"
            targets[f"raw{suffix}"] = Target(url, pictures.SMALL)
            targets[f"form{suffix}"] = Target(url, body, content_type)
        for connections in CONNECTIONS:
            figures = alternating(targets, connections=connections, rounds=rounds, seconds=seconds)
            found[f"{connections} connections"] = {
                name: median(each).rounded() for name, each in figures.items()
            } | {
                "raw over nothing": round(ratio(figures["raw"], figures["raw nothing"]), 3),
                "form over nothing": round(ratio(figures["form"], figures["form nothing"]), 3),
            }
    return found


def batch(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Send 64 small pictures at a time; compare with a loop that does the same work without HTTP."""
    body, content_type = form(pictures.SMALL, field="files", count=BATCH)
    rates, ratios = [], []
    with served() as service:
        target = Target(f"http://127.0.0.1:{service.port}/predict/batch", body, content_type)
        press(target, connections=IN_FLIGHT, seconds=1.0)
        for _ in range(rounds):
            limit = _batches_in_process(seconds)
            rates.append(BATCH * press(target, connections=IN_FLIGHT, seconds=seconds).rate)
            ratios.append(rates[-1] / limit)
    return {
        "pictures a second": round(statistics.median(rates)),
        "over the loop": round(statistics.median(ratios), 3),
    }


def _batches_in_process(seconds: float) -> float:
    """Return how many pictures a second a plain loop reads, on the service's core."""
    classifier = Catalogue.load(Path("models"), default="cnn").get().classifier
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, SERVER)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        looks = [look(images.identify(pictures.SMALL)) for _ in range(BATCH)]
        classifier.classify(np.array([one.canonical.picture for one in looks]))
        count += BATCH
    os.sched_setaffinity(0, before)
    return count / (time.perf_counter() - started)


def kinds(*, rounds: int) -> dict[str, Any]:
    """Ask for pictures of every kind, one after the other: the service's own time, and what HTTP adds."""
    uploads = {"28x28": pictures.SMALL, "canvas 280x280": pictures.CANVAS}
    uploads |= {"canvas 280x280 with transparency": pictures.CLEAR_CANVAS}
    uploads |= {name: pictures.photograph(*size) for name, size in SIZES.items()}
    found = {}
    with served() as service:
        for path, each in (("/predict", uploads), ("/predict/number", {"line": pictures.line("40718293")})):
            for name, data in each.items():
                found[name] = _one_after_the_other(service.client, path, data, times=40 * rounds)
    return found


def _one_after_the_other(client: Any, path: str, data: bytes, *, times: int) -> dict[str, float]:  # noqa: ANN401
    own, whole = [], []
    for _ in range(times):
        started = time.perf_counter()
        answer = client.post(path, content=data, headers={"Content-Type": "application/octet-stream"})
        whole.append((time.perf_counter() - started) * 1e3)
        answer.raise_for_status()
        own.append(sum(map(float, _TIMING.findall(answer.headers["server-timing"]))))
    return {
        "kilobytes": round(len(data) / 1e3, 1),
        "own_ms": round(statistics.median(own), 2),
        "answered_ms": round(statistics.median(whole), 2),
    }


def start(*, rounds: int) -> dict[str, float]:
    """Return the seconds from start to ready, with all models."""
    took = []
    for _ in range(rounds):
        with served() as service:
            took.append(service.seconds)
    return {"seconds": round(statistics.median(took), 2)}


def memory() -> dict[str, float]:
    """Return a worker's resident megabytes when it has started, and after a soak."""
    bodies = [
        pictures.SMALL,
        pictures.CANVAS,
        pictures.photograph(1280, 960),
        pictures.photograph(4032, 3024),
    ]
    with served() as service:
        (at_first,) = service.resident_mb()
        url = f"http://127.0.0.1:{service.port}/predict"
        for body in bodies:
            target = Target(url, body, "application/octet-stream")
            press(target, connections=16, seconds=SOAK)
        (after,) = service.resident_mb()
    return {"started_mb": round(at_first), "after_soak_mb": round(after)}


def workers(*, rounds: int, seconds: float) -> dict[str, float]:
    """Compare two workers on two cores with one on one.

    What asks takes its share of the two cores. So the requests that a second of the workers' processor time
    serves are compared, and counted twice for two workers.
    """
    with (
        served() as one,
        served(settings={"DIGITS_WORKERS": "2"}, cores=SERVER | CLIENT) as two,
    ):
        ratios = []
        for number in range(rounds + 1):
            rates = []
            for service in (one, two):
                target = Target(f"http://127.0.0.1:{service.port}/predict", pictures.SMALL)
                before = service.cpu_seconds()
                figures = press(target, connections=16, seconds=seconds)
                rates.append(figures.rate * seconds / (service.cpu_seconds() - before))
            if number:
                ratios.append(2 * rates[1] / rates[0])
    return {"two over one": round(statistics.median(ratios), 2)}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
