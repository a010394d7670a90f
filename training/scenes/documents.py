"""Documents for the finder: notes, forms, tables, cards, screens, empty sheets, with every character's box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import GreyPicture
from training.scenes import backgrounds, texts
from training.scenes.backgrounds import Grey, Ink
from training.scenes.chance import Rng, draw_log_uniform, happens, pick, pick_weighted
from training.scenes.characters import DIGIT_HEIGHT
from training.scenes.clutter import THINGS, write_words
from training.scenes.handwriting import Hand, Mark, Material, Spacing, draw_hand, write
from training.scenes.strips import Marks, draw_comb, set_beside
from training.scenes.surfaces import COVERED, Surface, draw_ellipse, draw_quadrilateral, scale_about_middle

DocumentKind: TypeAlias = Literal[
    "note", "single", "form", "grid", "table", "card", "badge", "slate", "display", "label", "screen", "cheque", "empty"
]  # fmt: skip
Compose: TypeAlias = Callable[[Surface, Hand], None]

SIDE: Final = 192  # pixels: four lines of the tallest writing that the finder is responsible for
UNIT_RANGE: Final = (12, 46)  # pixels: height of the writing, which the finder is responsible for
TABLE_UNIT_RANGE: Final = (11, 22)
SMALLEST_UNIT: Final = 8  # pixels: below, people can't read it either
MIN_SEEN: Final = 0.7  # share of a character's box: with less in the picture, a 9 may be a 0
_TEXTS: Final = (
    (0.6, texts.draw_number), (0.25, texts.draw_signed), (0.08, texts.draw_amount), (0.07, texts.draw_phone_number),
)  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A picture and its characters; class -1 where nobody could tell what it is."""

    picture: GreyPicture  # (192, 192)
    marks: Marks


def draw_document(material: Material, rng: Rng, *, kind: DocumentKind | None = None) -> Document:
    """Draw a document, with things on and beside it, and photograph it.

    It is drawn larger at times and shrunk, as cameras do with what they see from afar.
    """
    chosen = pick_weighted(rng, _KIND_SHARES) if kind is None else kind
    enlargement = pick_weighted(rng, ((0.62, 1.0), (0.28, 1.5), (0.1, 2.0)))
    size = round(SIDE * enlargement), round(SIDE * enlargement)
    unit = enlargement * draw_log_uniform(rng, *(TABLE_UNIT_RANGE if chosen == "table" else UNIT_RANGE))
    surface = Surface(_draw_ground(chosen, size, unit, rng), rng, unit=unit)
    _KINDS[chosen][1](surface, draw_hand(material, rng))
    for share, put_thing in THINGS:
        if happens(rng, share):
            put_thing(surface, material)
    picture: Grey = surface.picture
    marks = surface.list_marks()
    if happens(rng, 0.5):
        picture, marks = _tilt(picture, marks, rng)
    if happens(rng, 0.5):
        picture = picture * backgrounds.draw_light(size, rng)
    photo = backgrounds.take_picture(picture, rng, unit=unit)
    if enlargement > 1:
        photo = cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if happens(rng, 0.14):
        photo = 255 - photo
    marks[:, 1:] /= enlargement
    return Document(photo, clip_marks(marks, SIDE))


def _draw_ground(kind: DocumentKind, size: tuple[int, int], unit: float, rng: Rng) -> Grey:
    if kind in _ON_DESKS and happens(rng, 0.75):
        return backgrounds.draw_desk(size, rng)
    if kind == "cheque" or happens(rng, 0.05):
        return backgrounds.draw_cheque(size, rng)
    return backgrounds.draw_paper(size, rng, unit=unit, ruled=0.4)


