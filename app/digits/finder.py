"""The finder: a grey picture → where characters are, how large, and which.

The network marks characters that are 12 to 48 pixels high, so it is shown the picture at several sizes:
small ones first, and larger ones only as long as characters may be too small on those before. The largest
copy costs more than all others together. So only that part of it is looked at in which the copy before hints
at characters, unless these may be too small even for hints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .contract import (
    BATCH,
    BOX_HEIGHT,
    BOX_WIDTH,
    BOXES,
    CHARACTERS,
    CLASSES,
    FINDER_MULTIPLE,
    FINDER_STRIDE,
    HEAT,
    INPUT,
    OTHER_WRITING,
    GreyPicture,
)
from .errors import InvalidModel
from .network import Arrays, Network
from .scaling import shrink

_COUNT: Final = len(CHARACTERS)
_INPUTS: Final[Arrays] = {INPUT: ("tensor(uint8)", [BATCH, "height", "width", 1])}
_OUTPUTS: Final[Arrays] = {
    HEAT: ("tensor(float)", [BATCH, "rows", "columns", _COUNT]),
    BOXES: ("tensor(float)", [BATCH, "rows", "columns", 4]),
}

Region: TypeAlias = tuple[slice, slice]  # rows and columns of a picture

LEVELS: Final = (64, 128, 256, 512, 1024)  # pixels: longer sides of the copies that are looked at,
SMALLEST_LEVEL: Final = 40  # and of one more, for a digit that fills the picture
MAX_ENLARGEMENT: Final = 2.2  # a picture enlarged further shows nothing new
MIN_LIKELIHOOD: Final = 0.3  # a less likely character counts against the answer's confidence only
MIN_TRACE: Final = 0.1  # a still less likely one does not count at all
MIN_HINT: Final = 0.18  # likelihood of a character of any size: a larger copy may show one there
# Of a larger copy than this, only the part is looked at in which the copy before hints at characters: pixels,
MAX_UNHINTED: Final = 512 * 512
MAX_UNHINTED_IN_DETAIL: Final = 256 * 256  # and if the copy before shows half of the picture's resolution
HINT_MARGIN: Final = 32  # pixels around hints, on the copy that shows them
LARGE_ENOUGH: Final = 12.5  # pixels: larger copies show nothing new about characters this high
ENOUGH: Final = 120  # digits on one copy: with more, not all are read anyway
MIN_LAST_SIDE: Final = 256  # pixels: on smaller copies, small characters may be invisible,
# but hardly beside those of a single line: there, a copy that is shrunk no further than this is enough
MIN_LAST_SCALE: Final = 0.5
MAX_LINE_HEIGHT: Final = 2.4  # heights of a digit: a picture that is no higher shows one line
CLEAR: Final = 0.6  # likelihood of a digit that is seen clearly,
CLEAR_HEIGHT: Final = 14.0  # and its height, in pixels
SMALL_SHARE: Final = 15  # per cent of the characters that may be smaller
MAX_PER_LEVEL: Final = 200  # characters, so that the work is bounded
HEIGHT_RANGE: Final = (9.5, 60.0)  # pixels: other heights are seen better on another copy
IDEAL_HEIGHT: Final = 26.0  # pixels
HEIGHT_PENALTY: Final = 0.18  # for the squared logarithm of the ratio to the ideal height
MAX_OVERLAP: Final = 0.5  # of the union of two boxes: more, and they are one character
MAX_CONTAINED: Final = 0.8  # of the smaller box, found on another copy: a part of the larger character
NEAR_X: Final = 0.28  # of the wider box: centres nearer than this, and than NEAR_Y, are one character
NEAR_Y: Final = 0.4  # of the lower box
NARROW: Final = 0.3  # of its height: a 1 counts as at least this wide


@dataclass(frozen=True)
class Characters:
    """Characters on a picture, the surest first."""

    boxes: NDArray[np.float32]  # (n, 4): left, top, right, bottom, in the picture's pixels
    likelihoods: NDArray[np.float32]  # (n, 20): that a character of each class is centred there
    ranks: NDArray[np.float32]  # (n,): of two boxes of one character, the one with the higher rank is better
    levels: NDArray[np.int8]  # (n,): index of the copy on which it was found

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Characters:
        return Characters(self.boxes[rows], self.likelihoods[rows], self.ranks[rows], self.levels[rows])

    def move(self, x: float, y: float) -> Characters:
        """Return the characters further to the right and further down, by `x` and `y` pixels."""
        return Characters(
            self.boxes + np.array((x, y, x, y), np.float32), self.likelihoods, self.ranks, self.levels
        )

    @classmethod
    def join(cls, parts: Sequence[Characters]) -> Characters:
        """Return the characters of several parts, of which there is at least one."""
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.likelihoods for part in parts]),
            np.concatenate([part.ranks for part in parts]),
            np.concatenate([part.levels for part in parts]),
        )

    @cached_property
    def labels(self) -> NDArray[np.intp]:
        """The likeliest class of each."""
        return np.asarray(self.likelihoods.argmax(axis=1))

    @cached_property
    def certainties(self) -> NDArray[np.float32]:
        """How likely each is a character of its likeliest class."""
        return np.asarray(self.likelihoods.max(axis=1, initial=0))


@dataclass(frozen=True, slots=True)
class Finder(Network):
    """A network that finds characters."""

    def __post_init__(self) -> None:
        """Check the network, and run it once, so that the first picture is as fast as the rest."""
        self.check_arrays(_INPUTS, _OUTPUTS)
        heat, boxes = self.run((HEAT, BOXES), np.zeros((1, 64, 64, 1), np.uint8))
        if not (np.isfinite(heat).all() and np.isfinite(boxes).all()):
            msg = "its outputs are not finite numbers"
            raise InvalidModel(msg)

    def find(self, grey: GreyPicture, *, levels: Sequence[int] = LEVELS) -> Characters:
        """Find all characters on a grey picture.

        Args:
            grey: uint8 (height, width), of any size and polarity.
            levels: longer sides of the copies, in pixels; larger ones than are needed are left out.
        """
        copies = []
        for found, scale in self._yield_copies(grey, levels):
            copies.append(found)
            if _shows_all(found, scale, grey):
                break
        return merge(copies)

    def find_prominent(self, grey: GreyPicture, *, levels: Sequence[int] = LEVELS) -> Characters:
        """Find the most prominent digit on a grey picture, and what is nearly as large; see `find`."""
        copies = []
        for found, scale in self._yield_copies(grey, (SMALLEST_LEVEL, *levels)):
            copies.append(found)
            if _shows_clear_digit(found, scale) or _shows_all(found, scale, grey):
                break
        return merge(copies)

    def _yield_copies(self, grey: GreyPicture, levels: Sequence[int]) -> Iterator[tuple[Characters, float]]:
        """Yield what is found on each copy, and how many times larger than the picture it is."""
        region: Region | None = (slice(0, grey.shape[0]), slice(0, grey.shape[1]))
        for level, (side, following) in enumerate(pairwise((*levels, 0))):
            scale = side / max(grey.shape)
            if region is None or (level and scale > MAX_ENLARGEMENT):
                return
            heat, boxes = self._look_at(grey[region], scale)
            found = decode(heat, boxes, scale, shape=grey[region].shape, level=level)
            yield found.move(region[1].start, region[0].start), scale
            max_unhinted = MAX_UNHINTED if scale < MIN_LAST_SCALE else MAX_UNHINTED_IN_DETAIL
            if grey.size * (following / max(grey.shape)) ** 2 > max_unhinted:
                region = find_hints(heat, scale, shape=grey.shape)

    def _look_at(self, part: GreyPicture, scale: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the heat and the boxes for a copy of a part of the picture, `scale` times as large."""
        side = round(scale * max(part.shape))
        copy = shrink(part, side) if scale <= 1 else cv2.resize(part, None, fx=scale, fy=scale)
        height, width = copy.shape
        copy = cv2.copyMakeBorder(
            copy, 0, -height % FINDER_MULTIPLE, 0, -width % FINDER_MULTIPLE, cv2.BORDER_REPLICATE
        )
        heat, boxes = self.run((HEAT, BOXES), copy[None, :, :, None])
        return heat[0], boxes[0]


