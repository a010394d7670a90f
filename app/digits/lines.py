"""Characters → lines, and each line levelled for the line reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from .contract import CLASSES, OTHER_WRITING, READER_STRIDE, STRIP_HEIGHT, GreyPicture
from .finder import Characters
from .images import Box

HEIGHT_RATIO: Final = (0.42, 2.4)  # of a digit to its line: others stand on another line
MAX_OFFSET: Final = 0.5  # of the height, above or below where the line is expected
MAX_STEP: Final = 1.5  # heights between the centres of neighbours
MAX_CLIMB: Final = 0.3  # tangent: steeper lines are not followed
TAIL: Final = 5  # digits by which the line's course is judged
MIN_RUN: Final = 1.2  # heights: over a shorter distance, a climb says nothing
SIGN_REACH: Final = (1.6, 0.85)  # heights between a sign and the nearest digit, across and up or down
DIGIT_SHARE: Final = 0.75  # of a strip's height that the digits fill
MAX_STRIP_SHARE: Final = 0.95  # of a strip's height, that a line takes which climbs and falls
MAX_WAVE: Final = 2.2  # heights: a line's part further away from its course is cut off
MARGIN: Final = 1.0  # heights that a strip reaches beyond the line's ends: a digit there may have been missed
MAX_SLOPE: Final = 0.35  # tangent of the line that a strip is levelled by
MAX_STRIP_WIDTH: Final = 2048  # pixels: some hundred digits
MIN_STRIP_WIDTH: Final = 16  # pixels
CROP_MARGIN: Final = 4  # pixels around what a strip shows: interpolation looks beyond the edge
MAX_DIRECT_SHRINKING: Final = 0.6  # else pixels are averaged first: interpolation would skip fine strokes
SINGLE_LINE_HEIGHT: Final = 2.4  # heights of a digit: a picture that is no higher,
SINGLE_LINE_RATIO: Final = 1.3  # and so many times as wide as high, is one line as it is


@dataclass(frozen=True)
class Line:
    """Characters that stand in a line, from left to right."""

    characters: Characters  # digits and signs
    height: float  # median of the digits', in the picture's pixels

    @cached_property
    def digits(self) -> Characters:
        """Its digits, from left to right."""
        return self.characters[self.characters.labels < CLASSES]


@dataclass(frozen=True, slots=True)
class Strip:
    """A line, cut out and levelled."""

    pixels: GreyPicture  # (32, width), width a multiple of 4
    matrix: NDArray[np.float64]  # (2, 3): from the picture's pixels to the strip's

    def map_columns(self, columns: Sequence[float]) -> list[tuple[float, float]]:
        """Return the points in the picture that columns of the strip's middle row show."""
        (xx, xy, x), (yx, yy, y) = cv2.invertAffineTransform(self.matrix).tolist()
        row = STRIP_HEIGHT / 2
        return [(xx * column + xy * row + x, yx * column + yy * row + y) for column in columns]


