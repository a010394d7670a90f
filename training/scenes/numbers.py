"""Draws pictures of numbers, composed of MNIST's digits, for training and evaluation.

A scene depends on its seed alone: the same seed gives the same picture everywhere. Only the ink of MNIST's
pictures is used; position, size, slant, pen, paper, rules and boxes are drawn here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import CanonicalPicture, DigitBatch, GreyPicture
from app.digits.errors import NoInk
from app.digits.images import Box
from app.digits.preprocessing import canonicalise_part
from training.data.labelled import Labelled

Ink: TypeAlias = NDArray[np.float32]  # (height, width), 1 where there is ink
Row: TypeAlias = tuple[Ink, list[Box]]  # a line, and the boxes of its digits

MIN_DIGITS, MAX_DIGITS = 3, 8  # in a line
TOUCHING_SHARE: Final = 1 / 3  # of the numbers in `draw_scenes`

HEIGHT_RANGE: Final = (28, 90)  # pixels: from a cheque scanned at 200 dpi to a number photographed by a phone
CHEQUE_DIGIT_HEIGHT: Final = 30  # pixels: in the amount box of a cheque, which is 40 pixels high
MIN_INK: Final = 0.1  # less does not count as ink
MIN_VISIBLE_INK: Final = 0.5  # less is not visible
MIN_TOUCHING_INK: Final = 0.3  # less does not make neighbours touch
NEGATIVE_LABEL: Final = 255  # the label of negative examples
FOUND_SPREAD: Final = 0.04  # of a digit's height, standard deviation of where a finder sees its sides
MISPLACED_SHARE: Final = 0.5  # of the parts are placed at random
MISPLACED_SPREAD: Final = 0.4  # of a digit's height
# overlap with a digit below which a candidate is a negative example, and above which it is that digit
MIN_OVERLAP, MIN_DIGIT_OVERLAP = 0.5, 0.85
MARK_SHARE: Final = 0.3  # of the gaps, in numbers with marks
GAP_RANGE: Final = (0.08, 0.4)  # share of a digit's height, between neighbours that do not touch
OVERLAP_RANGE: Final = (0.02, 0.06)  # share of a digit's height by which touching neighbours overlap
MAX_SLANT: Final = 0.3  # tangent, in addition to the slant of MNIST's writers


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a number is written, and on what. All lengths are shares of the digits' height."""

    digits: int = 5
    lines: int = 1
    height: int = 48  # pixels
    touching: bool = False  # one pair of neighbours, or two
    slant: float = 0.0  # tangent
    tilt: float = 0.0  # degrees by which the lines rise
    underline: bool = False
    boxes: bool = False  # one for each digit, side by side
    texture: float = 0.0  # contrast of a printed background, as a share of the ink's
    marks: bool = False  # commas and dashes between digits
    light: float = 0.0  # how much darker the right side is
    noise: float = 2.0  # standard deviation in grey levels
    thin: float = 0.0  # how much thinner strokes are, 0 to 1
    light_on_dark: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture of a number, and its text."""

    picture: GreyPicture
    text: str  # its lines separated by \n
    boxes: tuple[Box, ...]  # of the digits' ink, in the text's order
    style: Style


def draw(digits: Labelled, style: Style, rng: np.random.Generator) -> Scene:
    """Write a number with the ink of `digits`."""
    rows, texts = [], []
    for _ in range(style.lines):
        indices = rng.integers(0, len(digits), style.digits)
        glyphs = [_render_glyph(picture, style, rng) for picture in digits.pictures[indices]]
        rows.append(_write_boxes(glyphs, style, rng) if style.boxes else _write_line(glyphs, style, rng))
        texts.append("".join(map(str, digits.digits[indices])))
    page, boxes = _stack_lines(rows, style, rng)
    return Scene(_lay_on_paper(page, style, rng), "\n".join(texts), tuple(boxes), style)


def draw_scenes(digits: Labelled, *, count: int, seed: int) -> Iterator[Scene]:
    """Yield numbers of 3 to 8 digits in all styles; one in three has digits that touch."""
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        yield draw(digits, _draw_style(rng, touching=index % round(1 / TOUCHING_SHARE) == 0), rng)


def cut_pieces(digits: Labelled, *, count: int, seed: int) -> tuple[DigitBatch, NDArray[np.uint8]]:
    """Cut parts out of numbers as the service does, so that a network learns which of them are digits.

    Some are digits, mostly with remnants of their neighbours, others a part of one or parts of two.

    Returns:
        uint8 (count, 28, 28), ink 255 on 0, and uint8 (count,), the digit or `NEGATIVE_LABEL`.
    """
    pictures, labels = zip(*itertools.islice(_yield_pieces(digits, seed), count), strict=True)
    return np.stack(pictures), np.array(labels, np.uint8)


def _yield_pieces(digits: Labelled, seed: int) -> Iterator[tuple[CanonicalPicture, int]]:
    for index in itertools.count():
        rng = np.random.default_rng((seed, index))
        scene = draw(digits, _draw_style(rng, touching=bool(rng.integers(4))), rng)
        written = scene.text.replace("\n", "")
        for box in scene.boxes:
            try:
                form = canonicalise_part(scene.picture, _misplace(box, scene.picture.shape, rng))
            except NoInk:
                continue
            overlaps = [measure_overlap(form.box, other) for other in scene.boxes]
            best = int(np.argmax(overlaps))
            if overlaps[best] < MIN_OVERLAP:
                yield form.picture, NEGATIVE_LABEL
            elif overlaps[best] > MIN_DIGIT_OVERLAP:
                yield form.picture, int(written[best])


def _misplace(box: Box, shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    """Move a box a little, as a finder may err, or so far that it holds no whole digit or parts of two."""
    left, top, width, height = box
    spread = MISPLACED_SPREAD if rng.random() < MISPLACED_SHARE else FOUND_SPREAD
    across, down, wider, taller = rng.normal(0, spread, 4) * (1, 0.3, 1, 0.3) * height
    left, top = max(0, round(left + across)), max(0, round(top + down))
    right, bottom = round(left + width + wider), round(top + height + taller)
    right, bottom = min(shape[1], max(right, left + 2)), min(shape[0], max(bottom, top + 2))
    return min(left, right - 2), min(top, bottom - 2), max(2, right - left), max(2, bottom - top)


def measure_overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union.

    Each box first grows by a tenth of its height; else a 1 that is two pixels off would not overlap at all.
    """
    left, top, right, bottom = _grow(one)
    other_left, other_top, other_right, other_bottom = _grow(other)
    across = min(right, other_right) - max(left, other_left)
    down = min(bottom, other_bottom) - max(top, other_top)
    shared = max(0.0, across) * max(0.0, down)
    areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    return shared / (areas - shared)


