"""Runs the service on a real socket, in a thread of this process or as another process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.server.process import Server
from app.server.protocol import create_protocol_factory
from app.settings import Settings

ROOT = Path(__file__).parent.parent
PATIENCE = 180.0  # seconds: for a start on a machine that is very busy; nothing is timed by it


@contextmanager
def serve(settings: Settings, app: FastAPI | None = None, *, port: int = 0) -> Iterator[httpx.Client]:
    """Serve from a thread until the block ends, on a free port or where one has served before."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    server = Server(
        uvicorn.Config(
            app or create_app(settings),
            lifespan="on",
            log_config=None,
            access_log=False,
            ws="none",
            proxy_headers=False,
            http=create_protocol_factory(settings),  # type: ignore[arg-type]
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the service did not start"
        port = listening.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def run_handler(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Let a handler of the standard library answer until the block ends; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Process:
    """A running `python -m app`."""

    def __init__(self, **settings: str) -> None:
        self.port = int(settings["port"]) if "port" in settings else free_port()
        names = {f"DIGITS_{name.upper()}": value for name, value in settings.items()}
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env={**os.environ, "DIGITS_PORT": str(self.port), **names},
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)

    def ready(self) -> int | None:
        """Return the status of /health/ready, or None if nobody listens."""
        try:
            return self.client.get("/health/ready").status_code
        except httpx.TransportError:
            return None

    def end(self) -> tuple[int, str]:
        """Wait for its end and return exit status and log."""
        _, log = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, log


@contextmanager
def start_process(**settings: str) -> Iterator[Process]:
    """Run `python -m app`, ready to serve, until the block ends."""
    with start(**settings) as running:
        wait_until(lambda: running.ready() == 200 or running.popen.poll() is not None)
        yield running


@contextmanager
def start(**settings: str) -> Iterator[Process]:
    """Run `python -m app`, ready or not, until the block ends."""
    running = Process(**settings)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.popen.pid, signal.SIGKILL)  # workers, too
        running.popen.communicate()
        running.client.close()


@contextmanager
def send_half(running: Process, picture: bytes) -> Iterator[list[httpx.Response]]:
    """Send half of a picture, and the rest once nobody new is let in; the answer is there after the block."""
    answers: list[httpx.Response] = []
    halfway = threading.Event()

    def halves() -> Iterator[bytes]:
        yield picture[: len(picture) // 2]
        halfway.set()
        wait_until(lambda: running.ready() is None)
        yield picture[len(picture) // 2 :]

    def send() -> None:
        with httpx.Client(base_url=running.client.base_url, timeout=PATIENCE) as client:
            answers.append(client.post("/predict", content=halves(), headers={"Content-Type": "image/png"}))

    sender = threading.Thread(target=send)
    sender.start()
    halfway.wait()
    yield answers
    sender.join()


def list_workers(running: Process) -> set[int]:
    """Return the ids of the worker processes, whether they serve yet or not."""
    children = Path(f"/proc/{running.popen.pid}/task/{running.popen.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in _read_command(child)}


def _read_command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # the process has just ended
        return b""


def handles_signal(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = (line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(mask, 16) & 1 << number - 1)


def list_members(running: Process) -> set[int]:
    """Return the ids of all processes that it has started, and that have not ended, parents or not."""
    return {
        int(file.parent.name)
        for file in Path("/proc").glob("[0-9]*/stat")
        if _belongs(file, group=running.popen.pid)
    }


def _belongs(stat: Path, *, group: int) -> bool:
    try:
        state, _, stat_group, *_ = stat.read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return False
    return int(stat_group) == group and state != "Z"


def wait_until(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
