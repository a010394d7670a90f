"""A PostgreSQL of the tests' own: in a folder that is thrown away, on a free port, never the system's."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.needs import INITDB
from tests.serving import PATIENCE, free_port, wait_until

NOBODY: Final = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
FAST: Final = ("fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=")


class Postgres:
    """A server, which can be stopped, and made to hang."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._port = free_port()
        self._run("initdb", "--auth=trust", "--username=digits", "--no-sync", "--encoding=UTF8", self._data)
        self._run("postgres", "--single", "-D", self._data, "postgres", stdin="CREATE DATABASE digits\n")
        self.url = f"postgresql+psycopg://digits@127.0.0.1:{self._port}/digits"
        self.start()

    def start(self) -> None:
        options = [word for one in (*FAST, f"port={self._port}") for word in ("-c", one)]
        self._popen = subprocess.Popen(
            [self._program("postgres"), "-D", self._data, *options],
            user=NOBODY,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def stop(self) -> None:
        """Shut it down at once, connections and all."""
        self._popen.send_signal(signal.SIGINT)
        self._popen.wait(PATIENCE)

    def runs(self) -> bool:
        return self._popen.poll() is None

    @contextmanager
    def hang(self) -> Iterator[None]:
        """Let it hang, its connections too, until the block ends: it takes what comes and says nothing."""
        processes = [self._popen.pid, *self._children()]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _children(self) -> list[int]:
        (task,) = Path(f"/proc/{self._popen.pid}/task").iterdir()
        return [int(child) for child in (task / "children").read_text().split()]

    def _answers(self) -> bool:
        assert self.runs(), "PostgreSQL has ended"
        asked = [str(self._program("pg_isready")), "--host=127.0.0.1", f"--port={self._port}"]
        return subprocess.run(asked, stdout=subprocess.DEVNULL, check=False).returncode == 0

    def _run(self, program: str, *options: str | Path, stdin: str = "") -> None:
        command = [str(self._program(program)), *map(str, options)]
        subprocess.run(command, user=NOBODY, input=stdin, text=True, capture_output=True, check=True)

    def _program(self, name: str) -> Path:
        assert INITDB
        return Path(INITDB).resolve().with_name(name)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run one until the block ends."""
    with tempfile.TemporaryDirectory(prefix="digits-postgres-") as folder:  # pytest's are not for others
        if NOBODY:
            os.chown(folder, pwd.getpwnam(NOBODY).pw_uid, -1)
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()
