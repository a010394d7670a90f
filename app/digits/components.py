"""Connected components of ink: their labels and their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .images import Box

Labels: TypeAlias = NDArray[np.int32]  # (height, width), 0 where there is no ink
Stats: TypeAlias = NDArray[np.int32]  # (components, 5): left, top, width, height, area


def label_components(mask: NDArray[np.uint8]) -> tuple[Labels, Stats]:
    """Label the connected components of a mask; pixels that share only a corner are connected, too.

    Returns the labels, and a row of statistics for the background and for each component. With statistics,
    OpenCV's default algorithm takes three times as long as this one, and without them a third as long
    (measured with OpenCV 5.0).
    """
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    if count == 2:  # noqa: PLR2004  # the background and one component, as in most drawings
        area = cv2.countNonZero(mask)
        background = (0, 0, *mask.shape[::-1], mask.size - area)
        return labels, np.array([background, (*cv2.boundingRect(mask), area)], np.int32)
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(mask, 8, cv2.CV_32S, cv2.CCL_GRANA)
    return labels, stats


def mask_components(labels: Labels, is_wanted: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask of the wanted components; `is_wanted` has no entry for the background."""
    return np.concatenate(([False], is_wanted)).view(np.uint8).take(labels)


def enclose_boxes(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of `boxes`, of which there is at least one."""
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top
