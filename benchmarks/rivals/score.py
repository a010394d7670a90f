"""Reads a set with a reader, and counts what is right."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.rivals.readers import Read, keep_digits
from training.data.real_sets import UploadSet

SURE: Final = 0.9  # a confidence from which on an answer should hardly ever be wrong


@dataclass(frozen=True)
class Score:
    """How well and how fast a set was read."""

    pictures: int
    right: int  # all digits, and no others
    surely_wrong: int  # wrong, with a confidence of at least SURE
    cpu_ms: float  # median of the processor time for a picture, with decoding


def measure(read: Read, upload_set: UploadSet) -> Score:
    """Read every picture of a set."""
    right = surely_wrong = 0
    durations = []
    for upload, label in zip(upload_set.uploads, upload_set.labels, strict=True):
        started = time.process_time()
        reading = read(upload)
        durations.append(time.process_time() - started)
        is_right = reading.digits == keep_digits(label)
        right += is_right
        surely_wrong += not is_right and reading.confidence >= SURE
    return Score(len(upload_set), right, surely_wrong, round(1e3 * statistics.median(durations), 1))
