"""Strips for the line reader: one line, 32 pixels high, as it is cut out of a cheque, a form or a note."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import CHARACTERS, OTHER_WRITING, READER_STRIDE, STRIP_HEIGHT, GreyPicture
from training.scenes import backgrounds, texts
from training.scenes.backgrounds import Grey, darken, draw_lines
from training.scenes.chance import Rng, draw_log_uniform, happens, pick, pick_weighted
from training.scenes.characters import DIGIT_HEIGHT, lay
from training.scenes.handwriting import (
    DIGIT_COUNT,
    Hand,
    Mark,
    Material,
    Source,
    Spacing,
    WrittenLine,
    draw_hand,
    write,
)

StripKind: TypeAlias = Literal["cheque", "comb", "note", "labelled", "word", "empty"]
Marks: TypeAlias = NDArray[np.float32]  # (characters, 5): class, left, top, right, bottom, in pixels
Affine: TypeAlias = NDArray[np.float32]  # (2, 3)

WIDTH_STEP: Final = 16  # pixels: strips of one width make a batch
MAX_WIDTH: Final = 512  # pixels: some thirty digits
SIGN_OF_OTHERS: Final = CHARACTERS[OTHER_WRITING]

_KIND_SHARES: Final[tuple[tuple[float, StripKind], ...]] = (
    (0.42, "cheque"), (0.08, "comb"), (0.4, "note"), (0.05, "labelled"), (0.03, "word"), (0.02, "empty"),
)  # fmt: skip
_CHEQUE_SOURCES: Final[tuple[tuple[float, Source], ...]] = (
    (0.74, "strokes"), (0.09, "mixed"), (0.12, "mnist"), (0.05, "font"),
)  # fmt: skip
_NOTE_TEXTS: Final = ((0.6, texts.draw_number), (0.33, texts.draw_signed), (0.07, texts.draw_phone_number))


@dataclass(frozen=True)
class Strip:
    """A strip, and what is written on it."""

    picture: GreyPicture  # (32, width)
    marks: Marks
    text: str  # of `CHARACTERS`, from left to right; neighbours that are other writing count once


def draw_strip(
    material: Material, rng: Rng, *, kind: StripKind | None = None, text: str | None = None
) -> Strip:
    """Draw a strip; of a kind or with a text, if these are given."""
    while True:
        chosen = pick_weighted(rng, _KIND_SHARES) if kind is None else kind
        strip = _try_strip(chosen, text, material, rng)
        if strip is not None and count_frames(strip.text) <= strip.picture.shape[1] // READER_STRIDE:
            return strip


def count_frames(text: str) -> int:
    """Return how many frames CTC needs for a text: one a character, and a blank between equal neighbours."""
    return len(text) + sum(one == other for one, other in pairwise(text))


def _try_strip(kind: StripKind, text: str | None, material: Material, rng: Rng) -> Strip | None:
    """Draw a strip; None if nothing can be written, or it gets too long."""
    height = round(draw_log_uniform(rng, 34, 84)) if happens(rng, 0.85) else int(rng.integers(16, 34))
    if kind == "empty":
        return _draw_empty(height, rng)
    hand = draw_hand(material, rng, source=pick_weighted(rng, _CHEQUE_SOURCES) if kind == "cheque" else None)
    line = _write_line(kind, text, hand, rng)
    if line is None:
        return None
    placed = _place(line, height, rng)
    if placed.width > MAX_WIDTH * height / STRIP_HEIGHT:
        return None
    canvas = placed.draw_ink(line, hand, rng)
    if kind != "comb" and happens(rng, 0.2):
        _write_neighbour(canvas, placed.scale, hand, rng)
    return _lay_on_ground(kind, canvas, placed.move_marks(line), hand, rng)


def _draw_empty(height: int, rng: Rng) -> Strip:
    width = int(rng.integers(2, 12)) * WIDTH_STEP
    size = height, round(width * height / STRIP_HEIGHT)
    if happens(rng, 0.5):
        ground = backgrounds.draw_cheque(size, rng)
    else:
        ground = backgrounds.draw_paper(size, rng, ruled=0.5, unit=height * 0.7)
    return Strip(_finish(draw_frame(ground, rng), width, rng), np.zeros((0, 5), np.float32), "")


def _write_line(kind: StripKind, text: str | None, hand: Hand, rng: Rng) -> WrittenLine | None:
    spacing = _draw_spacing(kind, hand, rng)
    if text is not None:
        return write(text, hand, spacing, rng)
    if kind == "labelled":
        number = write(pick_weighted(rng, _NOTE_TEXTS)(rng), hand, spacing, rng)
        label_hand = draw_hand(hand.material, rng, source="print") if happens(rng, 0.5) else hand
        label = write(texts.draw_word(rng), label_hand, spacing, rng)
        return number and label and set_beside(label, number, rng)
    draw = {"cheque": texts.draw_amount, "comb": texts.draw_number, "word": texts.draw_word}.get(kind)
    return write((draw or pick_weighted(rng, _NOTE_TEXTS))(rng), hand, spacing, rng)


def _draw_spacing(kind: StripKind, hand: Hand, rng: Rng) -> Spacing:
    if hand.source == "segments":
        return Spacing(gap=rng.uniform(0.1, 0.35))
    if hand.source == "print" and happens(rng, 0.4):
        return Spacing(gap=rng.uniform(0.3, 1.3))
    if kind == "comb":
        return Spacing(pitch=rng.uniform(0.95, 1.9))
    return Spacing(
        gap=rng.uniform(
            *pick_weighted(rng, ((0.35, (-0.05, 0.12)), (0.5, (0.05, 0.35)), (0.15, (0.3, 0.9))))
        ),
        touching=rng.uniform(0.1, 0.6) if happens(rng, 0.45) else 0.0,
        joined=rng.uniform(0.1, 0.5) if happens(rng, 0.3) else 0.0,
        chained=0.4 if kind == "cheque" else 0.1,
    )


def set_beside(label: WrittenLine, line: WrittenLine, rng: Rng) -> WrittenLine:
    """Set a label before a line, on the same baseline; all its letters are other writing."""
    scale, gap = rng.uniform(0.45, 1.0), int(rng.uniform(0.1, 0.9) * DIGIT_HEIGHT)
    small = cv2.resize(label.ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    baseline = max(label.baseline * scale, line.baseline)
    below = max(len(small) - label.baseline * scale, len(line.ink) - line.baseline)
    x, y, label_y = (
        small.shape[1] + gap,
        int(baseline - line.baseline),
        int(baseline - label.baseline * scale),
    )
    ink = np.zeros((int(baseline + below) + 3, x + line.ink.shape[1]), np.uint8)
    lay(ink, small, 0, label_y)
    lay(ink, line.ink, x, y)
    marks = [
        Mark(
            OTHER_WRITING if mark.label < DIGIT_COUNT else mark.label,
            mark.left * scale, mark.top * scale + label_y, mark.right * scale, mark.bottom * scale + label_y,
        )
        for mark in label.marks
    ]  # fmt: skip
    marks += [Mark(one.label, one.left + x, one.top + y, one.right + x, one.bottom + y) for one in line.marks]
    return WrittenLine(ink, tuple(marks), baseline)


@dataclass(frozen=True)
class _Place:
    """Where a line comes to lie in a strip."""

    scale: float  # from the line's pixels to the strip's, before it is shrunk to 32 rows
    size: tuple[int, int]  # of the line's ink, width and height
    matrix: Affine
    width: int
    height: int

    def draw_ink(self, line: WrittenLine, hand: Hand, rng: Rng) -> Grey:
        """Return the share of each pixel that ink covers."""
        cover = cover_unevenly(line.ink, self.size, hand, rng)
        return cv2.warpAffine(cover, self.matrix, (self.width, self.height))

    def move_marks(self, line: WrittenLine) -> Marks:
        """Return the line's boxes where they lie in the strip."""
        boxes = np.array([mark[1:] for mark in line.marks], np.float32) * np.float32(self.scale)
        middles, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        moved = middles @ self.matrix[:, :2].T + self.matrix[:, 2]
        labels = np.array([mark.label for mark in line.marks], np.float32)[:, None]
        return np.concatenate([labels, moved - halves, moved + halves], axis=1)


