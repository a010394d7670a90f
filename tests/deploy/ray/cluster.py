"""A Ray cluster of several nodes on this machine, each of processes of its own, which end with the test."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.conftest import ROOT
from tests.serving import free_port, wait_until

BIN: Final = ROOT / ".venv-ray" / "bin"
# Serve keeps nothing in the object store; Ray wants 80 MB of it all the same
FRUGAL: Final = ("--object-store-memory=80000000", "--include-log-monitor=false")
NO_DASHBOARD: Final = "--include-dashboard=false"
START: Final = 300.0  # seconds, at most, until a node or a replica is there on a machine that is busy
HEALTH_CHECKS: Final = {  # a dead node is detected in two seconds instead of fifteen
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


class Program:
    """A running program of Ray's, with everything it has started."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], *, log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            self._popen = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, process_group=0
            )

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def processes(self, title: str = "") -> list[int]:
        """Return the ids of the processes it has started whose titles match at the beginning."""
        return [pid for pid in _list_descendants(self._popen.pid) if re.match(title, _title(pid))]

    def kill(self) -> None:
        """Kill it and all that it has started, and wait until they have gone."""
        pids = self.processes()
        self._popen.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._popen.wait()
        wait_until(lambda: not any(_title(pid) for pid in pids))


def _list_descendants(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in map(int, thread.read_text().split()):
                yield child
                yield from _list_descendants(child)


def _title(pid: int) -> str:
    """Return the title of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


class Cluster:
    """Ray's head, which does no work, and nodes that do."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """Start nothing yet.

        Args:
            folder: for logs and sockets; its path must be short.
            environment: more variables of all that is started.
        """
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")},
            **HEALTH_CHECKS,
            "PYTHONPATH": str(ROOT),
            "RAY_ADDRESS": self._address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            **environment,
        }

    @contextmanager
    def run_program(self, name: str, *command: str | Path) -> Iterator[Program]:
        """Run a program of Ray's on the cluster until the block ends."""
        program = Program(
            [BIN / command[0], *command[1:]], self._environment, log=self._folder / f"{name}.log"
        )
        try:
            yield program
        finally:
            program.kill()

    @contextmanager
    def head(self) -> Iterator[Program]:
        port = self._address.rpartition(":")[2]
        client = f"--ray-client-server-port={free_port()}"
        with self._node("head", "--head", f"--port={port}", client, "--num-cpus=0", NO_DASHBOARD) as program:
            wait_until(
                lambda: "Ray runtime started" in program.log.read_text() or not program.is_running(),
                seconds=START,
            )
            assert program.is_running(), program.log.read_text()
            yield program

    @contextmanager
    def worker(self, name: str, *, cpus: int) -> Iterator[Program]:
        """Run a node, which joins when it is ready."""
        with self._node(name, f"--address={self._address}", f"--num-cpus={cpus}") as program:
            yield program

    def _node(self, name: str, *options: str) -> AbstractContextManager[Program]:
        folder, agent = f"--temp-dir={self._folder / name}", f"--dashboard-agent-listen-port={free_port()}"
        return self.run_program(name, "ray", "start", "--block", *options, folder, agent, *FRUGAL)

    def read_log(self, pid: int) -> str:
        """Return the log of one of the workers."""
        return "".join(
            log.read_text() for log in self._folder.glob(f"*/session_latest/logs/worker*-{pid}.err")
        )

    def read_logs(self, node: str) -> str:
        """Return the logs of a node's workers."""
        logs = (self._folder / node).glob("session_latest/logs/worker*.err")
        return "".join(log.read_text() for log in logs)
