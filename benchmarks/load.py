"""Generates load with `wrk`: each connection sends its next request as soon as it has an answer."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.figures import alternate, median_ratio
from benchmarks.processes import CLIENT, pin_command

SCRIPT: Final = Path(__file__).parent / "post.lua"
PNG: Final = "image/png"
CONNECTIONS: Final = (1, 16, 64)
PATIENCE: Final = "10s"  # with more connections than it has time for, a peer may answer late


@dataclass(frozen=True, slots=True)
class Target:
    """A request to send repeatedly."""

    url: str
    body: bytes
    content_type: str = PNG
    headers: Mapping[str, str] = field(default_factory=dict)


class Figures(NamedTuple):
    """The figures of one round, or the medians of several."""

    rate: float  # requests a second
    p50_us: float
    p99_us: float

    def round(self) -> dict[str, int]:
        """Return the figures as whole numbers by name."""
        return {name: round(value) for name, value in self._asdict().items()}


def build_form(picture: bytes, *, field: str = "file", count: int = 1) -> tuple[bytes, str]:
    """Return a multipart body with the same picture `count` times, and its Content-Type."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="digit.png"\r\n'
    part = head.encode() + b"Content-Type: image/png\r\n\r\n" + picture + b"\r\n"
    return part * count + b"--x--\r\n", "multipart/form-data; boundary=x"


def measure_load(target: Target, *, connections: int, seconds: float) -> Figures:
    """Send a request repeatedly, from the load generator's core.

    Raises:
        SystemExit: `wrk` is not installed, or a request was not served.
    """
    headers = {"Content-Type": target.content_type, **target.headers}
    with tempfile.NamedTemporaryFile() as body:
        body.write(target.body)
        body.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(SCRIPT)]
        command += ["--timeout", PATIENCE]
        command += [f"-H{name}: {value}" for name, value in headers.items()]
        environment = os.environ | {"BODY": body.name}
        try:
            result = subprocess.run(
                pin_command(CLIENT, [*command, target.url]), env=environment, capture_output=True, check=True
            )
        except subprocess.CalledProcessError as error:
            sys.exit(f"wrk failed (install it with `apt-get install wrk`): {error.stderr.decode()}")
    figures = json.loads(result.stdout.splitlines()[-1])
    if figures.pop("failed"):
        sys.exit(f"{target.url} did not serve every request")
    return Figures(**figures)


def measure_alternating(
    targets: Mapping[str, Target], *, connections: int, rounds: int, seconds: float
) -> dict[str, list[Figures]]:
    """Measure the load that each target can serve, in alternation."""

    def measure(target: Target) -> Callable[[float], Figures]:
        return lambda seconds: measure_load(target, connections=connections, seconds=seconds)

    measures = {name: measure(target) for name, target in targets.items()}
    return alternate(measures, rounds=rounds, seconds=seconds)


def median(rounds: Iterable[Figures]) -> Figures:
    """Return the medians of several rounds."""
    return Figures(*map(statistics.median, zip(*rounds, strict=True)))


def ratio(over: Iterable[Figures], under: Iterable[Figures]) -> float:
    """Return the median of the ratios of two rates, round by round."""
    return median_ratio((each.rate for each in over), (each.rate for each in under))
