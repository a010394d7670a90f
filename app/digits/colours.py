"""Colour picture → grey picture in which the ink stands out.

Luma is what people call brightness, and nearly every pen differs from its paper in it. Yellow on
white or red on green does not: there the colours are projected on the axis along which they differ.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .contract import GreyPicture
from .scaling import shrink

ColourPicture: TypeAlias = NDArray[np.uint8]  # (height, width, 3): red, green, blue

SAMPLE_SIDE: Final = 96  # pixels: an axis of three numbers needs no more of a picture
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG and Pillow use it
# times as much contrast as in luma: an axis with less is not worth using instead of luma
MIN_CONTRAST_GAIN: Final = 2.0
MIN_SPREAD: Final = 3.0  # grey levels; what varies by less is a camera's colour noise


def to_grey(colours: ColourPicture) -> GreyPicture:
    """Return one channel in which ink and background differ, lighter where luma is higher.

    Args:
        colours: uint8 (height, width, 3): red, green, blue.
    """
    axis = _find_contrast_axis(colours)
    if axis is None:
        return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), np.uint8)
    low = 255 * np.minimum(axis, 0).sum()  # the darkest possible value becomes 0
    return np.asarray(cv2.transform(colours, np.append(axis, -low)[np.newaxis]), np.uint8)


def _find_contrast_axis(colours: ColourPicture) -> NDArray[np.float32] | None:
    """Return the weights of red, green and blue that separate ink from background; None if luma does."""
    small = shrink(colours, SAMPLE_SIDE)
    red, green, blue = (small[..., channel] for channel in range(3))
    if max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(green, blue, cv2.NORM_INF)) <= MIN_SPREAD:
        return None
    local = cv2.subtract(small, cv2.blur(small, (SAMPLE_SIDE // 3,) * 2), dtype=cv2.CV_32F).reshape(-1, 3)
    covariance = local.T @ local / len(local)
    variance, axes = np.linalg.eigh(covariance)
    axis = axes[:, -1]
    spread = np.sqrt(variance[-1] / 3)  # for a grey picture, the spread of its luma
    if spread < MIN_SPREAD or spread < MIN_CONTRAST_GAIN * np.sqrt(LUMA @ covariance @ LUMA):
        return None
    axis = axis if axis @ LUMA >= 0 else -axis
    return np.asarray(axis / np.abs(axis).sum(), np.float32)
