"""Malicious clients, in their own process: `python -m tests.resilience.attacks NAME PORT CLIENTS`.

Prints "ready" once all clients are connected, and runs until it is killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

from tests.conftest import GOLDEN
from tests.serving import ROOT

Attack: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TINY: Final = (GOLDEN / "9-one-bit.png").read_bytes()  # 365 bytes, and read at a glance
MAX_BODY: Final = 10 * 1024 * 1024  # bytes: the longest body that is accepted
HEAD: Final = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
REQUEST: Final = HEAD + b"Content-Length: %d\r\n\r\n" % len(TINY) + TINY


async def never_read(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pipeline requests, and read no answers."""
    while True:
        writer.write(REQUEST * 100)
        await writer.drain()


async def pipeline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send 300 KB of the shortest requests at once, and read the answers."""
    writer.write(b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 12_500)
    while await reader.read(65_536):
        pass


async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a body at two bytes a second."""
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.5)


async def stop_before_the_end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the longest body except its last byte."""
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY + bytes(MAX_BODY - 1))
    await writer.drain()


async def stay_idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send one request, and keep the connection open."""
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.read(1)


ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack for attack in (never_read, pipeline, trickle, stop_before_the_end, stay_idle)
}


@contextmanager
def run_attack(attack: str, port: int, *, clients: int) -> Iterator[None]:
    """Let clients attack until the block ends."""
    command = [sys.executable, "-m", __name__, attack, str(port), str(clients)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


async def main(attack: Attack, port: int, clients: int) -> None:
    async def attack_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await attack(reader, writer)
        await asyncio.Event().wait()

    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    attacks = [asyncio.create_task(attack_and_wait(*stream)) for stream in streams]
    await asyncio.sleep(0.5)  # for the attack to take hold
    print("ready", flush=True)  # noqa: T201
    await asyncio.gather(*attacks)


if __name__ == "__main__":
    asyncio.run(main(ATTACKS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])))
