"""Runs services as processes on their own cores, and measures their processor time and memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from benchmarks.load import Target
from benchmarks.processes import SERVER, list_family, pin_command, read_cpu_seconds

ROOT: Final = Path(__file__).parent.parent
START_TIMEOUT: Final = 120.0  # seconds
END_TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running service that is ready."""

    client: httpx.Client
    pid: int
    start_seconds: float  # from the start of the process until it was ready

    def target(self, path: str, body: bytes, content_type: str = "image/png", **headers: str) -> Target:
        """Return a request to one of its routes."""
        return Target(str(self.client.base_url.join(path)), body, content_type, headers)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used, with all its workers."""
        return read_cpu_seconds(*list_family(self.pid))

    def resident_mb(self) -> float:
        """Return the resident memory of its main process in megabytes (10^6 bytes)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serve(
    *command: str, settings: Mapping[str, str] | None = None, cores: set[int] = SERVER
) -> Iterator[Service]:
    """Run the service, or another one that `python command` starts, until the block ends."""
    port = str(free_port())
    environment = {"DIGITS_PORT": port, "UVICORN_PORT": port, **(settings or {})}
    environment["PYTHONDONTWRITEBYTECODE"] = ""  # modules are compiled once, as in the image
    full_command = [sys.executable, *(command or ("-m", "app"))]
    started = time.perf_counter()
    with (
        tempfile.NamedTemporaryFile() as log,
        start(full_command, environment=environment, cores=cores, log=Path(log.name)) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        if not wait_until_served(lambda: client.get("/health/ready"), process):
            sys.exit(f"{' '.join(full_command)} did not become ready:\n{Path(log.name).read_text()}")
        yield Service(client, process.pid, time.perf_counter() - started)


@contextmanager
def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    cores: set[int] = SERVER,
    folder: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends; then end it and all processes that it has started."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            pin_command(cores, command),
            cwd=folder,
            env=os.environ | environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_TIMEOUT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_served(ask: Callable[[], httpx.Response], process: subprocess.Popen[bytes]) -> bool:
    """Send requests until one succeeds; return False if the process ends first, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if ask().is_success:
                return True
        time.sleep(0.01)
    return False


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
