"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

# of the container, as its engine or Kubernetes has limited it
QUOTA_FILE: Final = Path("/sys/fs/cgroup/cpu.max")


def count_cores(quota: Path = QUOTA_FILE) -> int:
    """Return how many cores of the machine the process may use, as many as its container's quota at most.

    Args:
        quota: the file of a control group (version 2): microseconds of processor time, or "max", in how many.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
    except OSError:  # no container, or no Linux
        return cores
    return cores if granted == "max" else min(cores, math.ceil(int(granted) / int(period)))