def find_hints(heat: NDArray[np.float32], scale: float, *, shape: tuple[int, ...]) -> Region | None:
    """Return the part of a picture in which there may be characters, or None if there are none anywhere.

    Args:
        heat: float32 (rows, columns, 20), log-odds.
        scale: how many times larger the copy is than the picture.
        shape: height and width of the picture.
    """
    is_hint = _take_hottest(heat) > np.log(MIN_HINT / (1 - MIN_HINT))
    if not is_hint.any():
        return None
    return (
        _find_span(is_hint.any(axis=1), scale, shape[0]),
        _find_span(is_hint.any(axis=0), scale, shape[1]),
    )


def _take_hottest(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the heat of the likeliest class in each cell: float32 (rows, columns)."""
    # numpy takes five times as long for the maximum along a short last axis
    by_class = cv2.transpose(heat.reshape(-1, heat.shape[2]))
    return np.asarray(np.maximum.reduce(by_class).reshape(heat.shape[:2]), np.float32)


def _find_span(has_hint: NDArray[np.bool_], scale: float, length: int) -> slice:
    """Return the pixels of a picture from the first to the last row or column of cells with a hint."""
    first, last = np.flatnonzero(has_hint)[[0, -1]].tolist()
    start, end = first * FINDER_STRIDE - HINT_MARGIN, (last + 1) * FINDER_STRIDE + HINT_MARGIN
    return slice(max(0, int(start / scale)), min(length, int(end / scale)))


def decode(
    heat: NDArray[np.float32],
    boxes: NDArray[np.float32],
    scale: float,
    *,
    shape: tuple[int, ...],
    level: int,
) -> Characters:
    """Return the characters at the peaks of the heat.

    Args:
        heat: float32 (rows, columns, 20), log-odds.
        boxes: float32 (rows, columns, 4), see `app.digits.contract`.
        scale: how many times larger the copy is than the picture.
        shape: height and width of the picture.
        level: index of the copy.
    """
    best = _take_hottest(heat)
    lowest = np.float32(np.log(MIN_TRACE / (1 - MIN_TRACE)))
    rows, columns = np.nonzero((best >= cv2.dilate(best, np.ones((3, 3)))) & (best > lowest))
    likelihoods = np.asarray(1 / (1 + np.exp(-heat[rows, columns])), np.float32)
    places = boxes[rows, columns]
    size = np.exp(np.minimum(np.maximum(places[:, :2], -3), 3)) * (BOX_WIDTH, BOX_HEIGHT)
    centres = (np.column_stack([columns, rows]) + 0.5 + places[:, 2:]) * FINDER_STRIDE
    labels = likelihoods.argmax(axis=1)
    is_sign = (labels >= CLASSES) & (labels != OTHER_WRITING)
    height = size[:, 1]
    is_valid = is_sign | ((height > HEIGHT_RANGE[0]) & (height < HEIGHT_RANGE[1]))
    is_valid &= (centres / scale < shape[::-1]).all(axis=1)  # beyond, there is only the padding
    penalty = HEIGHT_PENALTY * np.log(np.maximum(height, 1) / IDEAL_HEIGHT) ** 2
    found = Characters(
        boxes=(np.hstack([centres - size / 2, centres + size / 2]) / scale).astype(np.float32),
        likelihoods=likelihoods,
        ranks=(likelihoods.max(axis=1, initial=0) * np.exp(-penalty * ~is_sign)).astype(np.float32),
        levels=np.full(len(rows), level, np.int8),
    )
    valid = np.flatnonzero(is_valid)
    return found[valid[np.argsort(-found.ranks[valid], kind="stable")[:MAX_PER_LEVEL]]]


def merge(copies: list[Characters]) -> Characters:
    """Return the characters of all copies, each once: from the copy that shows it best."""
    found = Characters.join(copies)
    order = np.argsort(-found.ranks, kind="stable")
    is_same = _compare(found.boxes[order], found.levels[order])
    remaining, kept = np.ones(len(found), np.bool_), []
    for row in range(len(found)):
        if remaining[row]:
            kept.append(row)
            remaining &= ~is_same[row]
    return found[order[kept]]


def _compare(boxes: NDArray[np.float32], levels: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Tell of each pair of boxes whether they show the same character."""
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    area, wide = width * height, np.maximum(width, NARROW * height)
    x, y = (left + right) / 2, (top + bottom) / 2

    def smaller(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.minimum(values[:, None], values))

    def distance(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.abs(values[:, None] - values))

    shared_width = smaller(right) - np.maximum(left[:, None], left)
    shared_height = smaller(bottom) - np.maximum(top[:, None], top)
    shared = np.maximum(shared_width, 0) * np.maximum(shared_height, 0)
    is_same = shared > MAX_OVERLAP * (area[:, None] + area - shared)
    is_same |= (distance(x) < NEAR_X * smaller(wide)) & (distance(y) < NEAR_Y * smaller(height))
    is_same |= (shared > MAX_CONTAINED * smaller(area)) & (levels[:, None] != levels)
    return np.asarray(is_same & (shared > 0))


def _shows_clear_digit(found: Characters, scale: float) -> bool:
    """Tell whether a copy shows a digit so clearly that a larger copy would not show it better."""
    heights = (found.boxes[:, 3] - found.boxes[:, 1]) * scale
    is_clear = (found.labels < CLASSES) & (found.certainties > CLEAR) & (heights > CLEAR_HEIGHT)
    return bool(is_clear.any())


def _shows_all(found: Characters, scale: float, grey: GreyPicture) -> bool:
    """Tell whether a larger copy is needless: hardly any digit is small, or there are too many to read."""
    is_likely = (found.labels < CLASSES) & (found.certainties > MIN_LIKELIHOOD)
    heights: list[float] = sorted(((found.boxes[is_likely, 3] - found.boxes[is_likely, 1]) * scale).tolist())
    if not heights:
        return False
    if scale * max(grey.shape) < MIN_LAST_SIDE and not (
        scale >= MIN_LAST_SCALE and _is_line(heights, scale, grey)
    ):
        return False
    rank = SMALL_SHARE / 100 * (len(heights) - 1)
    below, above = heights[math.floor(rank)], heights[math.ceil(rank)]
    return len(heights) >= ENOUGH or below + (above - below) * (rank % 1) > LARGE_ENOUGH


def _is_line(heights: Sequence[float], scale: float, grey: GreyPicture) -> bool:
    """Tell whether a picture has no room for smaller characters above or below those that were found."""
    return bool(grey.shape[0] * scale <= MAX_LINE_HEIGHT * heights[len(heights) // 2])
