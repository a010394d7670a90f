"""Measures the service: `make bench`, or `python -m benchmarks [--rounds N] [--seconds S] [--check]`.

Prints medians and ratios, and writes them as JSON. The service runs on one core, the load generator on
another, and candidates are measured in alternation. Machines differ, so quote ratios. Logs, guards and limits
have their default settings.

With --check it fails if a ratio is below its floor: that shows a slower service on any machine. A ratio that
is low once is measured again in more rounds, because noise passes and a slower service stays slow.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.catalogue import Catalogue
from benchmarks import budget, image, pictures
from benchmarks.budget import BATCH_SIZE
from benchmarks.figures import alternate, median_ratio
from benchmarks.load import CONNECTIONS, build_form, measure_alternating, measure_load, median, ratio
from benchmarks.processes import CLIENT, SERVER, pin_this_process
from benchmarks.serving import Service, serve

KeyPath = tuple[str, ...]  # the keys that lead to a ratio in the results

RESULTS_FILE: Final = Path("bench.json")
BATCHES_IN_FLIGHT: Final = 2  # together as many pictures as a worker has places
MANY: Final = (4, 16, 64)  # workers, on a machine with as many cores
SOAK: Final = 5.0  # seconds at full load, with each kind of picture
SIZES: Final = {"photograph 640x480": (640, 480), "1280x960": (1280, 960), "12 megapixels": (4032, 3024)}
PAGE: Final = ("4071829356", "1234567890", "9876543210", "5566778899", "1029384756")
SMALL_RATIOS: Final = (
    ("raw", "bare"),
    ("raw nothing", "bare"),
    ("raw", "raw nothing"),
    ("form", "form nothing"),
)
CHECK_ROUNDS: Final = 5  # for a ratio that was below its floor
FLOORS: Final[Mapping[KeyPath, float]] = {  # a tenth or more below the medians of short rounds
    ("small", "16 connections", "raw over bare"): 0.085,
    ("small", "16 connections", "raw nothing over bare"): 0.25,
    ("batch", "over the loop"): 0.55,
    ("workers", "over two services"): 0.8,
}
_TIMING: Final = re.compile(r"dur=([\d.]+)")


def main() -> None:
    """Measure everything, print it, and write the file."""
    parser = argparse.ArgumentParser("python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds of each comparison (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round (3)")
    parser.add_argument("--check", action="store_true", help="fail if a ratio is below its floor")
    arguments = parser.parse_args()
    measures = list_measures(rounds=arguments.rounds, seconds=arguments.seconds)
    results: dict[str, Any] = {}
    for name, measure in measures.items():
        results[name] = measure()
        print(f"{name}:", json.dumps(results[name], indent=2), flush=True)
    RESULTS_FILE.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.check:
        check(results, list_measures(rounds=CHECK_ROUNDS, seconds=arguments.seconds))


def list_measures(*, rounds: int, seconds: float) -> dict[str, Callable[[], Any]]:
    """Return all measurements by name, with this many rounds of this length."""
    return {
        "small": lambda: measure_small(rounds=rounds, seconds=seconds),
        "budget": budget.measure,
        "batch": lambda: measure_batch(rounds=rounds, seconds=seconds),
        "pictures": lambda: measure_kinds(rounds=rounds),
        "start": lambda: measure_start(rounds=rounds),
        "memory": measure_memory,
        "workers": lambda: measure_workers(rounds=rounds, seconds=seconds),
        "image": image.measure,
    }


def check(results: Mapping[str, Any], measures: Mapping[str, Callable[[], Any]]) -> None:
    """Measure again what has a ratio below its floor.

    Raises:
        SystemExit: A ratio is below its floor both times.
    """
    low = find_low_ratios(results, FLOORS)
    if low:
        print("Below their floors, so measured again:", _describe(low), sep="\n", flush=True)
    again = {name: measures[name]() for name in sorted({name for name, *_ in low})}
    if still_low := find_low_ratios(again, low):
        sys.exit(f"Still below their floors:\n{_describe(still_low)}")


def find_low_ratios(results: Mapping[str, Any], paths: Iterable[KeyPath]) -> dict[KeyPath, float]:
    """Return those of these ratios that are below their floors."""
    low: dict[KeyPath, float] = {}
    for path in paths:
        value: Any = results
        for key in path:
            value = value[key]
        if value < FLOORS[path]:
            low[path] = value
    return low


def _describe(low: Mapping[KeyPath, float]) -> str:
    return "\n".join(f"{' / '.join(path)}: {value}, floor {FLOORS[path]}" for path, value in low.items())


def measure_small(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Send one small picture, raw and as a form, to the service and to routes that do nothing."""
    form, content_type = build_form(pictures.SMALL)
    results: dict[str, Any] = {}
    with (
        serve("-m", "benchmarks.nothing") as service,
        serve("-m", "uvicorn", "benchmarks.nothing:bare", "--no-access-log") as bare,
    ):
        targets = {"bare": bare.target("/", pictures.SMALL)}
        for suffix, path in {"": "/predict", " nothing": "/predict/nothing"}.items():
            targets[f"raw{suffix}"] = service.target(path, pictures.SMALL)
            targets[f"form{suffix}"] = service.target(path, form, content_type)
        for connections in CONNECTIONS:
            figures = measure_alternating(targets, connections=connections, rounds=rounds, seconds=seconds)
            results[f"{connections} connections"] = {
                name: median(each).round() for name, each in figures.items()
            } | {
                f"{over} over {under}": round(ratio(figures[over], figures[under]), 3)
                for over, under in SMALL_RATIOS
            }
    return results


