"""The number of cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

QUOTA_FILE: Final = Path("/sys/fs/cgroup/cpu.max")  # of the container (cgroup v2)


def count_cores(quota: Path = QUOTA_FILE) -> int:
    """Return how many cores the process may use: its CPU affinity, limited by the container's quota.

    Args:
        quota: a file with the quota, or "max", and the period, both in microseconds.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
    except OSError:  # not in a container, or not on Linux
        return cores
    return cores if limit == "max" else min(cores, math.ceil(int(limit) / int(period)))
