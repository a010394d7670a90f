"""Random pictures, files and bodies: no crash, no hang, no unexpected error."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.api import multipart
from app.digits import images
from app.digits.classifier import Classifier, Scores
from app.digits.contract import CHARACTERS, CLASSES, READER_STRIDE, DigitBatch, GreyPicture
from app.digits.errors import DigitsError, NoInk
from app.digits.finder import LEVELS, Characters, Finder
from app.digits.images import Picture, clip_box
from app.digits.line_reader import LineReader
from app.digits.numbers import NumberReader
from app.digits.preprocessing import canonicalise, canonicalise_part
from app.wire.problems import MalformedRequest
from tests.conftest import HOSTILE, golden_uploads, hostile_files
from tests.resilience.decoding import ENDINGS, run_cases
from tests.resilience.structure import restructure

Measured = Callable[[str, str], None]
Rng = np.random.Generator
MAX_SECONDS: float = 1.0  # of processor time for one case
MAX_MEGABYTES: float = 256.0

_FILES = [file.read_bytes() for file in golden_uploads()]
_GOOD = [
    *_FILES,
    *((HOSTILE / name).read_bytes() for name, (status, _) in hostile_files().items() if status == 200),
]
_FILES += [data for name in hostile_files() if len(data := (HOSTILE / name).read_bytes()) < 20_000]


def damage_file(rng: Rng) -> bytes:
    """Choose a file, and overwrite, cut, repeat or splice it."""
    data = bytearray(_FILES[rng.integers(len(_FILES))])
    for _ in range(rng.integers(1, 5)):
        if len(data) < 4:
            break
        at = int(rng.integers(len(data)))
        kind = rng.integers(5)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + 4] = rng.bytes(4)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = data[max(0, at - 100) : at]
        else:
            other = _FILES[rng.integers(len(_FILES))]
            data[at:] = other[min(at, len(other)) :]
    return bytes(data)


def draw_picture(rng: Rng) -> GreyPicture:
    """Draw stripes, specks, scribble, boxes, digits and noise over each other, at any size."""
    height, width = (int(np.exp(rng.uniform(np.log(4), np.log(1024)))) for _ in range(2))
    picture = np.full((height, width), rng.integers(256), np.uint8)
    if rng.random() < 0.3:
        slope = np.linspace(0, rng.uniform(-200, 200), width)
        picture = np.clip(picture + slope, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(7)):
        picture = np.ascontiguousarray(_LAYERS[rng.integers(len(_LAYERS))](picture, rng))
    return picture


def _stripes(picture: GreyPicture, rng: Rng) -> GreyPicture:
    along = picture if rng.random() < 0.5 else picture.T
    along[:, :: int(rng.integers(2, 13))] = rng.integers(256)
    return picture


def _specks(picture: GreyPicture, rng: Rng) -> GreyPicture:
    struck = rng.random(picture.shape) < np.exp(rng.uniform(-8, 0))
    return np.where(struck, rng.integers(256), picture).astype(np.uint8)


def _scribble(picture: GreyPicture, rng: Rng) -> GreyPicture:
    points = rng.uniform(-0.2, 1.2, (int(rng.integers(2, 40)), 2)) * picture.shape[::-1]
    pen = int(np.exp(rng.uniform(0, 4)))
    cv2.polylines(picture, [points.astype(np.int32)], isClosed=False, color=_tone(rng), thickness=pen)
    return picture


def _box(picture: GreyPicture, rng: Rng) -> GreyPicture:
    corners = (rng.uniform(0, 1, (2, 2)) * picture.shape[::-1]).astype(int).tolist()
    cv2.rectangle(picture, corners[0], corners[1], _tone(rng), int(rng.choice([-1, 1, 2, 5])))
    return picture


def _text(picture: GreyPicture, rng: Rng) -> GreyPicture:
    text = "".join(map(str, rng.integers(0, 10, int(rng.integers(1, 12)))))
    place = (rng.uniform(0, 1, 2) * picture.shape[::-1]).astype(int).tolist()
    size, pen = float(np.exp(rng.uniform(-1, 2.5))), int(rng.integers(1, 9))
    cv2.putText(picture, text, place, int(rng.integers(4)), size, _tone(rng), pen)
    return picture


def _noise(picture: GreyPicture, rng: Rng) -> GreyPicture:
    return np.clip(picture + rng.normal(0, rng.uniform(0, 60), picture.shape), 0, 255).astype(np.uint8)


def _tone(rng: Rng) -> int:
    return int(rng.integers(256))


_LAYERS = (_stripes, _specks, _scribble, _box, _text, _noise)


def decode(rng: Rng) -> None:
    """Decode a damaged file."""
    picture = images.decode(images.identify(damage_file(rng), max_pixels=1_000_000))
    assert picture.grey.ndim == 2


def decode_restructured(rng: Rng) -> None:
    """Decode a file whose parts have been dropped, repeated, moved, replaced or overwritten."""
    file, other = (_GOOD[rng.integers(len(_GOOD))] for _ in range(2))
    picture = images.decode(images.identify(restructure(file, other, rng), max_pixels=1_000_000))
    assert picture.grey.ndim == 2


def preprocess(rng: Rng) -> None:
    """Turn a drawn picture into a canonical one."""
    picture = canonicalise(draw_picture(rng)).picture
    assert picture.shape == (28, 28)
    assert picture.any()


class RandomFinder:
    """Finds up to 60 characters anywhere on the picture, of any size and class."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def find(self, grey: GreyPicture, *, levels: Sequence[int] = LEVELS) -> Characters:
        count = int(self._rng.integers(60))
        centres = self._rng.uniform(0, 1, (count, 2)) * grey.shape[::-1]
        radii = np.exp(self._rng.uniform(-2, 4, (count, 2)))
        likelihoods = self._rng.dirichlet(np.full(len(CHARACTERS), 0.2), count).astype(np.float32)
        likelihoods = likelihoods[np.argsort(-likelihoods.max(axis=1, initial=0))]
        return Characters(
            boxes=np.hstack([centres - radii, centres + radii]).astype(np.float32),
            likelihoods=likelihoods,
            ranks=likelihoods.max(axis=1, initial=0),
            levels=self._rng.integers(len(levels), size=count).astype(np.int8),
        )


