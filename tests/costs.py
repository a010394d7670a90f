"""Measures the processor time and the peak memory of a process, as counted by the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

TICKS: Final = os.sysconf("SC_CLK_TCK")  # of processor time, in a second
RESET_PEAK: Final = "5"  # proc(5), /proc/PID/clear_refs

needs_proc = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="processor time and memory are read from /proc"
)


@dataclass(slots=True)
class Cost:
    """The cost of a `with` block to a process; known once the block has ended."""

    seconds: float = 0.0  # of processor time, all threads together, user and system
    megabytes: float = 0.0  # by which memory rose at its peak


@contextmanager
def measure_cost(pid: int) -> Iterator[Cost]:
    """Measure what a block makes the process `pid` spend. It may have done something like it before.

    Wall time says nothing on a busy machine; processor time does, within a hundredth of a second.
    """
    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
    before, memory = read_cpu_seconds(pid), _read_kilobytes(pid, "VmRSS")
    cost = Cost()
    yield cost
    cost.seconds = read_cpu_seconds(pid) - before
    cost.megabytes = (_read_kilobytes(pid, "VmHWM") - memory) / 1024


def read_cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has spent, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def read_megabytes(pid: int) -> float:
    """Return the memory of a process in megabytes."""
    return _read_kilobytes(pid, "VmRSS") / 1024


def _read_kilobytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))
