"""Smaller copies of pictures."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # (height, width) or (height, width, channels)


def shrink(pixels: Pixels, side: int) -> Pixels:
    """Return a copy whose longer side is at most `side` pixels; the picture itself if it is no larger.

    The picture is shrunk by a whole factor, which averages pixels, and then interpolated: averaging over
    fractions of pixels takes OpenCV ten to forty times as long.
    """
    height, width = pixels.shape[:2]
    if max(width, height) <= side:
        return pixels
    size = fit_size(width, height, side)
    factor = find_whole_factor(width, height, side)
    if factor > 1:
        divisible = pixels[: height // factor * factor, : width // factor * factor]
        pixels = cv2.resize(divisible, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    if pixels.shape[1::-1] != size:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    return pixels


def fit_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return width and height of a picture of the same shape whose longer side is at most `side`."""
    factor = min(1.0, side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def find_whole_factor(width: int, height: int, side: int) -> int:
    """Return the largest whole factor that shrinks a picture to no less than `fit_size` does."""
    return max(1, min(max(width, height) // side, width, height))