def _grow(box: Box) -> tuple[float, float, float, float]:
    rim = 0.1 * box[3]
    return box[0] - rim, box[1] - rim, box[0] + box[2] + rim, box[1] + box[3] + rim


def _draw_style(rng: np.random.Generator, *, touching: bool) -> Style:
    def one_in(count: int) -> bool:
        return int(rng.integers(count)) == 0

    cheque, boxes = one_in(4), one_in(10) and not touching
    return Style(
        digits=int(rng.integers(MIN_DIGITS, MAX_DIGITS + 1)),
        height=CHEQUE_DIGIT_HEIGHT if cheque else int(rng.integers(*HEIGHT_RANGE)),
        touching=touching,
        slant=float(rng.uniform(-MAX_SLANT / 3, MAX_SLANT)),
        tilt=0.0 if boxes else float(rng.normal(0, 1.5)),
        underline=one_in(5) and not boxes,
        boxes=boxes,
        texture=float(rng.uniform(0.1, 0.35)) if cheque else 0.0,
        marks=one_in(7),
        light=float(rng.uniform(0, 0.35)) if one_in(3) else 0.0,
        noise=float(rng.uniform(0, 5)),
        thin=float(rng.uniform(0, 0.7)),
        light_on_dark=one_in(10),
    )


def _render_glyph(picture: NDArray[np.uint8], style: Style, rng: np.random.Generator) -> Ink:
    """Enlarge and shear the ink of one digit, with edges as sharp as a pen's at that size."""
    x, y, width, height = cv2.boundingRect(picture)
    ink = cv2.copyMakeBorder(picture[y : y + height, x : x + width], 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    tall = style.height * rng.uniform(0.88, 1.12)
    scale = tall / max(height, width * 0.75)  # MNIST shrinks wide digits until they are 20 wide
    size = (round(ink.shape[1] * scale), round(ink.shape[0] * scale))
    large = cv2.resize(ink.astype(np.float32) / 255, size, interpolation=cv2.INTER_CUBIC)
    lean = abs(style.slant) * size[1]
    shear = np.array([[1, -style.slant, lean / 2 + style.slant * size[1] / 2], [0, 1, 0]], np.float32)
    sheared = cv2.warpAffine(large, shear, (size[0] + round(lean) + 1, size[1]))
    level = 0.4 + 0.25 * style.thin  # where the edge of a stroke lies
    return _crop_tightly(np.clip((sheared - level) * scale / 1.5 + 0.5, 0, 1).astype(np.float32))


def _find_visible_box(glyph: Ink, left: int, top: int) -> Box:
    """Return the box of a glyph at `left`, `top`, without its soft edge."""
    x, y, width, height = cv2.boundingRect((glyph > MIN_VISIBLE_INK).astype(np.uint8))
    return left + x, top + y, width, height


def _crop_tightly(ink: Ink) -> Ink:
    x, y, width, height = cv2.boundingRect((ink > MIN_INK).astype(np.uint8))
    return ink[y : y + height, x : x + width]


def _write_line(glyphs: Sequence[Ink], style: Style, rng: np.random.Generator) -> Row:
    pairs = len(glyphs) - 1
    touching = set(rng.permutation(pairs)[: rng.integers(1, 3)]) if style.touching else set()
    room = max(len(glyph) for glyph in glyphs) + style.height // 2
    row: Ink = np.zeros((room, 2), np.float32)
    boxes: list[Box] = []
    for index, glyph in enumerate(glyphs):
        top = room - len(glyph) - round(style.height * rng.uniform(0.1, 0.22))
        placed = np.zeros((room, glyph.shape[1]), np.float32)
        placed[top : top + len(glyph)] = glyph
        gap = -rng.uniform(*OVERLAP_RANGE) if index - 1 in touching else rng.uniform(*GAP_RANGE)
        if style.marks and index and index - 1 not in touching and rng.random() < MARK_SHARE:
            row = np.hstack([row, _draw_mark(room, style, rng)])
            gap = GAP_RANGE[1] / 2
        row, left = _append_glyph(row, placed, gap=round(gap * style.height))
        boxes.append(_find_visible_box(glyph, left, top))
    return row, boxes


def _append_glyph(row: Ink, glyph: Ink, *, gap: int) -> tuple[Ink, int]:
    """Append `glyph` to `row`, with `gap` pixels between their ink; also return the glyph's left edge."""
    free = row.shape[1] - 1 - _find_last_ink(row)  # in each line of pixels, after the last ink
    ahead = glyph.shape[1] - 1 - _find_last_ink(glyph[:, ::-1])
    near = max(2, round(0.05 * len(row)))  # lines of pixels above and below count, too
    free, ahead = (cv2.erode(side.astype(np.float32), np.ones((2 * near + 1, 1))) for side in (free, ahead))
    shift = int((free + ahead).min()) - gap if row.any() else 0
    shift = min(shift, row.shape[1], glyph.shape[1])
    width = row.shape[1] + glyph.shape[1] - shift
    joined = np.pad(row, ((0, 0), (0, max(0, width - row.shape[1]))))
    start = row.shape[1] - shift
    place = joined[:, start : start + glyph.shape[1]]
    np.maximum(place, glyph, out=place)
    return joined, start


def _find_last_ink(ink: Ink) -> NDArray[np.float32]:
    """Return the column of the last ink in each line of pixels, (height, 1); -10000 in lines without ink."""
    dark = ink > MIN_TOUCHING_INK
    last = ink.shape[1] - 1 - dark[:, ::-1].argmax(axis=1)
    return np.where(dark.any(axis=1), last, -1e4).astype(np.float32)[:, None]


def _draw_mark(room: int, style: Style, rng: np.random.Generator) -> Ink:
    height = style.height
    width, gap = round(0.4 * height), round(0.18 * height)
    pen = max(2, round(0.1 * height))
    mark = np.zeros((room, width + 2 * gap), np.float32)
    base = room - round(0.16 * height)
    kind = rng.integers(3)
    if kind == 0:
        cv2.line(mark, (gap, base - height // 2), (gap + width, base - height // 2), 1.0, pen)
    elif kind == 1:
        cv2.line(mark, (gap + pen, base - pen), (gap, base + pen), 1.0, pen)
    else:
        cv2.circle(mark, (gap + pen, base - pen // 2), max(1, pen // 2 + 1), 1.0, -1)
    return mark[:, : width + 2 * gap if kind == 0 else 2 * gap + 2 * pen]


def _write_boxes(glyphs: Sequence[Ink], style: Style, rng: np.random.Generator) -> Row:
    side = max(round(1.5 * style.height), *(max(glyph.shape) + 4 for glyph in glyphs))
    pen = max(1, round(style.height / 28))
    row = np.zeros((side + 2 * pen, side * len(glyphs) + 2 * pen), np.float32)
    boxes: list[Box] = []
    for index, glyph in enumerate(glyphs):
        free = (side - glyph.shape[1], side - len(glyph))
        x, y = (round(extent * rng.uniform(0.25, 0.75)) for extent in free)
        x += index * side + pen
        row[y : y + len(glyph), x : x + glyph.shape[1]] = glyph
        boxes.append(_find_visible_box(glyph, x, y))
        corner = (index * side + pen // 2, pen // 2)
        cv2.rectangle(row, corner, (corner[0] + side, corner[1] + side), 1.0, pen)
    return row, boxes


def _stack_lines(rows: Sequence[Row], style: Style, rng: np.random.Generator) -> Row:
    width = max(row.shape[1] for row, _ in rows)
    margin = round(style.height * rng.uniform(0.3, 1.0))
    leading = round(style.height * 0.35)
    lines, boxes, above = [], [], margin
    for row, own in rows:
        line = np.pad(row, ((0, leading), (0, width - row.shape[1])))
        if style.underline:
            y = len(row) + round(style.height * rng.uniform(-0.05, 0.15))
            cv2.line(line, (0, y), (row.shape[1], y), 1.0, max(1, round(style.height * 0.05)))
        lines.append(line)
        boxes += [(x + margin, y + above, wide, high) for x, y, wide, high in own]
        above += len(line)
    return _tilt(np.pad(np.vstack(lines), margin), boxes, style.tilt)


def _tilt(page: Ink, boxes: Sequence[Box], degrees: float) -> Row:
    """Rotate a page about its middle, and make it higher to cut nothing off; boxes keep their size."""
    turn = cv2.getRotationMatrix2D((page.shape[1] / 2, page.shape[0] / 2), degrees, 1)
    climb = abs(np.tan(np.radians(degrees))) * page.shape[1] / 2
    turn[1, 2] += climb
    turned = cv2.warpAffine(page, turn, (page.shape[1], page.shape[0] + round(2 * climb)))
    middles = [turn @ (x + width / 2, y + height / 2, 1) for x, y, width, height in boxes]
    moved: list[Box] = [
        (round(x - width / 2), round(y - height / 2), width, height)
        for (x, y), (_, _, width, height) in zip(middles, boxes, strict=True)
    ]
    return turned, moved


def _lay_on_paper(ink: Ink, style: Style, rng: np.random.Generator) -> GreyPicture:
    paper, pen = rng.uniform(190, 250), rng.uniform(20, 110)
    soft = cv2.GaussianBlur(ink, (0, 0), 0.3 + style.height / 120)
    paper_level = paper - (paper - pen) * style.texture * _draw_print(ink.shape, rng)
    scene = paper_level * (1 - soft) + pen * soft
    scene *= 1 - style.light * np.linspace(0, 1, ink.shape[1], dtype=np.float32)
    scene += rng.normal(0, 1, ink.shape) * style.noise
    grey = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
    return 255 - grey if style.light_on_dark else grey


def _draw_print(shape: tuple[int, ...], rng: np.random.Generator) -> Ink:
    """Draw a printed background, 0 to 1: waves of fine lines and words, as on cheques."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    waves = y + 4 * np.sin(x / rng.uniform(12, 30) + rng.uniform(0, 6))
    lines = np.sin(waves * 2 * np.pi / rng.uniform(4, 7)).clip(0.2, 0.6) * 2.5 - 0.5
    words = np.zeros(shape[:2], np.uint8)
    for _ in range(3):
        place = (int(rng.integers(0, shape[1])), int(rng.integers(0, shape[0])))
        cv2.putText(words, "PESOS", place, cv2.FONT_HERSHEY_DUPLEX, float(rng.uniform(0.3, 0.7)), 1, 1)
    cloud = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 12)
    cloud = (cloud - cloud.min()) / max(1e-6, float(np.ptp(cloud)))
    return np.clip(0.45 * lines + words + 0.4 * cloud, 0, 1).astype(np.float32)