def _place(line: WrittenLine, height: int, rng: Rng) -> _Place:
    """Let the digits take most of the height, seldom all of it or half, and turn the line a little."""
    body = [mark for mark in line.marks if mark.label < DIGIT_COUNT] or line.marks
    top, bottom = min(mark.top for mark in body), max(mark.bottom for mark in body)
    share = rng.uniform(*pick_weighted(rng, ((0.7, (0.62, 0.98)), (0.26, (0.42, 0.7)), (0.04, (0.98, 1.08)))))
    scale = height * share / max(bottom - top, 8)
    wide, high = line.ink.shape[1] * scale, line.ink.shape[0] * scale
    margins = [_draw_margin(rng) * height for _ in range(2)]
    steps = int(np.ceil((wide + sum(margins)) * STRIP_HEIGHT / height / WIDTH_STEP))
    width = round(steps * WIDTH_STEP * height / STRIP_HEIGHT)
    left = margins[0] + (width - wide - sum(margins)) * rng.random()
    down = rng.uniform(0.02, 0.98) * (height - (bottom - top) * scale) - top * scale
    turn = rng.normal(0, 0.03) if happens(rng, 0.5) else 0.0
    middle = np.array([wide / 2, (top + bottom) / 2 * scale])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    offset = np.array([left, down]) + middle - rotation @ middle
    matrix = np.column_stack([rotation, offset]).astype(np.float32)
    return _Place(scale, (max(2, round(wide)), max(2, round(high))), matrix, width, height)


