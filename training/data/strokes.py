"""What people wrote on tablets, as pen paths: found or downloaded, screened, split by writer, picked.

UNIPEN train_r01_v07 (International Unipen Foundation, 1999) and UJIpenchars2 (Prat, Castro, Llorens, Marzal,
Vilar, 2008), both CC BY 4.0. docs/train.md cites them; `training.data.pen_archives` makes the two files below
from what their archives hold.

unipen.npz, uji.npz     points, int16 (n, 2), x to the right and y down, a sample's larger side about 1000;
                        stroke_starts and sample_starts, which cut them up; label, kind and writer of each
                        sample; size, its larger side in heights of the writer's digits; bottom, how far it
                        reaches below the line that its neighbours stand on. Unknown sizes are NaN
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError

Line: TypeAlias = NDArray[np.float32]  # (points, 2), x to the right and y down
Rng: TypeAlias = np.random.Generator

SOURCES: Final = ("unipen", "uji")
DIGITS: Final = "0123456789"
# SHA-256 of the files that the figures in docs/recognition.md were reached with
SHA256: Final[Mapping[str, str]] = {
    "unipen": "2cac27e2a9dca164ce286186cd8892edea64476470725667082b50b9af5085c7",
    "uji": "8dd80551f22139ebf5ea1958f69896645cf05166c0e8a7a920eee223c010ac61",
}
NEAR_CHECKOUT: Final = Path(__file__).parents[2].parent / "shared" / "data" / "strokes"

VALIDATION_SHARE: Final = 0.12  # of the writers: some thirty, enough of every hand to choose by
_KNUTH: Final = 2_654_435_761  # 2³² / golden ratio: multiplied by it, neighbouring numbers fall far apart
MIN_DIGIT_SAMPLES: Final = 8  # of ten digits: a writer with fewer can't write a number alone
# The Spanish hands are few, and write what UNIPEN hardly has: 1 with an upstroke, crossed 7.
_SOURCE_WEIGHTS: Final = {"unipen": 1.0, "uji": 4.0}
_SLASHED_ZERO_SHARE: Final = 0.3  # of them that stay: every sixth zero of UNIPEN is slashed, of others' few

# Where a sample's own size or place is unknown, the median of its kind, in heights of a digit.
_SIZES: Final = {
    ".": 0.1,
    ",": 0.4,
    "-": 0.55,
    "/": 1.2,
    ":": 0.6,
    "(": 1.25,
    ")": 1.25,
    "+": 0.8,
    "=": 0.6,
    "'": 0.3,
}
_BOTTOMS: Final = {
    ".": 0.0, ",": 0.3, "-": -0.42, "/": 0.12, ":": -0.1, "(": 0.1, ")": 0.1, "+": -0.12, "=": -0.28,
    "'": -0.8, "*": -0.2, '"': -0.85,
}  # fmt: skip
# Beyond these a sign is another sign to the eye: a dot of half a digit's height is an o.
_SIZE_LIMITS: Final = {
    ".": (0.04, 0.2), ",": (0.15, 0.6), "-": (0.25, 1.1), ":": (0.35, 0.95), "(": (0.8, 1.8), ")": (0.8, 1.8),
    "/": (0.7, 2.0), "+": (0.45, 1.1), "=": (0.35, 1.0),
}  # fmt: skip
_DIGIT_SIZES: Final = (0.8, 1.25)
_BOTTOM_LIMITS: Final = {
    "digit": (-0.075, 0.1),
    "symbol": (-1.1, 0.6),
    "capital": (-0.3, 0.5),
    "lower": (-0.3, 0.5),
}


class Writer(NamedTuple):
    """Somebody of one source."""

    source: str
    number: int

    @property
    def is_held_out(self) -> bool:
        """Whether he is kept for validation: by his number alone, so that the split never moves."""
        return self.number * _KNUTH % 2**32 / 2**32 < VALIDATION_SHARE


@dataclass(frozen=True)
class Sample:
    """A character as it was recorded, its larger side about 1000."""

    label: str
    kind: str  # digit, capital, lower or symbol
    writer: Writer
    lines: tuple[Line, ...]
    size: float  # heights of a digit, or NaN
    bottom: float  # heights of a digit, or NaN

    @property
    def extent(self) -> NDArray[np.float32]:
        """Width and height."""
        extent: NDArray[np.float32] = np.ptp(np.concatenate(self.lines), axis=0)
        return extent

    def scale(self) -> tuple[Line, ...]:
        """Return its lines in heights of a digit, x from 0, y from the line that digits stand on."""
        points = np.concatenate(self.lines)
        scale = self._find_size() / max(float(self.extent.max()), 1.0)
        low, high = _BOTTOM_LIMITS[self.kind]
        bottom = np.clip(
            self.bottom if np.isfinite(self.bottom) else _BOTTOMS.get(self.label, 0.0), low, high
        )
        offset = np.array([0.0, bottom - self.extent[1] * scale], np.float32)
        return tuple((line - points.min(axis=0)) * np.float32(scale) + offset for line in self.lines)

    def _find_size(self) -> float:
        size = self.size if np.isfinite(self.size) else _SIZES.get(self.label, 1.0)
        limits = _DIGIT_SIZES if self.kind == "digit" else _SIZE_LIMITS.get(self.label, (0.0, np.inf))
        return float(np.clip(size, *limits))


MIN_DIGIT_SIDE, MIN_LETTER_SIDE = 500, 400  # of about 1000: a smaller sample is a part of one
MIN_DIGIT_LENGTH: Final = 700  # of all strokes: a shorter one is a tick
DIGIT_SIZES: Final = (0.45, 2.0)  # of the median height of the writer's digits: other sizes are mislabelled
MAX_DIGIT_STROKES: Final = 5
MAX_ASPECT: Final = 2.2  # width to height
MAX_STEP: Final = 900  # of about 1000, between two of many points: the tablet lost the pen
MANY_POINTS: Final = 8


def find_fault(sample: Sample) -> str | None:
    """Return why a sample is left out; None if nothing is wrong with it."""
    if sample.kind == "digit":
        return next((fault for fault, is_faulty in _list_digit_faults(sample) if is_faulty), None)
    if sample.kind != "symbol" and sample.extent.max() < MIN_LETTER_SIDE:
        return "tiny letter"
    if sample.label in ".," and sample.size > 1:
        return "dot as large as a digit"
    return None


def _list_digit_faults(sample: Sample) -> Iterator[tuple[str, bool]]:
    width, height = sample.extent
    steps = [np.hypot(*np.diff(line, axis=0).T) for line in sample.lines]
    yield "tiny digit", max(width, height) < MIN_DIGIT_SIDE
    yield "too little ink", sum(float(step.sum()) for step in steps) < MIN_DIGIT_LENGTH
    yield (
        "size unlike the writer's other digits",
        not _is_within(np.nan_to_num(sample.size, nan=1.0), DIGIT_SIZES),
    )
    yield "more than five strokes", len(sample.lines) > MAX_DIGIT_STROKES
    yield "1 that lies on its side", sample.label == "1" and width > 1.1 * height
    yield "bar that is labelled as no 1", sample.label != "1" and width < 0.12 * height
    yield "more than twice as wide as high", width > MAX_ASPECT * height
    yield "pen that jumped", any(len(step) >= MANY_POINTS and step.max() > MAX_STEP for step in steps)


def _is_within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


@dataclass
class StrokeSamples:
    """Samples by character and writer, to be picked from so that no hand outvotes the others."""

    dropped: Counter[str] = field(default_factory=Counter)  # fault → how many samples
    _by_label: dict[str, dict[Writer, list[tuple[Line, ...]]]] = field(default_factory=dict)
    _cumulated: dict[str, tuple[list[Writer], NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Keep a sample, or count why not."""
        fault = find_fault(sample)
        if fault:
            self.dropped[fault] += 1
        else:
            by_writer = self._by_label.setdefault(sample.label, {})
            by_writer.setdefault(sample.writer, []).append(sample.scale())

    @property
    def count(self) -> int:
        """How many samples there are."""
        return sum(len(samples) for writers in self._by_label.values() for samples in writers.values())

    @property
    def writers(self) -> set[Writer]:
        """Everybody who wrote one of them."""
        return {writer for writers in self._by_label.values() for writer in writers}

    @property
    def labels(self) -> frozenset[str]:
        """The characters that somebody wrote."""
        return frozenset(self._by_label)

    def list_samples(self, label: str, writer: Writer) -> list[tuple[Line, ...]]:
        """Return what somebody wrote of a character."""
        return self._by_label.get(label, {}).get(writer, [])

    def pick_writer(self, rng: Rng) -> Writer:
        """Return somebody who wrote at least eight of the ten digits."""
        return self._pick_writer_of(DIGITS, rng)

    def pick(self, label: str, rng: Rng, *, writer: Writer | None = None) -> tuple[Line, ...]:
        """Return the strokes of a character, by `writer` where he wrote it, else by anybody."""
        by_writer = self._by_label[label]
        if writer is None or writer not in by_writer:
            writer = self._pick_writer_of(label, rng)
        samples = by_writer[writer]
        return samples[int(rng.integers(len(samples)))]

    def _pick_writer_of(self, labels: str, rng: Rng) -> Writer:
        if labels not in self._cumulated:
            self._cumulated[labels] = self._cumulate_weights(labels)
        writers, cumulated = self._cumulated[labels]
        return writers[min(int(np.searchsorted(cumulated, rng.random())), len(writers) - 1)]

    def _cumulate_weights(self, labels: str) -> tuple[list[Writer], NDArray[np.float64]]:
        """Weigh writers by the root of what they wrote: ten of UNIPEN's gave half of its digits."""
        counts = [
            Counter({writer: len(samples) for writer, samples in self._by_label.get(label, {}).items()})
            for label in labels
        ]
        total: Counter[Writer] = sum(counts, Counter())
        needed = min(MIN_DIGIT_SAMPLES, len(labels))
        writers = [writer for writer in total if sum(writer in count for count in counts) >= needed]
        weights = np.array([total[writer] ** 0.5 * _SOURCE_WEIGHTS[writer.source] for writer in writers])
        return writers, np.cumsum(weights / weights.sum())


