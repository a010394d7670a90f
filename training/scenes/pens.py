"""Pens, and the lines that they draw."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.chance import Rng, happens

Path: TypeAlias = NDArray[np.float32]  # (points, 2), x to the right and y downwards
Canvas: TypeAlias = NDArray[np.uint8]  # (height, width), ink 255 on 0

FRACTION_BITS: Final = 3  # OpenCV takes coordinates in eighths of a pixel: finer steps can't be seen
_TIP: Final = 8  # points at the end of a line over which a pen is lifted
_MIN_CURVE: Final = 4  # points from which on a line has corners to round


@dataclass(frozen=True)
class Pen:
    """How a pen answers a hand: all shares are of its width."""

    width: float  # pixels
    pressure: float = 0.0  # by how much it swells and thins along a line
    flatness: float = 0.0  # by how much a flat nib thins in its own direction
    angle: float = 0.0  # radians: that direction
    tapers: bool = False  # whether lines end in half the width

    def draw(self, canvas: Canvas, line: Path, rng: Rng) -> None:
        """Draw a line, in pixels; one point makes a dot."""
        if len(line) == 1:
            x, y = _to_fixed(line[0]).tolist()
            radius = int(max(1.0, self.width * 0.55) * 2**FRACTION_BITS)
            cv2.circle(canvas, (x, y), radius, 255, -1, cv2.LINE_AA, FRACTION_BITS)
            return
        fixed = _to_fixed(line)
        widths = self._find_widths(line, rng)
        changes = [0, *(np.flatnonzero(np.diff(widths)) + 1).tolist(), len(widths)]
        for start, end in pairwise(changes):
            part, width = [fixed[start : end + 1]], int(widths[start])
            cv2.polylines(canvas, part, False, 255, width, cv2.LINE_AA, FRACTION_BITS)  # noqa: FBT003

    def _find_widths(self, line: Path, rng: Rng) -> NDArray[np.intp]:
        """Return the width of each piece between two points, in whole pixels as OpenCV draws them."""
        count = len(line) - 1
        widths = np.full(count, self.width, np.float64)
        if self.pressure:
            along = np.arange(count) / max(count - 1, 1)
            waves = along * rng.uniform(0.5, 3) + rng.random()
            widths *= 1 + self.pressure * np.sin(2 * np.pi * waves)
        if self.flatness:
            run, rise = np.diff(line, axis=0).T
            widths *= 1 - self.flatness * np.abs(np.cos(np.arctan2(rise, run) - self.angle))
        if self.tapers:
            tip = min(count, _TIP)
            widths[-tip:] *= np.linspace(1, 0.5, tip)
        return np.maximum(1, np.rint(widths)).astype(np.intp)


def draw_pen(rng: Rng, width: float) -> Pen:
    """Draw a pen: most give way to pressure, some have a flat nib."""
    return Pen(
        width=width,
        pressure=rng.uniform(0, 0.35) if happens(rng, 0.7) else 0.0,
        flatness=rng.uniform(0.3, 0.75) if happens(rng, 0.18) else 0.0,
        angle=rng.uniform(0, np.pi),
        tapers=happens(rng, 0.35),
    )


def resample(line: Path, step: float) -> Path:
    """Return points at equal distances of about `step` along a line, its corners cut once (Chaikin, 1974)."""
    if len(line) == 1:
        return line
    rounded = _cut_corners(line) if len(line) >= _MIN_CURVE else line
    lengths = np.hypot(*np.diff(rounded, axis=0).T)
    along = np.concatenate(([0.0], np.cumsum(lengths)))
    if not along[-1]:
        return line[:1]
    at = np.linspace(0, along[-1], max(2, int(along[-1] / step) + 1))
    return np.stack([np.interp(at, along, axis) for axis in rounded.T], axis=1).astype(np.float32)


def smooth(line: Path, kernel: int) -> Path:
    """Return a line whose points are averaged along it, its ends kept near."""
    return cv2.GaussianBlur(line, (1, kernel), 0, borderType=cv2.BORDER_REPLICATE)


def _cut_corners(line: Path) -> Path:
    start, end = line[:-1], line[1:]
    cut = np.empty((2 * len(line), 2), np.float32)
    cut[0], cut[-1] = line[0], line[-1]
    cut[1:-1:2], cut[2:-1:2] = 0.75 * start + 0.25 * end, 0.25 * start + 0.75 * end
    return cut


def _to_fixed(points: Path) -> NDArray[np.int32]:
    return np.rint(points * 2**FRACTION_BITS).astype(np.int32)