def _draw_margin(rng: Rng) -> float:
    return rng.uniform(0.0, 0.5) if happens(rng, 0.8) else rng.uniform(0.3, 2.0)


def cover_unevenly(ink: GreyPicture, size: tuple[int, int], hand: Hand, rng: Rng) -> Grey:
    """Shrink ink to `size`, width and height; float32 0 to 1. Ball pens skip, pencils and chalk have grain."""
    shrinks = size[0] < ink.shape[1]
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    cover = small.astype(np.float32) / 255
    if not hand.is_typed and happens(rng, 0.22):
        grain = backgrounds.draw_cloud(cover.shape, rng, grain=rng.uniform(1.0, 3.0))
        cover *= np.clip(1 + rng.uniform(0.1, 0.5) * (grain - rng.uniform(0, 1)), 0, 1)
    return cover


def _write_neighbour(canvas: Grey, scale: float, hand: Hand, rng: Rng) -> None:
    """Let the foot of the line above be seen, or the top of the line below."""
    text = (texts.draw_number if happens(rng, 0.5) else texts.draw_word)(rng)
    other = write(text, hand, Spacing(gap=rng.uniform(-0.05, 0.35)), rng)
    if other is None:
        return
    size = [max(1, round(side * scale)) for side in other.ink.shape[::-1]]  # a lone dot would vanish
    ink = cv2.resize(other.ink, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    height, width = canvas.shape
    rows = max(1, round(rng.uniform(0.02, 0.16) * height))
    is_above = happens(rng, 0.5)
    piece = ink[-rows:] if is_above else ink[:rows]
    x = int(rng.integers(-ink.shape[1] // 2, max(width - 4, 1)))
    lay(canvas, piece, x, 0 if is_above else height - len(piece))


def _lay_on_ground(kind: StripKind, canvas: Grey, marks: Marks, hand: Hand, rng: Rng) -> Strip:
    height = canvas.shape[0]
    ground = _draw_ground(kind, canvas.shape, hand, rng)
    tone, opacity = backgrounds.draw_dark_ink(ground, rng)
    if happens(rng, 0.35 if kind == "cheque" else 0.12):
        ground = draw_frame(ground, rng, tone=tone)
    if kind == "comb":
        ground = draw_comb(ground, marks, rng, tone=tone)
    elif happens(rng, 0.08):
        ground = _underline(ground, marks, rng, tone=tone)
    if happens(rng, 0.04):
        canvas = np.maximum(canvas, _encircle(canvas.shape, marks, rng))
    scene: Grey = ground + canvas * np.float32(opacity) * (np.minimum(tone, ground) - ground)
    if happens(rng, 0.15):
        scene = _add_dirt(scene, rng)
    width = WIDTH_STEP * round(canvas.shape[1] * STRIP_HEIGHT / height / WIDTH_STEP)
    marks[:, 1:] *= STRIP_HEIGHT / height
    return Strip(_finish(scene, width, rng), marks, read_marks(marks))


def _draw_ground(kind: StripKind, size: tuple[int, ...], hand: Hand, rng: Rng) -> Grey:
    height, width = size
    if hand.source == "segments":
        glow = backgrounds.draw_cloud((height, width), rng, grain=30) * rng.uniform(0, 6)
        return np.full(size, rng.uniform(90, 230), np.float32) + glow
    if happens(rng, 0.85 if kind == "cheque" else 0.12):
        return backgrounds.draw_cheque((height, width), rng)
    return backgrounds.draw_paper((height, width), rng, ruled=0.35, unit=height * 0.75)


def read_marks(marks: Marks) -> str:
    """Return what stands in a line, from left to right; neighbours that are other writing count once."""
    order = np.argsort(marks[:, 1] + marks[:, 3], kind="stable")
    text = "".join(CHARACTERS[int(marks[row, 0])] for row in order)
    while SIGN_OF_OTHERS * 2 in text:
        text = text.replace(SIGN_OF_OTHERS * 2, SIGN_OF_OTHERS)
    return text


def draw_frame(ground: Grey, rng: Rng, *, tone: float = 40.0) -> Grey:
    """Print the borders of a field near the edges, whole or dotted."""
    height, width = ground.shape
    frame = np.zeros(ground.shape, np.uint8)
    lean, thickness = rng.normal(0, 0.006), 1 if happens(rng, 0.7) or height < 44 else int(rng.integers(1, 4))
    for is_far in (False, True):
        if happens(rng, 0.55):
            y = abs(is_far * (height - 1) - rng.uniform(-0.02, 0.12) * height)
            draw_lines(frame, [(0, y, width, y + lean * width)], thickness)
        if happens(rng, 0.15):
            x = abs(is_far * (width - 1) - rng.uniform(0, 0.1) * height)
            draw_lines(frame, [(x, 0, x, height)], thickness)
    if happens(rng, 0.15):
        frame[:, :: max(2, int(rng.integers(2, 5)))] = 0
    return darken(ground, frame, tone * rng.uniform(0.8, 2.2) + 15, opacity=rng.uniform(0.5, 1))


def draw_comb(ground: Grey, marks: Marks, rng: Rng, *, tone: float) -> Grey:
    """Draw the cells of a form about characters, with some empty ones before and after them."""
    middles, heights = (marks[:, 1] + marks[:, 3]) / 2, marks[:, 4] - marks[:, 2]
    usual = float(np.median(heights))
    pitch = float(np.median(np.diff(middles))) if len(middles) > 1 else usual * rng.uniform(1.0, 1.6)
    pitch = max(pitch, usual * 0.5)
    tall = max(usual * rng.uniform(1.1, 1.5), float(heights.max()) * 0.95)
    top = float(np.median((marks[:, 2] + marks[:, 4]) / 2)) - tall / 2
    before, after = int(rng.integers(0, 2)), int(rng.integers(0, 4))
    left = float(middles[0]) - (0.5 + before) * pitch
    cells = np.zeros(ground.shape, np.uint8)
    thickness = 1 if usual < 26 or happens(rng, 0.6) else 2
    for ends in pick(rng, _COMBS)(left, top, pitch, tall, len(marks) + before + after):
        draw_lines(cells, [ends], thickness)
    own = tone * rng.uniform(0.6, 1.0) if happens(rng, 0.4) else float(ground.mean()) * rng.uniform(0.4, 0.85)
    return darken(ground, cells, own)


Ends: TypeAlias = tuple[float, float, float, float]


def _list_cells(left: float, top: float, pitch: float, tall: float, count: int) -> list[Ends]:
    right = left + count * pitch
    posts = [(left + at * pitch, top, left + at * pitch, top + tall) for at in range(count + 1)]
    return [*posts, (left, top, right, top), (left, top + tall, right, top + tall)]


def _list_ticks(left: float, top: float, pitch: float, tall: float, count: int) -> list[Ends]:
    foot = top + tall
    posts = [(left + at * pitch, foot - tall * 0.35, left + at * pitch, foot) for at in range(count + 1)]
    return [*posts, (left, foot, left + count * pitch, foot)]


def _list_boxes(left: float, top: float, pitch: float, tall: float, count: int) -> list[Ends]:
    boxes: list[Ends] = []
    for at in range(count):
        near, far, foot = left + (at + 0.07) * pitch, left + (at + 0.93) * pitch, top + tall
        boxes += [
            (near, top, far, top),
            (far, top, far, foot),
            (far, foot, near, foot),
            (near, foot, near, top),
        ]
    return boxes


_COMBS: Final = (_list_cells, _list_cells, _list_ticks, _list_boxes)


def _underline(ground: Grey, marks: Marks, rng: Rng, *, tone: float) -> Grey:
    height = ground.shape[0]
    line = np.zeros(ground.shape, np.uint8)
    y = marks[:, 4].max() + rng.uniform(-0.03, 0.08) * height
    left, right = (
        marks[:, 1].min() - rng.uniform(0, 0.3) * height,
        marks[:, 3].max() + rng.uniform(0, 0.3) * height,
    )
    thickness = max(1, round(height * rng.uniform(0.02, 0.06)))
    draw_lines(line, [(left, y, right, y + rng.normal(0, 0.04) * height)], thickness)
    return darken(ground, line, tone)


def _encircle(size: tuple[int, ...], marks: Marks, rng: Rng) -> Grey:
    left, top = marks[:, 1:3].min(axis=0)
    right, bottom = marks[:, 3:5].max(axis=0)
    tall = float(bottom - top)
    axes = round((right - left) * 0.625 + tall * 0.2), round(tall * 0.725)
    middle = round(float(left + right) / 2), round(float(top + bottom) / 2)
    turn, start, end = rng.normal(0, 4), rng.uniform(0, 30), rng.uniform(330, 400)
    ring = np.zeros(size, np.uint8)
    thickness = max(1, round(tall * rng.uniform(0.02, 0.08)))
    cv2.ellipse(ring, middle, axes, turn, start, end, 255, thickness, cv2.LINE_AA)
    return ring.astype(np.float32) / 255


def _add_dirt(scene: Grey, rng: Rng) -> Grey:
    """Add specks, or a thin line across or down."""
    height, width = scene.shape
    dirt = np.zeros(scene.shape, np.uint8)
    kind = pick_weighted(rng, ((0.5, "specks"), (0.3, "scratch"), (0.2, "fold")))
    if kind == "specks":
        for _ in range(rng.integers(1, 12)):
            at, radius = (
                (int(rng.integers(width)), int(rng.integers(height))),
                int(rng.integers(0, height // 40 + 2)),
            )
            cv2.circle(dirt, at, radius, int(rng.integers(80, 255)), -1, cv2.LINE_AA)
    else:
        x = rng.uniform(0, width)
        ends = (x, 0.0, x + rng.normal(0, 3), float(height))
        if kind == "scratch":
            ends = (x, rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, height))
        draw_lines(dirt, [ends], 1)
        dirt = (dirt * rng.uniform(0.25, 0.8)).astype(np.uint8)
    return darken(scene, dirt, rng.uniform(20, 120))


def _finish(scene: Grey, width: int, rng: Rng) -> GreyPicture:
    """Light and photograph a strip, sometimes light on dark, seldom black and white, and shrink it."""
    height = scene.shape[0]
    if happens(rng, 0.4):
        scene = scene * backgrounds.draw_light((height, scene.shape[1]), rng)
    picture = backgrounds.take_picture(scene, rng, unit=height * 0.7)
    if happens(rng, 0.17):
        picture = 255 - picture
    if happens(rng, 0.05):
        _, picture = cv2.threshold(picture, 0, 255, cv2.THRESH_OTSU)
    way = cv2.INTER_AREA if height >= STRIP_HEIGHT else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, STRIP_HEIGHT), interpolation=way)