class RandomLineReader:
    """Reads anything anywhere."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def read(self, strip: GreyPicture) -> NDArray[np.float32]:
        frames = strip.shape[1] // READER_STRIDE
        return self._rng.dirichlet(np.full(len(CHARACTERS) + 1, 0.05), frames).astype(np.float32)


class RandomClassifier:
    """Takes anything for any digit."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def classify(self, batch: DigitBatch) -> Scores:
        probabilities = self._rng.dirichlet(np.full(CLASSES, 0.1), len(batch)).astype(np.float32)
        return Scores(probabilities, self._rng.random(len(batch), np.float32))


def read_number(rng: Rng) -> None:
    """Read a drawn picture as a number, with random answers of the networks."""
    grey = draw_picture(rng)
    finder, line_reader = cast("Finder", RandomFinder(rng)), cast("LineReader", RandomLineReader(rng))
    number = NumberReader(finder, line_reader, cast("Classifier", RandomClassifier(rng))).read(grey)
    assert "".join(number.lines) == "".join(digit.character for digit in number.digits)
    assert "".join(number.written) == "".join(mark.character for mark in number.marks)
    assert all(
        0 <= confidence <= 1
        for confidence in [number.confidence, *(mark.confidence for mark in number.marks)]
    )
    picture = Picture(grey, 2 * grey.shape[1], 3 * grey.shape[0])
    for box in (*number.ignored, *(mark.box for mark in number.marks)):
        left, top, width, height = picture.map_to_original(box)
        assert 0 <= left < left + width <= picture.width
        assert 0 <= top < top + height <= picture.height
    for digit in number.digits[:5]:
        with contextlib.suppress(NoInk):
            assert canonicalise_part(grey, clip_box(digit.box, grey.shape)).picture.shape == (28, 28)


def parse(rng: Rng) -> None:
    """Parse a damaged form."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../x"\r\n\r\n'
    body += base64.b64encode(rng.bytes(int(rng.integers(100)))) + b"\r\n--b--\r\n"
    damaged = bytearray(body)
    for _ in range(rng.integers(4)):
        at = int(rng.integers(len(damaged)))
        damaged[at : at + int(rng.integers(3))] = rng.bytes(int(rng.integers(4)))
    with contextlib.suppress(MalformedRequest):
        multipart.read_parts(
            bytes(damaged), "multipart/form-data; boundary=b", limits={"file": 1}, required="file"
        )


@pytest.mark.parametrize(
    ("target", "cases"),
    [
        (decode, 50_000),
        (decode_restructured, 50_000),
        (preprocess, 30_000),
        (read_number, 10_000),
        (parse, 50_000),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_random_input_causes_no_crash(
    target: Callable[[Rng], None], cases: int, measured: Measured, *, full: bool
) -> None:
    amount = cases if full else cases // 500
    longest = 0.0
    for case in range(amount):
        started = time.process_time()
        try:
            with contextlib.suppress(DigitsError):
                target(np.random.default_rng((4, case)))
        except Exception as error:  # noqa: BLE001  # any other error is a defect
            pytest.fail(f"{target.__name__}, case {case}: {error!r}")
        longest = max(longest, time.process_time() - started)
    measured(f"{target.__name__}: random cases, longest", f"{amount:,}, {longest * 1e3:.0f} ms")
    if full:
        assert longest < MAX_SECONDS


@pytest.mark.parametrize("kind", ENDINGS)
def test_damaged_pictures_of_each_format_cause_no_crash(kind: str, measured: Measured, *, full: bool) -> None:
    outcome = run_cases(kind, 10_000 if full else 40)
    measured(
        f"damaged {kind.upper()}: random cases, read all the same, longest, memory",
        f"{outcome.cases:,}, {outcome.decoded:,}, {outcome.longest * 1e3:.0f} ms, {outcome.megabytes:.0f} MB",
    )
    assert outcome.megabytes < MAX_MEGABYTES
    if full:
        assert outcome.longest < MAX_SECONDS
