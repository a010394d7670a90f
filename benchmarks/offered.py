"""Open load: requests are sent at fixed times, whether or not earlier ones have been answered.

A client that waits for each answer before it sends the next request never sees how long other clients would
have waited. Here latency counts from the time at which a request was due.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import Target
from benchmarks.processes import CLIENT, pin_this_process

CONNECTIONS: Final = 64
WARM_UP: Final = 0.5  # seconds at the start that do not count
ANSWER_TIMEOUT: Final = 2.0  # seconds after the last request


@dataclass(frozen=True, slots=True)
class OfferedLoad:
    """The result of sending requests at a steady rate."""

    offered: float  # requests a second
    served: float  # requests a second, with status 200
    p50_ms: float | None  # None if some were not served
    p99_ms: float | None


def measure_offered(target: Target, *, rate: float, seconds: float) -> OfferedLoad:
    """Send `rate` requests a second over 64 connections, from the load generator's core."""
    with pin_this_process(CLIENT):
        return asyncio.run(_offer(target, rate=rate, seconds=seconds))


async def _offer(target: Target, *, rate: float, seconds: float) -> OfferedLoad:
    due_times: asyncio.Queue[float] = asyncio.Queue()
    latencies: dict[float, float] = {}  # by when the request was due
    clients = [asyncio.create_task(_send(target, due_times, latencies)) for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    for number in range(int(rate * (WARM_UP + seconds))):
        due = started + number / rate
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        due_times.put_nowait(due)
    with suppress(TimeoutError):
        await asyncio.wait_for(due_times.join(), ANSWER_TIMEOUT)
    elapsed = time.perf_counter() - started - WARM_UP
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    counted = [1e3 * latency for due, latency in latencies.items() if due >= started + WARM_UP]
    if len(counted) < int(rate * seconds):  # some were refused, or not answered in time
        return OfferedLoad(rate, len(counted) / elapsed, None, None)
    cuts = statistics.quantiles(counted, n=100, method="inclusive")
    return OfferedLoad(rate, len(counted) / elapsed, cuts[49], cuts[98])


async def _send(target: Target, due_times: asyncio.Queue[float], latencies: dict[float, float]) -> None:
    """Send requests over one connection, one at a time, whenever a request is due."""
    parts = urlsplit(target.url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {target.content_type}\r\n"
    request = f"{head}Content-Length: {len(target.body)}\r\n\r\n".encode() + target.body
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    while True:
        due = await due_times.get()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        if answer[9:12] == b"200":
            latencies[due] = time.perf_counter() - due
        due_times.task_done()
