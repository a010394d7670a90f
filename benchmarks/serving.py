"""Services in processes of their own, each on its own core, and what they use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

ROOT: Final = Path(__file__).parent.parent
_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER: Final = {_CORES[0]}  # the core of what is measured
CLIENT: Final = {_CORES[-1]}  # and of what asks it
START: Final = 60.0  # seconds, at most
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready."""

    client: httpx.Client
    port: int
    pid: int
    seconds: float  # from its start until it was ready

    def workers(self) -> list[int]:
        """Return the ids of the processes that serve: its children, else itself."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found or [self.pid]

    def cpu_seconds(self) -> float:
        """Return the processor time that all workers have used."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in self.workers()]
        return sum(int(ticks) for own in fields for ticks in own[11:13]) / _TICKS

    def resident_mb(self) -> list[float]:
        """Return each worker's resident memory in megabytes (10^6 bytes)."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers()]
        return [count * os.sysconf("SC_PAGE_SIZE") / 1e6 for count in pages]


@contextmanager
def serve(
    *command: str, settings: Mapping[str, str] | None = None, cores: set[int] = SERVER
) -> Iterator[Service]:
    """Run the service, or what `python command` serves, until the block ends."""
    port = free_port()
    environment = {**os.environ, "DIGITS_PORT": str(port), "UVICORN_PORT": str(port), **(settings or {})}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:  # a file, as a service's log is one
        full_command = pin_to_cores(cores, [sys.executable, *(command or ("-m", "app"))])
        process = subprocess.Popen(full_command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                if not _is_ready(client, process):
                    log.seek(0)
                    sys.exit(f"{' '.join(full_command)} does not serve:\n{log.read().decode()}")
                yield Service(client, port, process.pid, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def pin_to_cores(cores: set[int], command: Sequence[str]) -> list[str]:
    """Return the command so that it runs on these cores alone."""
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]


def _is_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.get("/health/ready").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.01)
        else:
            return True
    return False
