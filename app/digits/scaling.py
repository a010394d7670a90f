"""Smaller copies of pictures."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # (height, width) or (height, width, channels)


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """Return a copy whose longer side is at most `side` pixels; the picture itself if it is no larger.

    It is averaged a whole number of times smaller, and then interpolated: averaging over fractions of
    pixels takes OpenCV ten to forty times as long.
    """
    height, width = pixels.shape[:2]
    size = fitted(width, height, side)
    times = whole_times(width, height, side)
    if times > 1:
        whole = pixels[: height // times * times, : width // times * times]
        pixels = cv2.resize(whole, (width // times, height // times), interpolation=cv2.INTER_AREA)
    if pixels.shape[1::-1] != size:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    return pixels


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Return width and height of a picture of the same shape whose longer side is at most `side`."""
    shrink = min(1.0, side / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def whole_times(width: int, height: int, side: int) -> int:
    """Return by which whole number a picture can be divided without becoming smaller than `fitted`."""
    return max(1, min(max(width, height) // side, width, height))
