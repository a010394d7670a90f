"""Many clients at once: HTTP/1.1 over asyncio's streams, so thin that the service is what is measured."""

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
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in small letters
    body: bytes
    seconds: float

    def json(self) -> Any:  # noqa: ANN401  # JSON is anything
        return json.loads(self.body)


class Lost(Exception):
    """The connection ended within an answer, or before one."""


class Connection:
    """One connection, which is kept until the service closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            Lost: none came, or a part of one.
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
            told = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            content = await reader.readexactly(int(told.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            raise Lost from error
        if told.get("connection") == "close" or (headers or {}).get("Connection") == "close":
            await self.close()
        return Answer(int(head[0].split()[1]), told, content, time.perf_counter() - started)

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            with suppress(ConnectionError):
                await self._streams[1].wait_closed()
            self._streams = None


@dataclass(slots=True)
class Tally:
    """What many clients met."""

    answers: list[Answer] = field(default_factory=list)
    lost: int = 0
    refused: int = 0  # connections that nobody took

    async def note(self, asked: Awaitable[Answer]) -> bool:
        """Note what becomes of a request; return whether anybody took it."""
        try:
            self.answers.append(await asked)
        except Lost:
            self.lost += 1
        except ConnectionError:
            self.refused += 1
            return False
        return True

    def count(self, status: int) -> int:
        """Return how many answers had this status."""
        return sum(answer.status == status for answer in self.answers)

    def quantile(self, share: float, *, status: int = 200) -> float:
        """Return the seconds within which that share of the answers of a status came."""
        seconds = sorted(answer.seconds for answer in self.answers if answer.status == status)
        return seconds[min(int(share * len(seconds)), len(seconds) - 1)]


Ask = Callable[[Connection], Awaitable[Answer]]


async def load(port: int, ask: Ask, *, clients: int, until: Callable[[], bool]) -> Tally:
    """Let so many clients ask, each again as soon as it is answered, until it is time."""
    tally = Tally()

    async def one() -> None:
        connection = Connection(port)
        while not until():
            if not await tally.note(ask(connection)):
                await asyncio.sleep(0.01)
        await connection.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return tally


async def offer(port: int, ask: Ask, *, each_second: float, until: Callable[[], bool]) -> Tally:
    """Ask so often, however long the answers take: the load that many who know nothing of each other make."""
    tally = Tally()
    idle: list[Connection] = []
    asked: set[asyncio.Task[None]] = set()

    async def one(connection: Connection) -> None:
        await tally.note(ask(connection))
        idle.append(connection)

    started, count = time.perf_counter(), 0
    while not until():
        while count < (time.perf_counter() - started) * each_second:
            asked.add(asyncio.create_task(one(idle.pop() if idle else Connection(port))))
            count += 1
        await asyncio.sleep(0.002)
        asked = {task for task in asked if not task.done()}
    await asyncio.gather(*asked)
    for connection in idle:
        await connection.close()
    return tally


def build_ask(path: str, bodies: Sequence[bytes], headers: Mapping[str, str]) -> Ask:
    """Post one body after the other."""
    turn = iter(range(1 << 62))

    async def ask(connection: Connection) -> Answer:
        return await connection.ask("POST", path, bodies[next(turn) % len(bodies)], headers)

    return ask


def stop_after(seconds: float) -> Callable[[], bool]:
    """Tell when so many seconds are over, from now on."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def times(count: int) -> Callable[[], bool]:
    """Tell when it has been asked so often."""
    left = iter(range(count))
    return lambda: next(left, None) is None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds."""

    megabytes: float
    threads: int
    descriptors: int


def list_sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    return sum("socket:" in os.path.realpath(file) for file in Path(f"/proc/{pid}/fd").iterdir())


def measure_usage(pid: int) -> Usage:
    """Read it from /proc."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return Usage(
        megabytes=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
    )
