"""A surface that is written and drawn on, and that knows where its characters lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import OTHER_WRITING, GreyPicture
from training.scenes.backgrounds import DARKEST_BASE, EMPTY_BASE, Grey, Ink, blend, draw_dark_ink
from training.scenes.chance import Rng, happens
from training.scenes.characters import DIGIT_HEIGHT
from training.scenes.handwriting import Hand, Mark, WrittenLine
from training.scenes.pens import FRACTION_BITS
from training.scenes.strips import Marks, cover_unevenly

Points: TypeAlias = NDArray[np.floating[Any]]  # (points, 2), x and y in pixels
Point: TypeAlias = Sequence[float] | NDArray[np.floating[Any]]  # x and y

COVERED: Final = -1  # the class of a character that nobody can make out
DARK_GROUND: Final = 95  # grey level of a ground below which ink is mostly lighter
_COVERED_RIM: Final = 0.15  # of the writing's height: what lies that near to a thing is half hidden
MIN_SIDE: Final = 3  # pixels: nothing is written on less
_TRIES: Final = 6  # to find a free place


class Surface:
    """A picture that is being composed. Lengths are pixels."""

    def __init__(self, ground: Grey, rng: Rng, *, unit: float) -> None:
        self.picture = np.ascontiguousarray(ground, np.float32)
        self.height, self.width = ground.shape
        self.rng = rng
        self.unit = unit  # height of the writing
        self.marks: list[Mark] = []
        self.last_line: list[Mark] = []  # of the line that was written last
        self._occupied = np.zeros(ground.shape, bool)

    def pick_ink(self, region: tuple[slice, slice] | None = None) -> Ink:
        """Return ink that can be seen on a region: darker than it, or lighter on dark grounds."""
        ground = self.picture if region is None else self.picture[region]
        rng, base = self.rng, float(ground.mean()) if ground.size else EMPTY_BASE
        if base < DARK_GROUND and happens(rng, 0.93):
            base = max(base, DARKEST_BASE)
            return Ink(base + (255 - base) * rng.uniform(0.5, 1.0), rng.uniform(0.75, 1.0))
        return draw_dark_ink(ground, rng)

    def write(
        self,
        line: WrittenLine | None,
        hand: Hand,
        corner: tuple[float, float],
        *,
        unit: float | None = None,
        turn: float = 0.0,
        ink: Ink | None = None,
        over: bool = False,
    ) -> bool:
        """Write a line, its top left at `corner`, its digits `unit` high.

        Returns:
            False if there is nothing to write, no room, or, but for `over`, something there already.
        """
        if line is None:
            return False
        scale = (unit or self.unit) / DIGIT_HEIGHT
        size = max(2, round(line.ink.shape[1] * scale)), max(2, round(line.ink.shape[0] * scale))
        region = self._find_region(corner, size, turn)
        if (
            size[0] > 1.5 * self.width
            or self._is_too_small(region)
            or (not over and self.is_occupied(region))
        ):
            return False
        matrix = _turn_about_middle(corner, size, turn)
        self._lay_ink(
            cover_unevenly(line.ink, size, hand, self.rng), matrix, region, ink or self.pick_ink(region)
        )
        self._occupied[region] = True
        self.last_line = [_move_mark(mark, scale, matrix) for mark in line.marks]
        self.marks += self.last_line
        return True

    def draw(
        self, points: Points, ink: Ink, thickness: float, *, closed: bool = False, filled: bool = False
    ) -> GreyPicture:
        """Draw a line through points, or fill their shape; return what it covers."""
        cover = np.zeros((self.height, self.width), np.uint8)
        fixed = np.rint(np.asarray(points) * (1 << FRACTION_BITS)).astype(np.int32)
        if filled:
            cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, FRACTION_BITS)
        else:
            cv2.polylines(cover, [fixed], closed, 255, max(1, round(thickness)), cv2.LINE_AA, FRACTION_BITS)
        if ink.opacity:
            self.picture = blend(self.picture, cover, ink.tone, opacity=ink.opacity)
        return cover

    def occupy(self, points: Points, *, rim: float = 2.0) -> None:
        """Keep the box of some points, and `rim` round it, free of writing."""
        self._occupied[self._clip(*(points.min(axis=0) - rim), *(points.max(axis=0) + rim))] = True

    def is_occupied(self, region: tuple[slice, slice]) -> bool:
        """Whether something stands in a region."""
        return bool(self._occupied[region].any())

    def find_free_corner(self, size: float) -> tuple[float, float] | None:
        """Return the top left of a free square, None if none is found at a few tries."""
        for _ in range(_TRIES):
            x, y = (
                self.rng.uniform(0, max(1, self.width - size)),
                self.rng.uniform(0, max(1, self.height - size)),
            )
            if not self.is_occupied(self._clip(x, y, x + size, y + size)):
                return x, y
        return None

    def mark_other_writing(self, points: Points) -> None:
        """Note that what was drawn there is writing, but no character that is read."""
        self.last_line = [Mark(OTHER_WRITING, *points.min(axis=0).tolist(), *points.max(axis=0).tolist())]
        self.marks += self.last_line
        self.occupy(points)

    def hide_below(self, outline: Points) -> None:
        """Note that characters below a thing can't be made out."""
        shape = np.asarray(outline, np.float32).reshape(-1, 1, 2)

        def is_hidden(mark: Mark) -> bool:
            middle = (mark.left + mark.right) / 2, (mark.top + mark.bottom) / 2
            inside: float = cv2.pointPolygonTest(shape, middle, True)  # noqa: FBT003
            return inside > -_COVERED_RIM * self.unit

        self.marks = [mark._replace(label=COVERED) if is_hidden(mark) else mark for mark in self.marks]

    def list_marks(self) -> Marks:
        """Return the marks as rows."""
        return np.array(self.marks, np.float32).reshape(-1, 5)

    def clip_box(self, points: Points) -> tuple[slice, slice]:
        """Return the rows and columns of the box of some points."""
        return self._clip(*points.min(axis=0), *points.max(axis=0))

    def _lay_ink(
        self, cover: Grey, matrix: NDArray[np.float32], region: tuple[slice, slice], ink: Ink
    ) -> None:
        rows, columns = region
        local = matrix.copy()
        local[:, 2] -= (columns.start, rows.start)
        share = cv2.warpAffine(cover, local, (columns.stop - columns.start, rows.stop - rows.start))
        view = self.picture[region]
        target = np.minimum(ink.tone, view) if ink.tone < view.mean() else np.maximum(ink.tone, view)
        view += share * np.float32(ink.opacity) * (target - view)

    def _find_region(
        self, corner: tuple[float, float], size: tuple[int, int], turn: float
    ) -> tuple[slice, slice]:
        pad = abs(np.sin(turn)) * size[0] / 2 + 2
        x, y = corner
        return self._clip(x - 2, y - pad, x + size[0] + 2, y + size[1] + pad)

    def _clip(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        return (
            slice(max(0, int(top)), max(0, min(self.height, int(bottom)))),
            slice(max(0, int(left)), max(0, min(self.width, int(right)))),
        )

    def _is_too_small(self, region: tuple[slice, slice]) -> bool:
        return any(part.stop - part.start < MIN_SIDE for part in region)


def draw_quadrilateral(
    middle: Point, size: tuple[float, float], rng: Rng, *, turn: float = 0.0
) -> NDArray[np.float32]:
    """Return the corners of a rectangle, turned and a little out of shape, from the top left clockwise."""
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) + rng.normal(0, 0.01, (4, 2))
    cos, sin = np.cos(turn), np.sin(turn)
    return ((corners * size) @ np.array([[cos, sin], [-sin, cos]]) + middle).astype(np.float32)