def clip_marks(marks: Marks, side: int) -> Marks:
    """Drop what lies outside a square picture; of what its edge cuts, nobody can tell what it is."""
    lengths = np.maximum(marks[:, 3:5] - marks[:, 1:3], 1e-3)
    seen = np.clip(np.minimum(marks[:, 3:5], side) - np.maximum(marks[:, 1:3], 0), 0, None)
    shares = (seen / lengths).prod(axis=1)
    clipped = marks[shares > 0].copy()
    clipped[shares[shares > 0] < MIN_SEEN, 0] = COVERED
    return clipped


def _tilt(picture: Grey, marks: Marks, rng: Rng) -> tuple[Grey, Marks]:
    """Look at it askew; boxes grow by what their corners gain."""
    height, width = picture.shape
    near = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    turn = rng.normal(0, 0.05 if happens(rng, 0.85) else 0.15)
    cos, sin = np.cos(turn), np.sin(turn)
    far = (near - width / 2) @ np.array([[cos, sin], [-sin, cos]]) + width / 2
    far += rng.normal(0, 0.015, (4, 2)) * (width, height)
    warp = cv2.getPerspectiveTransform(near, far.astype(np.float32))
    seen = cv2.warpPerspective(picture, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if not len(marks):
        return seen, marks
    middles, halves = (marks[:, 1:3] + marks[:, 3:5]) / 2, (marks[:, 3:5] - marks[:, 1:3]) / 2
    moved = cv2.perspectiveTransform(middles[None], warp)[0]
    halves = halves + 0.5 * abs(np.float32(sin)) * halves[:, ::-1]
    return seen, np.concatenate([marks[:, :1], moved - halves, moved + halves], axis=1)


def _draw_text(rng: Rng) -> str:
    return pick_weighted(rng, _TEXTS)(rng)


def _draw_spacing(hand: Hand, rng: Rng) -> Spacing:
    if hand.source == "segments":
        return Spacing(gap=rng.uniform(0.1, 0.35))
    if hand.source == "print" and happens(rng, 0.45):
        return Spacing(gap=rng.uniform(0.3, 1.3))
    return Spacing(
        gap=rng.uniform(*pick_weighted(rng, ((0.25, (-0.05, 0.1)), (0.6, (0.06, 0.35)), (0.15, (0.3, 0.9))))),
        touching=rng.uniform(0.1, 0.5) if happens(rng, 0.35) else 0.0,
        joined=rng.uniform(0.1, 0.4) if happens(rng, 0.15) else 0.0,
        chained=0.15,
    )


def _darken_mean(surface: Surface, low: float, high: float) -> Ink:
    return Ink(float(surface.picture.mean()) * surface.rng.uniform(low, high))


def _compose_note(surface: Surface, hand: Hand) -> None:
    """Write one to seven lines below each other."""
    rng, unit = surface.rng, surface.unit
    x, y = rng.uniform(0.02, 0.3) * surface.width, rng.uniform(0.02, 0.35) * surface.height
    turn, ink = rng.normal(0, 0.03), surface.pick_ink() if happens(rng, 0.8) else None
    for _ in range(int(rng.choice([1, 2, 3, 4, 5, 7], p=[0.35, 0.25, 0.15, 0.1, 0.1, 0.05]))):
        text = _draw_text(rng) if happens(rng, 0.88) else texts.draw_word(rng)
        line = write(text, hand, _draw_spacing(hand, rng), rng)
        corner = x + rng.normal(0, 0.3) * unit, y
        surface.write(line, hand, corner, unit=unit * np.exp(rng.normal(0, 0.06)), turn=turn, ink=ink)
        y += unit * rng.uniform(1.2, 2.2)
        if y > surface.height - unit * 0.6:
            break
    if happens(rng, 0.15):
        _emphasise(surface)


def _compose_single(surface: Surface, hand: Hand) -> None:
    """Write a digit or two, in a box or a circle at times."""
    rng = surface.rng
    line = write(texts.draw_digits(rng, 1 if happens(rng, 0.85) else 2), hand, Spacing(gap=0.12), rng)
    x = rng.uniform(0, 0.85) * (surface.width - surface.unit)
    y = rng.uniform(0, 0.95) * (surface.height - surface.unit)
    if surface.write(line, hand, (x, y), turn=rng.normal(0, 0.03)):
        pick_weighted(rng, ((0.25, _emphasise), (0.15, _put_in_box), (0.6, _leave)))(surface)


def _find_bounds(marks: list[Mark]) -> tuple[float, float, float, float]:
    boxes = np.array(marks)[:, 1:]
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom


def _leave(_: Surface) -> None:
    """Leave it as it is, as most do."""


def _put_in_box(surface: Surface) -> None:
    rng = surface.rng
    left, top, right, bottom = _find_bounds(surface.marks)
    gap = rng.uniform(0.12, 0.8) * surface.unit
    wide, high = right - left + 2 * gap, bottom - top + 2 * gap
    if happens(rng, 0.5):
        wide = high = max(wide, high)
    box = draw_quadrilateral(((left + right) / 2, (top + bottom) / 2), (wide, high), rng)
    surface.draw(box, _darken_mean(surface, 0.15, 0.8), surface.unit * rng.uniform(0.02, 0.07), closed=True)


def _emphasise(surface: Surface) -> None:
    """Underline the last line, once or twice, or circle it."""
    if surface.last_line:
        (_underline if happens(surface.rng, 0.5) else _encircle)(surface)


def _underline(surface: Surface) -> None:
    rng, unit = surface.rng, surface.unit
    left, _, right, bottom = _find_bounds(surface.last_line)
    ink = surface.pick_ink()
    for number in range(pick(rng, (1, 1, 2))):
        y = bottom + unit * (rng.uniform(0.08, 0.4) + 0.15 * number)
        ends = [
            (left - rng.uniform(-0.1, 0.4) * unit, y),
            (right + rng.uniform(-0.1, 0.4) * unit, y + rng.normal(0, 0.05) * unit),
        ]
        surface.draw(np.array(ends), ink, unit * rng.uniform(0.03, 0.12))


def _encircle(surface: Surface) -> None:
    rng, unit = surface.rng, surface.unit
    left, top, right, bottom = _find_bounds(surface.last_line)
    across = (right - left) * 0.65 + rng.uniform(0.1, 0.5) * unit
    down = (bottom - top) * 0.675 + rng.uniform(0.1, 0.5) * unit
    if happens(rng, 0.4):
        across = down = max(across, down)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    start, turns = rng.uniform(0, 2 * np.pi), rng.uniform(0.95, 1.08)
    ring = draw_ellipse((0, 0), (across, down), count=50, start=start, turns=turns)
    ring *= np.linspace(1, rng.uniform(0.93, 1.07), 50)[:, None]  # the ends of a drawn circle miss each other
    surface.draw(ring + middle, surface.pick_ink(), unit * rng.uniform(0.03, 0.1))


def _compose_form(surface: Surface, hand: Hand) -> None:
    """Fill cells of a form, one digit each."""
    rng = surface.rng
    for _ in range(pick(rng, (1, 1, 2, 3))):
        spacing = Spacing(pitch=rng.uniform(1.0, 1.8))
        line = write(texts.draw_digits(rng, int(rng.integers(1, 9))), hand, spacing, rng)
        ink = surface.pick_ink()
        corner = rng.uniform(0.03, 0.4) * surface.width, rng.uniform(0.08, 0.8) * surface.height
        if surface.write(line, hand, corner, ink=ink):
            marks = np.array(surface.last_line, np.float32)
            surface.picture = draw_comb(surface.picture, marks, rng, tone=ink.tone)
            surface.occupy(marks[:, 1:].reshape(-1, 2), rim=surface.unit)


def _compose_grid(surface: Surface, hand: Hand) -> None:
    """Draw a grid of cells, most of them with a digit, as of a sudoku."""
    rng = surface.rng
    rows, columns = (3, 3) if happens(rng, 0.4) else (int(rng.integers(2, 10)), int(rng.integers(2, 10)))
    cell = min(
        surface.unit * rng.uniform(1.25, 2.4), 0.94 * surface.width / columns, 0.94 * surface.height / rows
    )
    unit = min(surface.unit, cell * 0.8)
    left = rng.uniform(0.02, 0.98) * (surface.width - columns * cell)
    top = rng.uniform(0.02, 0.98) * (surface.height - rows * cell)
    _draw_grid(surface, (left, top), (rows, columns), cell, thickness=unit * rng.uniform(0.02, 0.07))
    share, ink = rng.uniform(0.3, 1.0), surface.pick_ink() if happens(rng, 0.7) else None
    longest = 2 if happens(rng, 0.25) else 1
    for row, column in np.argwhere(rng.random((rows, columns)) < share):
        line = write(texts.draw_digits(rng, int(rng.integers(1, longest + 1))), hand, Spacing(gap=0.1), rng)
        if line is None:
            continue
        own = unit * np.exp(rng.normal(0, 0.08)) * (0.75 if len(line.marks) > 1 else 1)
        size = np.array(line.ink.shape[::-1]) * own / DIGIT_HEIGHT
        middle = (
            np.array([left + (column + 0.5) * cell, top + (row + 0.5) * cell])
            + rng.normal(0, 0.055, 2) * cell
        )
        x, y = middle - size / 2
        surface.write(line, hand, (x, y), unit=own, ink=ink, over=True)


def _draw_grid(
    surface: Surface, corner: tuple[float, float], shape: tuple[int, int], cell: float, *, thickness: float
) -> None:
    (left, top), (rows, columns) = corner, shape
    right, bottom = left + columns * cell, top + rows * cell
    ink, is_sudoku = _darken_mean(surface, 0.1, 0.75), rows == columns == 9
    cover = np.zeros(surface.picture.shape, np.uint8)
    for count, ends in (
        (rows, [(left, top + at * cell, right, top + at * cell) for at in range(rows + 1)]),
        (columns, [(left + at * cell, top, left + at * cell, bottom) for at in range(columns + 1)]),
    ):
        for at, line in zip(range(count + 1), ends, strict=True):
            is_bold = is_sudoku and at % 3 == 0
            backgrounds.draw_lines(cover, [line], max(1, round(thickness)) * (2 if is_bold else 1))
    surface.picture = backgrounds.blend(surface.picture, cover, ink.tone)


def _compose_table(surface: Surface, hand: Hand) -> None:
    """Write rows of a word and some numbers, ruled or not."""
    rng, unit = surface.rng, surface.unit
    step, y = unit * rng.uniform(1.4, 2.4), rng.uniform(0.02, 0.15) * surface.height
    columns = np.cumsum([0.04, *rng.uniform(0.2, 0.4, 3)]) * surface.width
    words, ink = draw_hand(hand.material, rng, source="print"), _darken_mean(surface, 0.2, 0.8)
    top, is_ruled, right = y, happens(rng, 0.6), min(columns[-1], surface.width * 0.98)
    for _ in range(rng.integers(3, 9)):
        if y + step > surface.height:
            break
        _fill_row(surface, hand, words, columns[:-1], y + step * 0.15)
        if is_ruled:
            surface.draw(np.array([(columns[0], y), (right, y)]), ink, unit * 0.03)
        y += step
    if is_ruled and happens(rng, 0.7):
        for x in columns:
            surface.draw(np.array([(x, top), (x, y)]), ink, unit * 0.03)


def _fill_row(surface: Surface, hand: Hand, words: Hand, columns: NDArray[np.float64], y: float) -> None:
    rng, unit = surface.rng, surface.unit
    for number, x in enumerate(columns.tolist()):
        if happens(rng, 0.15):
            continue
        is_word = number == 0 and happens(rng, 0.7)
        own = words if is_word else hand
        line = write((texts.draw_word if is_word else _draw_text)(rng), own, _draw_spacing(own, rng), rng)
        if line and line.ink.shape[1] * unit / DIGIT_HEIGHT < surface.width * 0.45:
            surface.write(line, own, (x + unit * 0.3, y), unit=unit * (0.8 if is_word else 1))


def _write_inside(
    surface: Surface, hand: Hand, corners: NDArray[np.float32], *, text: str | None = None, share: float = 0.8
) -> None:
    """Write a number in the middle of a quadrilateral, as large as fits into a share of it."""
    rng = surface.rng
    text = text or (texts.draw_number if happens(rng, 0.8) else texts.draw_signed)(rng)
    line = write(text, hand, _draw_spacing(hand, rng), rng)
    if line is None:
        return
    size = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    ink_size = np.array(line.ink.shape[::-1]) / DIGIT_HEIGHT
    unit = min(surface.unit, float((share * np.array(size) / ink_size).min()))
    if unit < SMALLEST_UNIT:
        return
    across, down = corners[1] - corners[0]
    x, y = corners.mean(axis=0) - ink_size * unit / 2
    box = np.array([(x, y), (x, y) + ink_size * unit])
    ink = surface.pick_ink(surface.clip_box(box))
    surface.write(
        line, hand, (float(x), float(y)), unit=unit, turn=-np.arctan2(down, across), ink=ink, over=True
    )


def _lay_sheet(surface: Surface, outline: NDArray[np.floating], tone: float) -> None:
    """Lay a piece of paper or plastic, with its shadow and a little texture."""
    rng, size = surface.rng, surface.picture.shape
    if happens(rng, 0.6):
        offset = rng.uniform(1, 0.15 * surface.unit + 2, 2)
        shadow = surface.draw(outline + offset, Ink(0, 0), 1, filled=True)
        soft = cv2.GaussianBlur(shadow, (0, 0), max(1.0, 0.08 * surface.unit)).astype(np.float32) / 255
        surface.picture *= 1 - np.float32(rng.uniform(0.2, 0.6)) * soft
    cover = surface.draw(outline, Ink(tone), 1, filled=True)
    if happens(rng, 0.5):
        grain = backgrounds.draw_cloud((size[0], size[1]), rng, grain=rng.uniform(1.5, 30)) * rng.uniform(
            0, 4
        )
        surface.picture += (cover > 0) * grain
    surface.occupy(outline)


def _draw_outline(
    surface: Surface, wide: tuple[float, float], high: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a quadrilateral near the middle, so many heights of the writing wide and high."""
    rng, unit = surface.rng, surface.unit
    size = (
        min(surface.width * 0.92, unit * rng.uniform(*wide)),
        min(surface.height * 0.9, unit * rng.uniform(*high)),
    )
    middle = rng.uniform(0.35, 0.65, 2) * (surface.width, surface.height)
    return draw_quadrilateral(middle, size, rng, turn=rng.normal(0, 0.06))


def _compose_card(surface: Surface, hand: Hand) -> None:
    """Lay a card or a sticky note on the desk."""
    rng = surface.rng
    for _ in range(pick(rng, (1, 1, 1, 2))):
        outline = _draw_outline(surface, (1.6, 7), (1.5, 3.5))
        if surface.is_occupied(surface.clip_box(outline)):
            continue
        _lay_sheet(surface, outline, rng.uniform(140, 255) if happens(rng, 0.8) else rng.uniform(20, 110))
        is_narrow = np.ptp(outline[:, 0]) < 3 * surface.unit
        _write_inside(
            surface,
            hand,
            outline,
            text=texts.draw_digits(rng, 1) if is_narrow and happens(rng, 0.7) else None,
        )


def _compose_badge(surface: Surface, hand: Hand) -> None:
    """Lay a round badge, a bottle's cap or a ball with a digit or two."""
    rng = surface.rng
    middle, radius = rng.uniform(0.3, 0.7, 2) * surface.width, surface.unit * rng.uniform(0.85, 1.6)
    outline = draw_ellipse((0, 0), (radius, radius))
    if happens(rng, 0.2):
        outline *= (1 + rng.uniform(0.02, 0.07) * np.sign(np.sin(np.linspace(0, 24 * np.pi, 60))))[:, None]
    _lay_sheet(surface, outline + middle, rng.uniform(50, 240))
    if happens(rng, 0.4):
        _round_ball(surface, middle, radius)
    text = texts.draw_digits(rng, pick(rng, (1, 1, 2)))
    corners = draw_quadrilateral(middle, (radius * 1.6, radius * 1.6), rng, turn=rng.normal(0, 0.05))
    _write_inside(surface, hand, corners, text=text, share=0.85)


def _round_ball(surface: Surface, middle: NDArray[np.float64], radius: float) -> None:
    """Light a disc as a ball, from the top left."""
    rows, columns = backgrounds.list_pixels((surface.height, surface.width))
    x, y = (np.float32(value) for value in middle)
    lit = (columns - x + radius * 0.3) ** 2 + (rows - y + radius * 0.3) ** 2
    inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    surface.picture += inside * np.clip(1 - lit / (1.6 * radius) ** 2, -0.3, 1) * surface.rng.uniform(10, 50)


def _compose_slate(surface: Surface, hand: Hand) -> None:
    """Write on something dark: a slate, a board, a black card."""
    rng = surface.rng
    outline = _draw_outline(surface, (3, 8), (1.6, 4))
    if happens(rng, 0.7):
        frame = rng.uniform(1.04, 1.15)
        _lay_sheet(surface, scale_about_middle(outline, frame, frame), rng.uniform(60, 220))
    _lay_sheet(surface, outline, rng.uniform(10, 80))
    _write_inside(surface, hand, outline)


def _compose_display(surface: Surface, hand: Hand) -> None:
    """Show digits of seven segments, dark on light or glowing."""
    rng = surface.rng
    outline = _draw_outline(surface, (2.5, 7), (1.3, 2.2))
    if happens(rng, 0.7):
        case = scale_about_middle(outline, rng.uniform(1.05, 1.2), rng.uniform(1.1, 1.5))
        _lay_sheet(surface, case, rng.uniform(10, 90))
    _lay_sheet(surface, outline, rng.uniform(90, 190) if happens(rng, 0.65) else rng.uniform(5, 40))
    segments = draw_hand(hand.material, rng, source="segments")
    _write_inside(
        surface, segments, outline, text=texts.draw_digits(rng, int(rng.integers(1, 7))), share=0.88
    )


def _compose_label(surface: Surface, hand: Hand) -> None:
    """Write a number behind or below a word."""
    rng, unit = surface.rng, surface.unit
    label_hand = draw_hand(hand.material, rng, source="print" if happens(rng, 0.75) else None)
    label = write(texts.draw_word(rng), label_hand, _draw_spacing(label_hand, rng), rng)
    line = write(_draw_text(rng), hand, _draw_spacing(hand, rng), rng)
    x, y = rng.uniform(0.03, 0.2) * surface.width, rng.uniform(0.05, 0.7) * surface.height
    if label and line and happens(rng, 0.6):
        surface.write(set_beside(label, line, rng), hand, (x, y), turn=rng.normal(0, 0.03))
    else:
        corner = x + rng.uniform(0, 0.3) * surface.width, y
        surface.write(label, label_hand, corner, unit=unit * rng.uniform(0.35, 0.9))
        below = x + rng.uniform(0, 0.2) * surface.width, y + unit * rng.uniform(0.7, 1.4)
        surface.write(line, hand, below)


def _compose_screen(surface: Surface, hand: Hand) -> None:
    """Show an application in which digits are drawn: a canvas, buttons, a title."""
    rng, unit = surface.rng, surface.unit
    surface.picture[:] = rng.uniform(225, 255) if happens(rng, 0.8) else rng.uniform(10, 60)
    is_light = surface.picture[0, 0] > 128
    middle, size = (
        (surface.width * 0.5, surface.height * 0.45),
        (unit * rng.uniform(1.6, 4), unit * rng.uniform(1.6, 3)),
    )
    canvas = draw_quadrilateral(middle, size, rng)
    _lay_sheet(
        surface, canvas, rng.uniform(0, 60) if is_light or happens(rng, 0.5) else rng.uniform(200, 255)
    )
    _write_inside(surface, hand, canvas, text=texts.draw_digits(rng, pick(rng, (1, 1, 2, 3))))
    for _ in range(2):
        at = surface.width * rng.uniform(0.2, 0.8), surface.height * rng.uniform(0.75, 0.92)
        button = draw_quadrilateral(at, (surface.width * 0.25, surface.height * 0.08), rng)
        surface.draw(button, Ink(rng.uniform(60, 220)), 1, filled=True)
        surface.occupy(button)
    print_hand = draw_hand(hand.material, rng, source="print")
    title = write(texts.draw_word(rng), print_hand, Spacing(gap=0.1), rng)
    surface.write(
        title, print_hand, (surface.width * 0.05, surface.height * 0.04), unit=max(10.0, unit * 0.4)
    )


def _compose_cheque(surface: Surface, hand: Hand) -> None:
    """Write an amount on a printed ground, between printed lines and words."""
    rng, unit = surface.rng, surface.unit
    hand = draw_hand(hand.material, rng, source="strokes") if happens(rng, 0.8) else hand
    line = write(texts.draw_amount(rng), hand, _draw_spacing(hand, rng), rng)
    corner = rng.uniform(-0.02, 0.2) * surface.width, rng.uniform(0.1, 0.6) * surface.height
    if surface.write(line, hand, corner, turn=rng.normal(0, 0.03)) and happens(rng, 0.6):
        _, top, _, bottom = _find_bounds(surface.marks)
        ink = _darken_mean(surface, 0.2, 0.6)
        for y in (top - rng.uniform(-0.05, 0.3) * unit, bottom + rng.uniform(-0.05, 0.3) * unit):
            if happens(rng, 0.7):
                surface.draw(np.array([(0, y), (surface.width, y + rng.normal(0, 1))]), ink, unit * 0.04)
    printed = draw_hand(hand.material, rng, source="print")
    for _ in range(rng.integers(0, 3)):
        word = write(texts.draw_word(rng), printed, Spacing(gap=0.1), rng)
        at = rng.uniform(0, 0.7) * surface.width, rng.uniform(0, 0.9) * surface.height
        surface.write(word, printed, at, unit=unit * rng.uniform(0.35, 0.8))


def _compose_empty(surface: Surface, hand: Hand) -> None:
    """Leave it without a number: words and things at most, so that the finder learns silence."""
    rng = surface.rng
    if happens(rng, 0.6):
        write_words(surface, hand.material)
    for _, put_thing in THINGS:
        if happens(rng, 0.3):
            put_thing(surface, hand.material)


_ON_DESKS: Final = ("card", "badge", "slate", "display", "screen")
# With how often each is drawn.
_KINDS: Final[dict[DocumentKind, tuple[float, Compose]]] = {
    "note": (0.18, _compose_note),
    "single": (0.12, _compose_single),
    "form": (0.09, _compose_form),
    "grid": (0.08, _compose_grid),
    "table": (0.07, _compose_table),
    "card": (0.1, _compose_card),
    "badge": (0.05, _compose_badge),
    "slate": (0.05, _compose_slate),
    "display": (0.05, _compose_display),
    "label": (0.12, _compose_label),
    "screen": (0.02, _compose_screen),
    "cheque": (0.06, _compose_cheque),
    "empty": (0.07, _compose_empty),
}
_KIND_SHARES: Final = tuple((share, kind) for kind, (share, _) in _KINDS.items())
