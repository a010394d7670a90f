"""Glyphs that a pen writes along real paths: digits of all hands, and strangers.

Writers are picked so that no hand outvotes the others (`StrokeSamples.pick`). Slashed zeros and strokes that
lead on to a neighbour are added, since tablets record single characters.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from training.data.strokes import StrokeSamples
from training.scenes.chance import Rng, draw_log_uniform, happens, pick
from training.scenes.handwriting import draw_long_one
from training.scenes.pens import Path, draw_pen, resample
from training.scenes.shapes import draw_shape
from training.scenes.symbols import SIZE, Glyph, crop_tightly

# Letters and signs of the tablets that nobody takes for a digit: o, I, l, s, z, b, g, q, |, /, ( and the like
# are left out, and those that many hands write like one: D, G, J, Q, T, i, p, t.
STRANGERS: Final = 'ACEFHKLMNPRUVWXYacdefhjkmnruvwxy#$%&*+<=>?@[]^{}~"'

PEN_WIDTHS: Final = (0.025, 0.2)  # of the glyph's length: from a fine liner to a thick marker
STEP: Final = 3.0  # pixels between the points of a path
SHAPE_SHARE: Final = 0.22  # of the digits: drawn by knots, in forms that the tablets' writers lack,
CURLED_SHARE: Final = 0.6  # most of these as in Italian hands
LONG_ONE_SHARE: Final = 0.3  # of the 1s: with an upstroke as in Europe
SLASH_SHARE: Final = 0.25  # of the zeros
LIGATURE_SHARE: Final = 0.08  # of the digits lead on to a neighbour, or come from one
ZERO_LIGATURE_SHARE: Final = 0.2  # of the zeros, which are mostly written in chains


def write_digit(samples: StrokeSamples, rng: Rng) -> tuple[Glyph, int]:
    """Write a digit."""
    digit = int(rng.integers(10))
    paths = _pick_paths(digit, samples, rng)
    if digit == 0 and len(paths) == 1 and happens(rng, SLASH_SHARE):
        paths = (*paths, _draw_slash(paths[0], rng))
    elif happens(rng, LIGATURE_SHARE if digit else ZERO_LIGATURE_SHARE):
        paths = _add_ligature(paths, rng)
    return paint(paths, rng), digit


def write_stranger(samples: StrokeSamples, rng: Rng) -> Glyph:
    """Write a letter or sign that is no look-alike of a digit."""
    label = pick(rng, [label for label in STRANGERS if label in samples.labels])
    return paint(samples.pick(label, rng), rng)


def _pick_paths(digit: int, samples: StrokeSamples, rng: Rng) -> tuple[Path, ...]:
    if digit == 1 and happens(rng, LONG_ONE_SHARE):
        return draw_long_one(rng)
    if happens(rng, SHAPE_SHARE):
        return draw_shape(digit, rng, curled=happens(rng, CURLED_SHARE))
    return samples.pick(str(digit), rng)


def _draw_slash(loop: Path, rng: Rng) -> Path:
    """Strike a zero through from its upper right to its lower left, rarely the other way."""
    low, high = loop.min(axis=0), loop.max(axis=0)
    middle, reach = (low + high) / 2, (high - low) / 2 * rng.uniform(0.55, 1.3, 2)
    reach[0] *= -1 if happens(rng, 0.1) else 1
    ends = [middle + reach * (1, -1), middle + reach * (-1, 1)]
    return np.array(ends + rng.normal(0, 0.04, (2, 2)), np.float32)


def _add_ligature(paths: tuple[Path, ...], rng: Rng) -> tuple[Path, ...]:
    """Lead the pen on from the end of the last path, or in to the start of the first one."""
    along = np.linspace(0, 1, 9)
    run, rise = rng.uniform(0.12, 0.45), rng.normal(0, 0.12)
    tail = np.stack([along * run, rise * along**2], axis=1)
    if happens(rng, 0.6):
        last = paths[-1]
        return (*paths[:-1], np.concatenate([last, last[-1] + tail[1:]]).astype(np.float32))
    first = paths[0]
    lead = first[0] + (tail * (-1, 1))[:0:-1]
    return (np.concatenate([lead, first]).astype(np.float32), *paths[1:])


def paint(paths: tuple[Path, ...], rng: Rng) -> Glyph:
    """Draw paths with a random pen, the longer side of their ink about `SIZE` pixels."""
    points = np.concatenate(paths)
    corner, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = SIZE / max(float(extent.max()), 1e-3)
    pen = draw_pen(rng, SIZE * draw_log_uniform(rng, *PEN_WIDTHS))
    rim = int(2 * pen.width) + 2
    width, height = np.ceil(extent * scale).astype(int) + 2 * rim
    canvas = np.zeros((height, width), np.uint8)
    for path in paths:
        pen.draw(canvas, resample(((path - corner) * scale + rim).astype(np.float32), STEP), rng)
    return crop_tightly(canvas)