class _OpenLine:
    """A line that digits are appended to, from left to right."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.x: list[float] = []
        self.y: list[float] = []
        self.heights: list[float] = []
        self.height = 0.0
        self.middle = (0.0, 0.0)  # of the last digits
        self.slope: float | None = None  # of the last digits, where they reach far enough to tell

    def append(self, row: int, x: float, y: float, height: float) -> None:
        self.rows.append(row)
        self.x.append(x)
        self.y.append(y)
        self.heights.append(height)
        self.height = sorted(self.heights)[len(self.heights) // 2]
        self._fit_course(self.x[-TAIL:], self.y[-TAIL:])

    def measure_offset(self, x: float, y: float, height: float) -> float:
        """Return how far above or below this line's course a digit stands, in heights.

        It is compared with the whole line, and with the last digit if that is near; the nearer one counts.
        """
        offset = math.inf
        if HEIGHT_RATIO[0] < height / self.height < HEIGHT_RATIO[1]:
            offset = abs(y - self.expect_y(x)) / max(height, self.height)
        last, tallest = self.heights[-1], max(height, self.heights[-1])
        is_near = x - self.x[-1] < MAX_STEP * tallest
        if is_near and HEIGHT_RATIO[0] < height / last < HEIGHT_RATIO[1]:
            offset = min(offset, abs(y - self.y[-1]) / tallest)
        return offset

    def expect_y(self, x: float) -> float:
        """Return where the line would be at `x`, if it went on as before."""
        if self.slope is None or x - self.x[-1] > 4 * self.height:
            return sum(self.y[-3:]) / len(self.y[-3:])
        return self.middle[1] + self.slope * (x - self.middle[0])

    def _fit_course(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.middle = mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        self.slope = None
        if len(xs) > 2 and xs[-1] - xs[0] >= MIN_RUN * self.height:  # noqa: PLR2004
            slope = sum((one - mean_x) * (other - mean_y) for one, other in zip(xs, ys, strict=True))
            slope /= sum((one - mean_x) ** 2 for one in xs)
            self.slope = max(-MAX_CLIMB, min(MAX_CLIMB, slope))


def group(characters: Characters) -> list[Line]:
    """Group digits into lines, from top to bottom, and give each sign to the nearest one."""
    labels = characters.labels
    left, top, right, bottom = characters.boxes.T.tolist()
    digits = sorted(np.flatnonzero(labels < CLASSES).tolist(), key=lambda row: left[row])
    lines: list[_OpenLine] = []
    for row in digits:
        x, y, height = (left[row] + right[row]) / 2, (top[row] + bottom[row]) / 2, bottom[row] - top[row]
        offsets = [(line.measure_offset(x, y, height), index) for index, line in enumerate(lines)]
        offset, index = min(offsets, default=(MAX_OFFSET, -1))
        if offset >= MAX_OFFSET:
            lines.append(_OpenLine())
            index = -1
        lines[index].append(row, x, y, height)
    lines = _drop_repetitions(lines, characters)
    lines.sort(key=lambda line: sum(line.y) / len(line.y))
    for row in np.flatnonzero((labels >= CLASSES) & (labels != OTHER_WRITING)).tolist():
        nearest = _find_nearest(lines, characters, row)
        if nearest is not None:
            nearest.rows.append(row)
    return [
        Line(characters[np.array(sorted(line.rows, key=lambda row: left[row] + right[row]))], line.height)
        for line in lines
    ]


def _drop_repetitions(lines: list[_OpenLine], characters: Characters) -> list[_OpenLine]:
    """Drop single digits that lie within a longer line: they are parts of its digits, found again."""
    extents = []
    for line in lines:
        if len(line.rows) > 1:
            boxes = characters.boxes[line.rows]
            extents.append((*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()))

    def is_within(line: _OpenLine) -> bool:
        x, y = line.x[0], line.y[0]
        return any(left < x < right and top < y < bottom for left, top, right, bottom in extents)

    return [line for line in lines if len(line.rows) > 1 or not is_within(line)]


def _find_nearest(lines: Sequence[_OpenLine], characters: Characters, row: int) -> _OpenLine | None:
    left, top, right, bottom = characters.boxes[row].tolist()
    x, y = (left + right) / 2, (top + bottom) / 2
    best, nearest = math.inf, None
    for line in lines:
        at = min(range(len(line.x)), key=lambda index: abs(line.x[index] - x))
        digit = characters.boxes[line.rows[at]].tolist()
        across = max(digit[0] - x, x - digit[2], 0) / line.height
        down = abs(line.y[at] - y) / line.height
        if across < SIGN_REACH[0] and down < SIGN_REACH[1] and down + 0.3 * across < best:
            best, nearest = down + 0.3 * across, line
    return nearest


def unite(lines: Sequence[Line], shape: tuple[int, ...]) -> Line | None:
    """Return all lines as one if their picture, of this height and width, is hardly higher than a digit.

    On such a picture, tall and low digits of one line may have been taken for two.
    """
    height, width = shape
    tallest = max((line.height for line in lines), default=0.0)
    levels = [float(line.digits.boxes[:, 1::2].mean()) for line in lines]
    is_one = bool(lines) and max(levels) - min(levels) < MAX_OFFSET * tallest
    if not is_one or height > SINGLE_LINE_HEIGHT * tallest or width < SINGLE_LINE_RATIO * height:
        return None
    characters = Characters.join([line.characters for line in lines])
    order = np.argsort(characters.boxes[:, 0] + characters.boxes[:, 2], kind="stable")
    return Line(characters[order], tallest)


def cut_strip(grey: GreyPicture, line: Line) -> Strip:
    """Cut a line out of the picture, turned until it is level, 32 pixels high."""
    width = grey.shape[1]
    boxes = line.digits.boxes.astype(np.float64)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    slope = 0.0
    if len(x) > 2 and np.ptp(x) > 2 * line.height:  # noqa: PLR2004
        aside = x - x.mean()
        slope = float(np.clip(aside @ y / (aside @ aside), -MAX_SLOPE, MAX_SLOPE))  # least squares
    from_course = y - y.mean() - slope * (x - x.mean())
    half = (boxes[:, 3] - boxes[:, 1]) / 2
    top, bottom = float((from_course - half).min()), float((from_course + half).max())
    tall = max(line.height, bottom - top) / DIGIT_SHARE
    tall = min(max(tall, (bottom - top) / MAX_STRIP_SHARE), MAX_WAVE * line.height / DIGIT_SHARE)
    ends = line.characters.boxes
    left = max(float(ends[:, 0].min()) - MARGIN * line.height, -0.12 * line.height)
    right = min(float(ends[:, 2].max()) + MARGIN * line.height, width + 0.12 * line.height)
    angle = math.atan(slope)
    cos, sin = math.cos(angle), math.sin(angle)
    middle_x = (left + right) / 2
    middle_y = float(y.mean()) + slope * (middle_x - float(x.mean())) + (top + bottom) / 2
    long = (right - left) / cos
    turn = np.array([[cos, sin, 0], [-sin, cos, 0]])
    turn[:, 2] = (long / 2, tall / 2) - turn[:, :2] @ (middle_x, middle_y)
    return _warp(grey, turn, long, tall)


def _warp(grey: GreyPicture, turn: NDArray[np.float64], width: float, height: float) -> Strip:
    """Scale the window of this width and height that `turn` brings to the origin to a strip."""
    scale = STRIP_HEIGHT / height
    scale_x = min(scale, MAX_STRIP_WIDTH / width)
    columns = _round_up(width * scale_x)
    matrix = np.diag([scale_x, scale]) @ turn
    matrix[0, 2] += (columns - width * scale_x) / 2
    source, from_source = _crop_to_strip(grey, matrix, columns)
    if scale < MAX_DIRECT_SHRINKING:
        factor = 1.3 * scale_x
        source = cv2.resize(source, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        from_source[:, :2] /= factor
    pixels = cv2.warpAffine(
        source, from_source, (columns, STRIP_HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return Strip(np.asarray(pixels, np.uint8), matrix)


def _crop_to_strip(
    grey: GreyPicture, matrix: NDArray[np.float64], columns: int
) -> tuple[GreyPicture, NDArray[np.float64]]:
    """Return the part of a picture that a strip shows, and the matrix from there to the strip."""
    corners = np.array([(0, 0, 1), (columns, 0, 1), (0, STRIP_HEIGHT, 1), (columns, STRIP_HEIGHT, 1)])
    x, y = cv2.invertAffineTransform(matrix) @ corners.T
    height, width = grey.shape
    left, top = (int(np.clip(np.floor(at.min()) - CROP_MARGIN, 0, None)) for at in (x, y))
    right, bottom = (np.ceil(at.max()) + CROP_MARGIN for at in (x, y))
    left, top = min(left, width - 1), min(top, height - 1)
    part = grey[top : max(top + 1, int(bottom)), left : max(left + 1, int(right))]
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (left, top)
    return part, moved


def resize_to_strip(grey: GreyPicture) -> Strip:
    """Scale the whole picture to a strip."""
    height, width = grey.shape
    columns = _round_up(min(width * STRIP_HEIGHT / height, MAX_STRIP_WIDTH))
    way = cv2.INTER_AREA if height > STRIP_HEIGHT else cv2.INTER_CUBIC
    pixels = cv2.resize(grey, (columns, STRIP_HEIGHT), interpolation=way)
    return Strip(
        np.asarray(pixels, np.uint8), np.array([[columns / width, 0, 0], [0, STRIP_HEIGHT / height, 0]])
    )


def stretch(strip: GreyPicture, factor: float) -> GreyPicture:
    """Return a strip, (32, width), that is about `factor` times as wide."""
    if factor == 1:
        return strip
    size = _round_up(strip.shape[1] * factor), STRIP_HEIGHT
    return np.asarray(cv2.resize(strip, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _round_up(columns: float) -> int:
    return max(MIN_STRIP_WIDTH, math.ceil(columns / READER_STRIDE) * READER_STRIDE)


def round_box(box: Sequence[float]) -> Box:
    """Return left, top, width and height in whole pixels, of a box's left, top, right and bottom."""
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    return left, top, max(1, math.ceil(box[2]) - left), max(1, math.ceil(box[3]) - top)