def measure_batch(*, rounds: int, seconds: float) -> dict[str, float]:
    """Send 64 small pictures at a time; compare with a loop that does the same work without HTTP."""
    body, content_type = build_form(pictures.SMALL, field="files", count=BATCH_SIZE)
    with serve() as service:
        target = service.target("/predict/batch", body, content_type)
        rates = alternate(
            {
                "loop": _measure_plain_loop,
                "service": lambda seconds: (
                    BATCH_SIZE * measure_load(target, connections=BATCHES_IN_FLIGHT, seconds=seconds).rate
                ),
            },
            rounds=rounds,
            seconds=seconds,
        )
    return {
        "pictures a second": round(statistics.median(rates["service"])),
        "over the loop": round(median_ratio(rates["service"], rates["loop"]), 3),
    }


def _measure_plain_loop(seconds: float) -> float:
    """Return how many pictures a second a plain loop reads, on the service's core."""
    classifier = Catalogue.load(Path("models"), default="cnn").get().classifier
    with pin_this_process(SERVER):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            forms = [
                canonicalise_upload(images.identify(pictures.SMALL)).canonical for _ in range(BATCH_SIZE)
            ]
            classifier.classify(np.array([form.picture for form in forms]))
            count += BATCH_SIZE
    return count / elapsed


def measure_kinds(*, rounds: int) -> dict[str, Any]:
    """Send pictures of every kind, one after the other."""
    uploads = {"28x28": pictures.SMALL, "canvas 280x280": pictures.CANVAS}
    uploads |= {"canvas 280x280 with transparency": pictures.CLEAR_CANVAS}
    uploads |= {name: pictures.draw_photograph(*size) for name, size in SIZES.items()}
    times = 40 * rounds
    with serve() as service:
        results = {
            name: _measure_latency(service.client, "/predict", data, times=times)
            for name, data in uploads.items()
        }
        numbers = {"line": pictures.draw_line("40718293"), "page of 50 digits": pictures.draw_page(*PAGE)}
        for name, data in numbers.items():
            results[name] = _measure_latency(service.client, "/predict/number", data, times=times)
    return results


