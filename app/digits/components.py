"""Connected components of ink: their labels, their boxes, and how high the text is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.digits.images import Box

Labels: TypeAlias = NDArray[np.int32]  # (height, width), 0 where there is no ink
Stats: TypeAlias = NDArray[np.int32]  # (components, 5): left, top, width, height, area


def box_of(stat: NDArray[np.int32]) -> Box:
    """Return the box of one row of `Stats`."""
    left, top, width, height = (int(value) for value in stat[:4])
    return left, top, width, height


def window_of(box: Box) -> tuple[slice, slice]:
    """Return what cuts a box out of a picture."""
    return slice(box[1], box[1] + box[3]), slice(box[0], box[0] + box[2])


def hull(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of `boxes`, of which there is at least one."""
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def text_height(pieces: Stats) -> float:
    """Return the height of most ink: the median of the components' heights, weighted by their areas."""
    order = np.argsort(pieces[:, 3])
    area = np.cumsum(pieces[order, 4])
    return float(pieces[order[np.searchsorted(area, area[-1] / 2)], 3])
