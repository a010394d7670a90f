"""Digits as strokes of a pen, so that the tests' pictures are ours: drawn at any size, with any pen."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Points = list[tuple[float, float]]

# Knots of smooth curves in a box 0…1 wide and high, y downwards; a digit is one or more strokes.
STROKES: Final[dict[int, list[Points]]] = {
    0: [[(0.55, 0.0), (0.2, 0.15), (0.08, 0.5), (0.2, 0.88), (0.5, 1.0), (0.8, 0.85), (0.92, 0.5), (0.82, 0.15), (0.52, 0.0)]],
    1: [[(0.56, 0.0), (0.53, 0.35), (0.49, 0.7), (0.46, 1.0)]],
    2: [[(0.12, 0.24), (0.28, 0.04), (0.58, 0.0), (0.82, 0.16), (0.78, 0.4), (0.5, 0.68), (0.14, 0.96)], [(0.14, 0.96), (0.5, 0.93), (0.92, 0.97)]],
    3: [[(0.16, 0.12), (0.45, 0.0), (0.76, 0.1), (0.76, 0.34), (0.42, 0.47)], [(0.42, 0.47), (0.8, 0.55), (0.88, 0.78), (0.62, 0.98), (0.3, 0.99), (0.08, 0.86)]],
    4: [[(0.62, 0.0), (0.4, 0.3), (0.08, 0.66)], [(0.08, 0.66), (0.5, 0.65), (0.95, 0.63)], [(0.7, 0.3), (0.68, 0.65), (0.65, 1.0)]],
    5: [[(0.85, 0.02), (0.5, 0.03), (0.24, 0.05)], [(0.24, 0.05), (0.2, 0.25), (0.17, 0.45)], [(0.17, 0.45), (0.5, 0.38), (0.84, 0.55), (0.84, 0.82), (0.5, 1.0), (0.1, 0.93)]],
    6: [[(0.7, 0.0), (0.38, 0.22), (0.18, 0.6), (0.28, 0.94), (0.6, 1.0), (0.84, 0.8), (0.7, 0.56), (0.42, 0.56), (0.2, 0.74)]],
    7: [[(0.1, 0.05), (0.5, 0.04), (0.9, 0.02)], [(0.9, 0.02), (0.66, 0.4), (0.5, 0.7), (0.4, 1.0)]],
    8: [[(0.72, 0.12), (0.45, 0.0), (0.2, 0.14), (0.3, 0.38), (0.66, 0.56), (0.82, 0.8), (0.5, 1.0), (0.18, 0.82), (0.34, 0.56), (0.68, 0.36), (0.76, 0.14)]],
    9: [[(0.8, 0.2), (0.5, 0.0), (0.2, 0.16), (0.24, 0.44), (0.54, 0.5), (0.8, 0.26)], [(0.8, 0.26), (0.74, 0.65), (0.62, 1.0)]],
}  # fmt: skip
SUBPIXELS: Final = 4  # bits of fraction that OpenCV's line drawing takes


def ink(
    digit: int,
    size: tuple[int, int],
    *,
    box: tuple[float, float, float, float],
    pen: int,
    slant: float = 0.0,
    smooth: bool = True,
) -> NDArray[np.uint8]:
    """Draw a digit as ink 255 on 0.

    Args:
        digit: 0 to 9.
        size: width and height of the picture, in pixels.
        box: x, y, width and height of the digit, in pixels.
        pen: the stroke's width in pixels.
        slant: to the right, as a tangent.
        smooth: with an anti-aliased edge.
    """
    width, height = size
    canvas = np.zeros((height, width), np.uint8)
    for unit in curves(digit):
        unit[:, 0] += slant * (0.5 - unit[:, 1])
        points = unit * box[2:] + box[:2]
        fixed = np.rint(points * 2**SUBPIXELS).astype(np.int32)
        line = cv2.LINE_AA if smooth else cv2.LINE_8
        cv2.polylines(
            canvas, [fixed], isClosed=False, color=255, thickness=pen, lineType=line, shift=SUBPIXELS
        )
    return canvas


def curves(digit: int) -> list[NDArray[np.float64]]:
    """Return a digit's strokes as points (n, 2) in the box 0…1."""
    return [_curve(np.array(stroke)) for stroke in STROKES[digit]]


def _curve(knots: NDArray[np.float64], *, steps: int = 12) -> NDArray[np.float64]:
    """Run a Catmull-Rom spline through the knots."""
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    along = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        linear, square = end - before, 2 * before - 5 * start + 4 * end - after
        cube = 3 * (start - end) + after - before
        parts.append(start + (linear * along + square * along**2 + cube * along**3) / 2)
    return np.vstack([*parts, knots[-1:]])
