"""Sets of uploads that show what held-out writers of the pen strokes wrote, as drawings on a canvas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.real_sets import NEGATIVE_PREFIX, UploadSet, UploadSets
from training.data.strokes import DIGITS, SOURCES, StrokeSamples, Writer
from training.data.uploads import encode_png
from training.scenes.chance import Rng, draw_log_uniform
from training.scenes.pen_glyphs import STRANGERS, paint
from training.scenes.pens import Path

SEED: Final = 7
MAX_DIGITS: Final = 8  # of each digit by one writer: ten writers wrote half of UNIPEN's
MAX_STRANGERS: Final = 2  # of each letter or sign by one writer
LENGTHS: Final = (24, 200)  # pixels: from a small canvas to a tablet's screen
MARGIN: Final = 0.3  # of its length: blank canvas around a drawing


class Written(NamedTuple):
    """A character that somebody wrote."""

    label: str
    writer: Writer
    paths: tuple[Path, ...]


def draw_sets(samples: StrokeSamples) -> UploadSets:
    """Draw digits, a set for each source, and letters and signs that are no look-alikes, with all pens."""
    letters, signs = (
        [label for label in STRANGERS if label.isalpha() == is_letter] for is_letter in (True, False)
    )
    digits = (_draw_set(source, samples, DIGITS, sources=(source,), limit=MAX_DIGITS) for source in SOURCES)
    negatives = (
        _draw_set(f"{NEGATIVE_PREFIX}{name}", samples, labels, sources=SOURCES, limit=MAX_STRANGERS)
        for name, labels in (("letters", letters), ("signs", signs))
    )
    return UploadSets(digits=tuple(filter(len, digits)), negatives=tuple(filter(len, negatives)))


def _draw_set(
    name: str, samples: StrokeSamples, labels: Iterable[str], *, sources: Iterable[str], limit: int
) -> UploadSet:
    rng = np.random.default_rng(SEED)
    written = list(_list_written(samples, labels, sources, limit))
    return UploadSet(
        name,
        uploads=tuple(encode_png(_draw(one.paths, rng)) for one in written),
        labels=tuple(one.label for one in written),
        writers=tuple(one.writer.number for one in written),
    )


def _list_written(
    samples: StrokeSamples, labels: Iterable[str], sources: Iterable[str], limit: int
) -> Iterator[Written]:
    writers = sorted(writer for writer in samples.writers if writer.source in sources)
    for label in labels:
        for writer in writers:
            for paths in samples.list_samples(label, writer)[:limit]:
                yield Written(label, writer, paths)


def _draw(paths: tuple[Path, ...], rng: Rng) -> NDArray[np.uint8]:
    glyph = paint(paths, rng)
    length = draw_log_uniform(rng, *LENGTHS)
    scale = length / max(glyph.shape)
    size = (max(1, round(glyph.shape[1] * scale)), max(1, round(glyph.shape[0] * scale)))
    small = cv2.resize(glyph, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.pad(255 - small, round(MARGIN * length), constant_values=255)