@dataclass(frozen=True)
class Split:
    """Samples to train on and samples to choose by, of different writers."""

    training: StrokeSamples
    validation: StrokeSamples


def find_folder() -> Path:
    """Return where the strokes lie: `DIGITS_STROKES`, beside the checkout, else the user's cache."""
    named = os.environ.get("DIGITS_STROKES")
    if named:
        return Path(named)
    return NEAR_CHECKOUT if NEAR_CHECKOUT.exists() else Path.home() / ".cache" / "digits" / "strokes"


def find_files(folder: Path | None = None) -> dict[str, Path]:
    """Return the file of each source; only `pen_archives.fetch` makes sure that they are there."""
    return {source: (folder or find_folder()) / f"{source}.npz" for source in SOURCES}


def are_present() -> bool:
    """Whether both files are there."""
    return all(file.exists() for file in find_files().values())


def load(folder: Path | None = None) -> Split:
    """Read, screen and split all samples.

    Raises:
        DataError: a file is missing or damaged.
    """
    training, validation = StrokeSamples(), StrokeSamples()
    for source, file in find_files(folder).items():
        for sample in _thin_out_slashed_zeros(read_samples(file, source)):
            (validation if sample.writer.is_held_out else training).add(sample)
    return Split(training, validation)


def hash_file(file: Path) -> str:
    """Return a file's SHA-256.

    Raises:
        DataError: it is missing.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        raise _missing(file) from None


def read_samples(file: Path, source: str) -> Iterator[Sample]:
    """Yield the samples of a file.

    Raises:
        DataError: it is missing or damaged.
    """
    arrays = _read(file)
    points = arrays["points"].astype(np.float32)
    strokes = np.split(points, arrays["stroke_starts"][1:-1])
    starts = arrays["sample_starts"].tolist()
    columns = (arrays[name].tolist() for name in ("label", "kind", "writer", "size", "bottom"))
    for start, end, label, kind, writer, size, bottom in zip(starts, starts[1:], *columns, strict=False):
        yield Sample(label, kind, Writer(source, writer), tuple(strokes[start:end]), size, bottom)


_REMEDY: Final = (
    "Run `python -m training fetch-strokes`, or name a folder of good copies with DIGITS_STROKES."
)


def _missing(file: Path) -> DataError:
    return DataError(f"There are no pen strokes at {file}. {_REMEDY}")


def _read(file: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise _missing(file) from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        msg = f"{file} can't be read as pen strokes ({error}). {_REMEDY}"
        raise DataError(msg) from error


def _thin_out_slashed_zeros(samples: Iterable[Sample]) -> Iterator[Sample]:
    seen = 0
    for sample in samples:
        if sample.label == "0" and len(sample.lines) > 1:
            seen += 1
            if seen % 10 >= 10 * _SLASHED_ZERO_SHARE:
                continue
        yield sample
