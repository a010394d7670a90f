"""Damaged pictures of one format, in their own process: `python -m tests.resilience.decoding ENDING CASES`.

A decoder in C may crash, and would take the tests with it. Each case is numbered and named before it runs; at
the end, a line of JSON says what all of them took.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from app.digits import images
from app.digits.errors import DigitsError
from app.digits.process import set_up_process
from tests.conftest import HOSTILE, golden_uploads, hostile_files
from tests.resilience.structure import restructure
from tests.serving import ROOT

ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "png": ("png",), "jpeg": ("jpg",), "webp": ("webp",), "gif": ("gif",), "bmp": ("bmp",), "tiff": ("tif",),
    "heic": ("heic",), "avif": ("avif",),
}  # fmt: skip
MAX_PIXELS: Final = 1_000_000
_MAX_FILE_BYTES: Final = 60_000  # larger ones are mostly metadata
_SEED: Final = 19
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the cases of one format took."""

    cases: int
    decoded: int  # damaged files that were read all the same
    longest: float  # seconds of processor time
    megabytes: float  # by which the process grew at its peak


class DecoderFailed(Exception):
    """A case crashed the process, hung, or raised an error that is not ours."""


def run_cases(kind: str, cases: int) -> Outcome:
    """Decode damaged pictures of a format in another process.

    Raises:
        DecoderFailed: with the number of the case, which `damage` makes again.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", __name__, kind, str(cases)]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=3600)
    lines = result.stdout.splitlines()
    if result.returncode:
        case = lines[-1] if lines else "none"
        msg = f"{kind}, case {case}, status {result.returncode}: {result.stderr[-2000:]}"
        raise DecoderFailed(msg)
    return Outcome(**json.loads(lines[-1]))


def load_files(kind: str) -> list[bytes]:
    """Return the good pictures of a format, which are damaged here."""
    good = [file for file in golden_uploads() if file.suffix[1:] in ENDINGS[kind]]
    good += [
        HOSTILE / name
        for name, (status, _) in hostile_files().items()
        if status == 200 and name.rpartition(".")[2] in ENDINGS[kind]
    ]
    return [data for file in good if len(data := file.read_bytes()) <= _MAX_FILE_BYTES]


def damage(files: list[bytes], rng: Rng) -> bytes:
    """Choose a file, and change its structure, a few bits, or a few fields anywhere."""
    data, other = (files[rng.integers(len(files))] for _ in range(2))
    if rng.random() < 0.4:
        data = restructure(data, other, rng)
    damaged = bytearray(data)
    for _ in range(int(rng.integers(4))):
        if len(damaged) < 8:
            break
        # headers are short, and most of what can go wrong is in them
        end = len(damaged) if rng.random() < 0.5 else min(len(damaged), 600)
        at = int(rng.integers(end))
        if rng.random() < 0.5:
            damaged[at] ^= 1 << int(rng.integers(8))
        else:
            size = int(rng.integers(1, 5))
            damaged[at : at + size] = rng.bytes(size)
    return bytes(damaged)


def decode(data: bytes) -> bool:
    """Decode a picture; tell whether it was read."""
    with contextlib.suppress(DigitsError):
        assert images.decode(images.identify(data, max_pixels=MAX_PIXELS)).grey.ndim == 2
        return True
    return False


def main(kind: str, cases: int) -> None:
    set_up_process()
    files = load_files(kind)
    for data in files:
        decode(data)
    before, longest, decoded = _read_peak(), 0.0, 0
    for case in range(cases):
        print(case, flush=True)  # noqa: T201
        data = damage(files, np.random.default_rng((_SEED, case)))
        started = time.process_time()
        decoded += decode(data)
        longest = max(longest, time.process_time() - started)
    print(json.dumps(asdict(Outcome(cases, decoded, longest, _read_peak() - before))))  # noqa: T201


def _read_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