def draw_ellipse(
    middle: Point,
    axes: tuple[float, float],
    *,
    count: int = 60,
    start: float = 0.0,
    turns: float = 1.0,
) -> NDArray[np.float64]:
    """Return points along an ellipse with these half axes."""
    angles = start + np.linspace(0, 2 * np.pi * turns, count)
    return np.stack([middle[0] + axes[0] * np.cos(angles), middle[1] + axes[1] * np.sin(angles)], axis=1)


def scale_about_middle(points: Points, across: float, down: float) -> NDArray[np.floating[Any]]:
    """Return a shape, larger or smaller, in the same place."""
    middle = points.mean(axis=0)
    return (points - middle) * (across, down) + middle


def _turn_about_middle(
    corner: tuple[float, float], size: tuple[int, int], turn: float
) -> NDArray[np.float32]:
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, sin], [-sin, cos]])
    middle = np.array(size) / 2
    return np.column_stack([rotation, middle + corner - rotation @ middle]).astype(np.float32)


def _move_mark(mark: Mark, scale: float, matrix: NDArray[np.float32]) -> Mark:
    middle = np.array([mark.left + mark.right, mark.top + mark.bottom]) / 2 * scale
    x, y = matrix[:, :2] @ middle + matrix[:, 2]
    wide, high = (mark.right - mark.left) / 2 * scale, (mark.bottom - mark.top) / 2 * scale
    return Mark(mark.label, float(x - wide), float(y - high), float(x + wide), float(y + high))
