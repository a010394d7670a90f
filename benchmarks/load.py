"""Load from `wrk`, in alternating rounds: on a machine that others use, only ratios within a round hold."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.serving import CLIENT, pin_to_cores

SCRIPT: Final = Path(__file__).parent / "post.lua"
PNG: Final = "image/png"
CONNECTIONS: Final = (1, 16, 64)


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked."""

    url: str
    body: bytes
    content_type: str = PNG


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round, or the medians of several."""

    rate: float  # requests a second
    p50_us: float
    p99_us: float

    def round(self) -> dict[str, int]:
        """Return them as they are told."""
        return {"rate": round(self.rate), "p50_us": round(self.p50_us), "p99_us": round(self.p99_us)}


def build_form(picture: bytes, *, field: str = "file", count: int = 1) -> tuple[bytes, str]:
    """Return pictures as a multipart body, and its Content-Type."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="digit.png"\r\n'
    part = head.encode() + b"Content-Type: image/png\r\n\r\n" + picture + b"\r\n"
    return part * count + b"--x--\r\n", "multipart/form-data; boundary=x"


def measure_load(target: Target, *, connections: int, seconds: float) -> Figures:
    """Ask over so many connections, each again as soon as it is answered.

    Raises:
        SystemExit: `wrk` is not installed, or not every request was served.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(target.body)
        body.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "-s",
            str(SCRIPT),
            target.url,
        ]
        environment = os.environ | {"BODY": body.name, "CONTENT_TYPE": target.content_type}
        try:
            done = subprocess.run(
                pin_to_cores(CLIENT, command), env=environment, capture_output=True, check=True
            )
        except FileNotFoundError:
            sys.exit("wrk is not installed: Debian's package has the same name")
    figures = json.loads(done.stdout.splitlines()[-1])
    if figures.pop("failed"):
        sys.exit(f"not every request to {target.url} was served")
    return Figures(**figures)


def measure_alternating(
    targets: Mapping[str, Target], *, connections: int, rounds: int, seconds: float
) -> dict[str, list[Figures]]:
    """Press all targets in turn, `rounds` times, after a round that does not count."""
    figures_by_target: dict[str, list[Figures]] = {name: [] for name in targets}
    for number in range(rounds + 1):
        for name, target in targets.items():
            figures = measure_load(target, connections=connections, seconds=seconds if number else 1.0)
            if number:
                figures_by_target[name].append(figures)
    return figures_by_target


def median(rounds: Sequence[Figures]) -> Figures:
    """Return the medians of several rounds."""
    middle: Callable[[str], float] = lambda name: statistics.median(getattr(one, name) for one in rounds)  # noqa: E731
    return Figures(middle("rate"), middle("p50_us"), middle("p99_us"))


def ratio(over: Sequence[Figures], under: Sequence[Figures]) -> float:
    """Return the median of the rates' ratios, round by round."""
    return statistics.median(one.rate / other.rate for one, other in zip(over, under, strict=True))
