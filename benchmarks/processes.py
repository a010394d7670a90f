"""Processes: the cores they run on, and the processor time they use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER: Final = {_CORES[0]}  # the core for the service that is measured
CLIENT: Final = {_CORES[-1]}  # the core for the load generator


def pin_command(cores: set[int], command: Sequence[str]) -> list[str]:
    """Return the command, restricted to these cores."""
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]


@contextmanager
def pin_this_process(cores: set[int]) -> Iterator[None]:
    """Restrict this process to these cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def list_family(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    children: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the process has ended
            children += map(int, file.read_text().split())
    return [pid, *(member for child in children for member in list_family(child))]


def read_cpu_seconds(*pids: int) -> float:
    """Return the processor time that processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids]
    return sum(int(user) + int(system) for *_, user, system in (each[:13] for each in fields)) / os.sysconf(
        "SC_CLK_TCK"
    )
