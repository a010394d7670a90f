"""Load that does not wait for answers: requests come at their times, whether or not the last was answered.

python -m benchmarks.offered URL BODY CONTENT-TYPE RATE SECONDS     prints its figures as one line of JSON

A client that waits for an answer before it asks again never sees how long the others would have waited. Here
the time of an answer counts from when its request was due.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import Target
from benchmarks.serving import CLIENT, pin_to_cores

CONNECTIONS: Final = 64
WARM_UP: Final = 0.5  # seconds at the start that do not count
PATIENCE: Final = 2.0  # seconds after the last request


@dataclass(frozen=True, slots=True)
class OfferedLoad:
    """What became of requests that came at a steady rate."""

    offered: float  # requests a second
    served: float  # requests a second, with status 200
    p50_ms: float | None  # none where some were not served
    p99_ms: float | None


def measure_offered(target: Target, *, rate: float, seconds: float) -> OfferedLoad:
    """Ask `rate` times a second over as many of 64 connections as that takes, on the clients' core."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(target.body)
        body.flush()
        command = [sys.executable, "-m", "benchmarks.offered", target.url, body.name, target.content_type]
        done = subprocess.run(
            pin_to_cores(CLIENT, [*command, str(rate), str(seconds)]), capture_output=True, check=True
        )
    return OfferedLoad(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """Sends one request at a time, and counts what comes back by its length."""

    def __init__(self, requests: _Requests) -> None:
        self._requests = requests
        self._due = 0.0
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for mypy
        self._transport = transport

    def ask(self, due: float) -> None:
        self._due = due
        self._transport.write(self._requests.request)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, body = self._seen.partition(b"\r\n\r\n")
        if found and len(body) >= _parse_length(head):
            self._seen = b""
            self._requests.note_answer(self, self._due, served=head[9:12] == b"200")


class _Requests:
    """All connections, those that are free, and the requests for which none was."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.durations: list[float] = []
        self.complete = asyncio.Event()
        self._expected = 0  # not known before all have been asked
        self._free: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()

    async def connect(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(lambda: _Connection(self), host, port)
            self._free.append(connection)

    def ask(self, due: float) -> None:
        if self._free:
            self._free.popleft().ask(due)
        else:
            self._waiting.append(due)

    def complete_with(self, count: int) -> None:
        self._expected = count
        if len(self.durations) >= count:
            self.complete.set()

    def note_answer(self, connection: _Connection, due: float, *, served: bool) -> None:
        if served:
            self.durations.append(time.perf_counter() - due)
        if len(self.durations) == self._expected:
            self.complete.set()
        if self._waiting:
            connection.ask(self._waiting.popleft())
        else:
            self._free.append(connection)


async def _offer(url: str, body: bytes, content_type: str, rate: float, seconds: float) -> OfferedLoad:
    parts = urlsplit(url)
    assert parts.hostname and parts.port  # noqa: S101, PT018  for mypy
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
    requests = _Requests(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await requests.connect(parts.hostname, parts.port)
    count, warm = int(rate * seconds), int(rate * WARM_UP)
    started = time.perf_counter()
    for number in range(warm + count):
        due = started + number / rate
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        if number == warm:
            requests.durations.clear()
        requests.ask(due)
    requests.complete_with(count)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await requests.complete.wait()
    took = requests.durations[:count]
    served = len(took) / (time.perf_counter() - started - WARM_UP)
    if len(took) < count:  # some were refused, or waited for longer than anybody would
        return OfferedLoad(rate, served, None, None)
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return OfferedLoad(rate, served, 1e3 * cuts[49], 1e3 * cuts[98])


def _parse_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length: ")
    return int(rest.partition(b"\r\n")[0])


if __name__ == "__main__":
    url, file, content_type, rate, seconds = sys.argv[1:]
    figures = asyncio.run(_offer(url, Path(file).read_bytes(), content_type, float(rate), float(seconds)))
    print(json.dumps({name: getattr(figures, name) for name in OfferedLoad.__slots__}))
