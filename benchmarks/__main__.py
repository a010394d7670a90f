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
from app.digits.look import canonicalise_upload
from benchmarks import budget, pictures
from benchmarks.load import CONNECTIONS, Target, build_form, measure_alternating, measure_load, median, ratio
from benchmarks.serving import CLIENT, SERVER, serve

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
    arguments = parser.parse_args()
    options = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    results: dict[str, Any] = {
        "machine": {
            "processor": _read_processor(),
            "python": platform.python_version(),
            "onnxruntime": version("onnxruntime"),
        }
    }
    for name, measure in (
        ("small", lambda: measure_small(**options)),
        ("budget", budget.measure),
        ("batch", lambda: measure_batch(**options)),
        ("pictures", lambda: measure_kinds(rounds=arguments.rounds)),
        ("start", lambda: measure_start(rounds=arguments.rounds)),
        ("memory", measure_memory),
        ("workers", lambda: measure_workers(**options)),
    ):
        results[name] = measure()
        print(f"{name}:", json.dumps(results[name], indent=2), flush=True)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    too_slow = {path: floor for path, floor in FLOORS.items() if _look_up(results, path) < floor}
    if arguments.check and too_slow:
        lines = [
            f"{' / '.join(path)}: {_look_up(results, path)}, at least {floor}"
            for path, floor in too_slow.items()
        ]
        sys.exit("\n".join(["slower than it was:", *lines]))


def _look_up(value: Any, path: Sequence[str]) -> float:  # noqa: ANN401
    for part in path:
        value = value[part]
    return float(value)


def measure_small(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Ask for one small picture, raw and as a form, and for nothing in the same two ways."""
    body, content_type = build_form(pictures.SMALL)
    results: dict[str, Any] = {}
    with (
        serve("-m", "benchmarks.nothing") as service,
        serve("-m", "uvicorn", "benchmarks.bare:app", "--no-access-log") as bare,
    ):
        paths = {"": "/predict", " nothing": "/predict/nothing"}
        targets = {"bare": Target(f"http://127.0.0.1:{bare.port}/", pictures.SMALL)}
        for suffix, path in paths.items():
            url = f"http://127.0.0.1:{service.port}{path}"
            targets[f"raw{suffix}"] = Target(url, pictures.SMALL)
            targets[f"form{suffix}"] = Target(url, body, content_type)
        for connections in CONNECTIONS:
            figures = measure_alternating(targets, connections=connections, rounds=rounds, seconds=seconds)
            results[f"{connections} connections"] = {
                name: median(each).round() for name, each in figures.items()
            } | {
                "raw over nothing": round(ratio(figures["raw"], figures["raw nothing"]), 3),
                "form over nothing": round(ratio(figures["form"], figures["form nothing"]), 3),
            }
    return results


def measure_batch(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Send 64 small pictures at a time; compare with a loop that does the same work without HTTP."""
    body, content_type = build_form(pictures.SMALL, field="files", count=BATCH)
    rates, ratios = [], []
    with serve() as service:
        target = Target(f"http://127.0.0.1:{service.port}/predict/batch", body, content_type)
        measure_load(target, connections=IN_FLIGHT, seconds=1.0)
        for _ in range(rounds):
            limit = _measure_plain_loop(seconds)
            rates.append(BATCH * measure_load(target, connections=IN_FLIGHT, seconds=seconds).rate)
            ratios.append(rates[-1] / limit)
    return {
        "pictures a second": round(statistics.median(rates)),
        "over the loop": round(statistics.median(ratios), 3),
    }


def _measure_plain_loop(seconds: float) -> float:
    """Return how many pictures a second a plain loop reads, on the service's core."""
    classifier = Catalogue.load(Path("models"), default="cnn").get().classifier
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, SERVER)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        looks = [canonicalise_upload(images.identify(pictures.SMALL)) for _ in range(BATCH)]
        classifier.classify(np.array([one.canonical.picture for one in looks]))
        count += BATCH
    os.sched_setaffinity(0, before)
    return count / (time.perf_counter() - started)


def measure_kinds(*, rounds: int) -> dict[str, Any]:
    """Ask for pictures of every kind, one after the other: the service's own time, and what HTTP adds."""
    uploads = {"28x28": pictures.SMALL, "canvas 280x280": pictures.CANVAS}
    uploads |= {"canvas 280x280 with transparency": pictures.CLEAR_CANVAS}
    uploads |= {name: pictures.draw_photograph(*size) for name, size in SIZES.items()}
    results = {}
    with serve() as service:
        for path, each in (
            ("/predict", uploads),
            ("/predict/number", {"line": pictures.draw_line("40718293")}),
        ):
            for name, data in each.items():
                results[name] = _measure_latency(service.client, path, data, times=40 * rounds)
    return results


def _measure_latency(client: Any, path: str, data: bytes, *, times: int) -> dict[str, float]:  # noqa: ANN401
    service_times, total_times = [], []
    for _ in range(times):
        started = time.perf_counter()
        answer = client.post(path, content=data, headers={"Content-Type": "application/octet-stream"})
        total_times.append((time.perf_counter() - started) * 1e3)
        answer.raise_for_status()
        service_times.append(sum(map(float, _TIMING.findall(answer.headers["server-timing"]))))
    return {
        "kilobytes": round(len(data) / 1e3, 1),
        "own_ms": round(statistics.median(service_times), 2),
        "answered_ms": round(statistics.median(total_times), 2),
    }


def measure_start(*, rounds: int) -> dict[str, float]:
    """Return the seconds from start to ready, with all models."""
    durations = []
    for _ in range(rounds):
        with serve() as service:
            durations.append(service.seconds)
    return {"seconds": round(statistics.median(durations), 2)}


def measure_memory() -> dict[str, float]:
    """Return a worker's resident megabytes when it has started, and after a soak."""
    bodies = [
        pictures.SMALL,
        pictures.CANVAS,
        pictures.draw_photograph(1280, 960),
        pictures.draw_photograph(4032, 3024),
    ]
    with serve() as service:
        (at_first,) = service.resident_mb()
        url = f"http://127.0.0.1:{service.port}/predict"
        for body in bodies:
            target = Target(url, body, "application/octet-stream")
            measure_load(target, connections=16, seconds=SOAK)
        (after,) = service.resident_mb()
    return {"started_mb": round(at_first), "after_soak_mb": round(after)}


def measure_workers(*, rounds: int, seconds: float) -> dict[str, float]:
    """Compare two workers on two cores with one on one.

    What asks takes its share of the two cores. So the requests that a second of the workers' processor time
    serves are compared, and counted twice for two workers.
    """
    with (
        serve() as one,
        serve(settings={"DIGITS_WORKERS": "2"}, cores=SERVER | CLIENT) as two,
    ):
        ratios = []
        for number in range(rounds + 1):
            rates = []
            for service in (one, two):
                target = Target(f"http://127.0.0.1:{service.port}/predict", pictures.SMALL)
                before = service.cpu_seconds()
                figures = measure_load(target, connections=16, seconds=seconds)
                rates.append(figures.rate * seconds / (service.cpu_seconds() - before))
            if number:
                ratios.append(2 * rates[1] / rates[0])
    return {"two over one": round(statistics.median(ratios), 2)}


def _read_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
