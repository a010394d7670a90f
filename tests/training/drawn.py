"""What handwriting is drawn from in tests: writers made of shapes, drawn digits, a font from elsewhere."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from tests.training.hands import draw_digits
from training.data import fonts
from training.data.strokes import DIGITS, Sample, StrokeSamples, Writer
from training.scenes.handwriting import Material
from training.scenes.shapes import draw_shape
from training.scenes.surfaces import Surface

FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
SIGNS = {
    ".": [(0, 0)],
    ",": [(4, 0), (0, 9)],
    "-": [(0, 0), (9, 0)],
    "/": [(9, 0), (0, 20)],
    ":": [(0, 0), (0, 9)],
}
LETTERS = "abcxyzRT~="


def make_sample(label: str, writer: Writer, rng: np.random.Generator) -> Sample:
    """Return a character as it could have been recorded."""
    if label in SIGNS:
        lines = [np.array(SIGNS[label], np.float32)]
    else:
        lines = list(draw_shape(DIGITS.find(label) if label in DIGITS else 8, rng))
    points = np.concatenate(lines)
    scale = np.float32(1000 / max(float(np.ptp(points, axis=0).max()), 1.0))
    kind = "digit" if label in DIGITS else "lower" if label.isalpha() else "symbol"
    moved = tuple((line - points.min(axis=0)) * scale for line in lines)
    return Sample(label, kind, writer, moved, float("nan"), float("nan"))


def make_strokes(*, writers: int = 6, seed: int = 0) -> StrokeSamples:
    """Return samples of a few writers, two of each digit, sign and letter by everybody."""
    rng = np.random.default_rng(seed)
    samples = StrokeSamples()
    for number in range(writers):
        for label in (*DIGITS, *SIGNS, *LETTERS):
            for _ in range(2):
                samples.add(make_sample(label, Writer("unipen", number), rng))
    return samples


def make_material(*, seed: int = 0) -> Material:
    """Return what hands are made of."""
    return Material.of(make_strokes(seed=seed), draw_digits(60, seed=seed))


def make_surface(seed: int = 0) -> Surface:
    """Return a blank sheet."""
    return Surface(np.full((120, 160), 220, np.float32), np.random.default_rng(seed), unit=24)


def write_fonts(folder: Path) -> Path:
    """Put one font under the names of all that drawing asks for."""
    folder.mkdir()
    for name, subset in fonts.FILES:
        (folder / f"{name}-{subset}-400-normal.woff2").symlink_to(FONT)
    return folder
