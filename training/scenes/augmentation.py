"""Augments training pictures: varies position, slant, size, shape and stroke width, as handwriting does."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import SIDE, CanonicalPicture, DigitBatch
from training.recipe import Augmentation

_PEN: Final = np.ones((3, 3), np.uint8)  # one pixel more or less on every side of a stroke
_MIDDLE: Final = (SIDE - 1) / 2
_MESH: Final = 5  # knots on each side; about 6 pixels apart, so that strokes bend without breaking


def augment(pictures: DigitBatch, augmentation: Augmentation, *, rng: np.random.Generator) -> DigitBatch:
    """Return a distorted copy of every picture, (n, 28, 28); equal generators give equal pictures."""
    count = len(pictures)
    strokes = rng.uniform(-augmentation.stroke, augmentation.stroke, count)
    maps = _draw_affine_maps(count, augmentation, rng)
    meshes = rng.normal(0, augmentation.bend, (count, _MESH, _MESH, 2)).astype(np.float32)
    bent = np.empty_like(pictures)
    for picture, stroke, points, mesh, out in zip(pictures, strokes, maps, meshes, bent, strict=True):
        sources = points + cv2.resize(mesh, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.remap(_change_stroke(picture, stroke), sources, None, cv2.INTER_LINEAR, dst=out)
    return bent


def _draw_affine_maps(
    count: int, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw affine maps, (count, 28, 28, 2): for every pixel of the result, its point x, y in the source.

    The picture is scaled, then sheared, then rotated about its middle, then shifted.
    """
    angle = np.radians(rng.uniform(-augmentation.rotation, augmentation.rotation, count))
    shear = rng.uniform(-augmentation.shear, augmentation.shear, count)
    wide, high = 1 + rng.uniform(-augmentation.scale, augmentation.scale, (2, count))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos * wide, (cos * shear - sin) * high], [sin * wide, (sin * shear + cos) * high]])
    inverse = np.linalg.inv(linear.transpose(2, 0, 1))
    shift = rng.uniform(-augmentation.shift, augmentation.shift, (count, 1, 2))
    pixels = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2) - _MIDDLE
    points = (pixels - shift) @ inverse.transpose(0, 2, 1) + _MIDDLE
    return points.reshape(count, SIDE, SIDE, 2).astype(np.float32)


def _change_stroke(picture: CanonicalPicture, stroke: float) -> CanonicalPicture:
    """Blend the picture with a bolder (`stroke` > 0) or thinner (< 0) copy of itself."""
    other = cv2.dilate(picture, _PEN) if stroke > 0 else cv2.erode(picture, _PEN)
    return cv2.addWeighted(picture, 1 - abs(stroke), other, abs(stroke), 0)
