"""A picture on its way through the steps, and the measurements that several steps share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import tones
from .contract import GreyPicture
from .images import Box
from .scaling import shrink
from .tones import Histogram

Polarity: TypeAlias = Literal["dark_on_light", "light_on_dark"]
Caution: TypeAlias = Literal["low_contrast", "several_digits", "touches_border", "tiny"]
Mask: TypeAlias = NDArray[np.uint8]  # (height, width), 1 where something is, such as ink
THUMBNAIL_SIDE: Final = 128  # pixels: light changes slowly, so it is measured on a small copy
UNIFORM_SHARE: Final = 0.6  # of the border's pixels that lie within UNIFORM_SPREAD of its median
UNIFORM_SPREAD: Final = 4  # grey levels: JPEG's noise on a flat background
SMALL_COPY_SIDE: Final = 256  # pixels: enough to find lines and digits; a digit of 4 % still has 10
SPANNING_SHARE: Final = 0.8  # of the width or height: a ruled line is as long, and hardly ever a digit's bar
MAX_SPECK_AREA: Final = 0.02  # of the main component's area: dust, not a broken stroke
MAX_PART_GAP: Final = 0.3  # of the main component's length: the parts of a broken digit are no farther apart
MIN_BORDER_CONTACT: Final = 0.8  # of a component's length lies along the border: a frame, a shadow, the desk
NO_MASK: Final = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingPicture:
    """A picture after some of the steps."""

    pixels: NDArray[np.uint8]  # (height, width)
    scale: float = 1.0  # how many times larger the original is than this copy
    offset: tuple[int, int] = (0, 0)  # x and y of the crop, in pixels of the uncropped copy
    polarity: Polarity = "dark_on_light"
    is_polarity_retry: bool = False  # the likelier polarity showed no ink, so this is the other one
    threshold: float = 0.0  # grey levels: ink is above it
    mask: Mask = field(default_factory=lambda: NO_MASK)  # from `extract_ink` on
    box: Box = (0, 0, 0, 0)
    cautions: tuple[Caution, ...] = ()
    _copies: dict[int, GreyPicture] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def small_copy(self) -> GreyPicture:
        """A copy whose longer side is at most SMALL_COPY_SIDE pixels."""
        return self._copy(SMALL_COPY_SIDE)

    @property
    def thumbnail(self) -> GreyPicture:
        """A copy whose longer side is at most THUMBNAIL_SIDE pixels."""
        return self._copy(THUMBNAIL_SIDE)

    def _copy(self, side: int) -> GreyPicture:
        if side not in self._copies:  # several steps use it
            self._copies[side] = shrink(self.pixels, side)
        return self._copies[side]


Step: TypeAlias = Callable[[WorkingPicture], WorkingPicture]


def find_outer_edges(components: NDArray[np.int32]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of all components together."""
    left, top = components[:, :2].min(axis=0).tolist()
    right, bottom = (components[:, :2] + components[:, 2:4]).max(axis=0).tolist()
    return left, top, right, bottom


def crop_to_edges(picture: WorkingPicture, edges: tuple[int, int, int, int]) -> WorkingPicture:
    """Cut a picture and its mask to left, top, right and bottom; edges beyond the border are moved to it."""
    left, top, right, bottom = (max(edge, 0) for edge in edges)
    window = np.s_[top:bottom, left:right]
    offset = (picture.offset[0] + left, picture.offset[1] + top)
    return dataclasses.replace(
        picture, pixels=picture.pixels[window], mask=picture.mask[window], offset=offset
    )


def is_uniform(border: Histogram, *, share: float = UNIFORM_SHARE) -> bool:
    """Tell whether at least `share` of the border's pixels have one tone."""
    tone = tones.median(border)
    matching = border[max(0, math.ceil(tone - UNIFORM_SPREAD)) : math.floor(tone + UNIFORM_SPREAD) + 1]
    return bool(matching.sum() >= share * border.sum())


def find_border_components(labels: NDArray[np.int32], components: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which components run along the border instead of ending at it."""
    contact = np.bincount(read_border_labels(labels), minlength=len(components) + 1)[1:]
    return np.asarray(contact >= MIN_BORDER_CONTACT * components[:, 2:4].max(axis=1))


def read_border_labels(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the labels of the outermost pixels."""
    return np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])


def measure_gaps(components: NDArray[np.int32], main: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the distance in pixels between the main component's box and each of the others."""
    left, top, width, height = components[:, :4].T
    across = np.maximum(0, np.maximum(left - (main[0] + main[2]), main[0] - (left + width)))
    down = np.maximum(0, np.maximum(top - (main[1] + main[3]), main[1] - (top + height)))
    distances: NDArray[np.float64] = np.hypot(across, down)
    return distances


def add_caution(picture: WorkingPicture, caution: Caution) -> WorkingPicture:
    """Add a caution unless the picture has it already."""
    if caution in picture.cautions:
        return picture
    return dataclasses.replace(picture, cautions=(*picture.cautions, caution))
