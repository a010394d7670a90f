"""Many clients at once: HTTP/1.1 over asyncio's streams, light enough that the service is the bottleneck."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PNG = {"Content-Type": "image/png"}
JPEG = {"Content-Type": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the seconds until it was complete."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    seconds: float

    def json(self) -> Any:  # noqa: ANN401  # JSON is anything
        return json.loads(self.body)


class AnswerLost(Exception):
    """The connection ended before an answer, or within one."""


class Connection:
    """A connection that is kept open until the service closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request, and wait for its answer.

        Raises:
            AnswerLost: the answer is missing or incomplete.
            ConnectionError: nobody listens.
        """
        started = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            content = await reader.readexactly(int(fields.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            raise AnswerLost from error
        if fields.get("connection") == "close" or (headers or {}).get("Connection") == "close":
            await self.close()
        return Answer(int(head[0].split()[1]), fields, content, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the connection, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            with suppress(ConnectionError):
                await self._streams[1].wait_closed()
            self._streams = None


@dataclass(slots=True)
class Tally:
    """The answers that many clients got, and the requests without one."""

    answers: list[Answer] = field(default_factory=list)
    lost: int = 0  # requests whose answer is missing or incomplete
    refused: int = 0  # connections that nobody accepted

    async def note(self, request: Awaitable[Answer]) -> bool:
        """Count the outcome of a request; return whether its connection was accepted."""
        try:
            self.answers.append(await request)
        except AnswerLost:
            self.lost += 1
        except ConnectionError:
            self.refused += 1
            return False
        return True

    def count(self, status: int) -> int:
        """Return the number of answers with a status."""
        return sum(answer.status == status for answer in self.answers)

    def quantile(self, share: float, *, status: int = 200) -> float:
        """Return the seconds within which a share of the answers with a status arrived."""
        seconds = sorted(answer.seconds for answer in self.answers if answer.status == status)
        return seconds[min(int(share * len(seconds)), len(seconds) - 1)]


Ask = Callable[[Connection], Awaitable[Answer]]


async def load(port: int, ask: Ask, *, clients: int, until: Callable[[], bool]) -> Tally:
    """Run clients that send their next request as soon as they have an answer, until `until()` is true."""
    tally = Tally()

    async def run_client() -> None:
        connection = Connection(port)
        while not until():
            if not await tally.note(ask(connection)):
                await asyncio.sleep(0.01)
        await connection.close()

    await asyncio.gather(*(run_client() for _ in range(clients)))
    return tally


async def offer(port: int, ask: Ask, *, each_second: float, until: Callable[[], bool]) -> Tally:
    """Send requests at a steady rate however long answers take, as many independent clients do."""
    tally = Tally()
    idle: list[Connection] = []
    pending: set[asyncio.Task[None]] = set()

    async def send_request(connection: Connection) -> None:
        await tally.note(ask(connection))
        idle.append(connection)

    started, count = time.perf_counter(), 0
    while not until():
        while count < (time.perf_counter() - started) * each_second:
            pending.add(asyncio.create_task(send_request(idle.pop() if idle else Connection(port))))
            count += 1
        await asyncio.sleep(0.002)
        pending = {task for task in pending if not task.done()}
    await asyncio.gather(*pending)
    for connection in idle:
        await connection.close()
    return tally


def build_ask(path: str, bodies: Sequence[bytes], headers: Mapping[str, str]) -> Ask:
    """Return a function that posts the bodies in turn."""
    numbers = iter(range(1 << 62))

    async def ask(connection: Connection) -> Answer:
        return await connection.ask("POST", path, bodies[next(numbers) % len(bodies)], headers)

    return ask


def stop_after(seconds: float) -> Callable[[], bool]:
    """Return a function that is true once some seconds have passed from now."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def stop_after_calls(count: int) -> Callable[[], bool]:
    """Return a function that is true after it has been called `count` times."""
    calls = iter(range(count))
    return lambda: next(calls, None) is None


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources that a process holds."""

    megabytes: float
    threads: int
    descriptors: int


def count_sockets(pid: int) -> int:
    """Return the number of open sockets of a process."""
    return sum("socket:" in os.path.realpath(file) for file in Path(f"/proc/{pid}/fd").iterdir())


def measure_usage(pid: int) -> Usage:
    """Read the resources of a process from /proc."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return Usage(
        megabytes=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
    )