def _measure_latency(client: httpx.Client, path: str, data: bytes, *, times: int) -> dict[str, float]:
    """Return the size of a picture, and the median of the processing time in `Server-Timing`."""
    durations = []
    for _ in range(times):
        answer = client.post(path, content=data, headers={"Content-Type": "application/octet-stream"})
        answer.raise_for_status()
        durations.append(sum(map(float, _TIMING.findall(answer.headers["server-timing"]))))
    return {"kilobytes": round(len(data) / 1e3, 1), "ms": round(statistics.median(durations), 2)}


def measure_start(*, rounds: int) -> dict[str, float]:
    """Return the seconds from start to ready, with all models, and how many of them use the processor."""
    starts = []
    for _ in range(rounds + 1):
        with serve() as service:
            starts.append((service.start_seconds, service.cpu_seconds()))
    seconds, cpu_seconds = map(statistics.median, zip(*starts[1:], strict=True))  # the first may compile
    return {"seconds": round(seconds, 2), "of the processor": round(cpu_seconds, 2)}


def measure_memory() -> dict[str, int]:
    """Return a worker's resident megabytes after its start, and after small and large pictures."""
    photographs = [pictures.draw_photograph(*SIZES[name]) for name in ("1280x960", "12 megapixels")]
    with serve() as service:
        sizes = {"started": service.resident_mb()}
        _soak(service, pictures.SMALL, pictures.CANVAS)
        sizes["after small pictures"] = service.resident_mb()
        _soak(service, *photographs)
        sizes["after photographs"] = service.resident_mb()
    return {name: round(size) for name, size in sizes.items()}


def _soak(service: Service, *bodies: bytes) -> None:
    for body in bodies:
        target = service.target("/predict", body, "application/octet-stream")
        measure_load(target, connections=16, seconds=SOAK)


def measure_workers(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Compare two workers on two cores with one on one core, and predict what more workers would do.

    The load generator also uses one of the two cores. So requests per second of processor time are compared,
    counted twice for two workers. Each worker has 16 connections; if two share as many, their batches are
    half as large, and the prediction is made from these.

    Two cores that share a cache, or are two threads of one, are slower when both work. Two services with one
    worker each share no more than that, so the ratio to them shows what the workers themselves lose.
    """

    def measure(*services: Service, connections: int = 16) -> Callable[[float], float]:
        targets = [service.target("/predict", pictures.SMALL) for service in services]

        def read_cpu_seconds() -> float:
            return sum(service.cpu_seconds() for service in services)

        def measure_rate(seconds: float) -> float:
            measure = functools.partial(measure_load, connections=connections, seconds=seconds)
            before = read_cpu_seconds()
            with ThreadPoolExecutor() as threads:
                rate = sum(figures.rate for figures in threads.map(measure, targets))
            return rate * seconds / (read_cpu_seconds() - before)

        return measure_rate

    settings = {"DIGITS_WORKERS": "2"}
    with (
        serve() as one,
        serve(cores=CLIENT) as other,
        serve(settings=settings, cores=SERVER | CLIENT) as two,
    ):
        rates = alternate(
            {
                "one": measure(one),
                "two": measure(two, connections=32),
                "sharing": measure(two),
                "services": measure(one, other),
            },
            rounds=rounds,
            seconds=seconds,
        )
    two_over_one, sharing = (2 * median_ratio(rates[name], rates["one"]) for name in ("two", "sharing"))
    predicted = {f"{count} over one, at worst and at best": predict(sharing, count) for count in MANY}
    return {
        "two over one": round(two_over_one, 2),
        "sharing connections": round(sharing, 2),
        "over two services": round(median_ratio(rates["two"], rates["services"]), 2),
        **predicted,
    }


def predict(two_over_one: float, count: int) -> tuple[float, float]:
    """Return how many times as many requests as one worker `count` of them serve, on as many cores.

    At worst, two workers lose what they lose because each waits for the other: then more lose more (Amdahl's
    law). At best, each loses as much as each of two, whatever their number.
    """
    serial_share = max(0.0, 2 / two_over_one - 1)
    return round(count / (1 + serial_share * (count - 1)), 1), round(count * min(1.0, two_over_one / 2), 1)


if __name__ == "__main__":
    main()
