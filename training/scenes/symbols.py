"""Draws glyphs: digits from MNIST, from fonts and stroke by stroke, and negative examples.

A glyph is ink 255 on 0, cropped tightly, with a longest side of about `SIZE` pixels; `pages` scales it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.morphology import skeletonize

from app.digits.contract import CanonicalPicture
from training.data import fonts

Glyph: TypeAlias = NDArray[np.uint8]  # (height, width), ink 255 on 0
Points: TypeAlias = Sequence[tuple[float, float]]
Strokes: TypeAlias = Sequence[Points]

SIZE: Final = 128  # pixels: glyphs stay crisp in large scenes
_MARGIN: Final = SIZE // 4  # room for distortion and for bold pens
_MID_GREY: Final = 127
_MISSING_CHARACTER: Final = "\uffff"  # is in no font: fonts draw a box for characters that they lack

# Nobody takes these for a digit, in any handwriting; l, O, S, Z, b, g, q and the like are left out.
LETTERS: Final = "HKMNWXhkmnwxdefuvaRPFGEAUV#*&%@+ÄÖßñ§€£{}=ÆæΞΨΩДЖФШЮЯ"

# A digit has one or more strokes; a stroke is the knots of a smooth curve, x and y from 0 to 1, y downwards.
# These are forms that are rare in MNIST: the 1 with upstroke and foot, the crossed 7, the slashed 0, the open 4.
DRAWN_DIGITS: Final[tuple[tuple[int, Strokes], ...]] = (
    (0, [[(0.5, 0), (0.1, 0.3), (0.1, 0.7), (0.5, 1), (0.9, 0.7), (0.9, 0.3), (0.5, 0)], [(0.85, 0.1), (0.15, 0.9)]]),
    (0, [[(0.5, 0), (0.0, 0.3), (0.05, 0.75), (0.5, 1), (0.95, 0.75), (1.0, 0.3), (0.5, 0)]]),
    (0, [[(0.6, 0.03), (0.1, 0.25), (0.1, 0.75), (0.5, 1), (0.9, 0.7), (0.9, 0.25), (0.35, 0.0)]]),
    (0, [[(0.65, 0.12), (0.25, 0.03), (0.0, 0.5), (0.4, 1.0), (0.9, 0.8), (0.95, 0.3), (0.6, 0.0), (0.35, 0.15)]]),
    (1, [[(0.05, 0.38), (0.35, 0.2), (0.6, 0.0)], [(0.6, 0.0), (0.6, 0.5), (0.6, 1.0)]]),
    (1, [[(0.0, 0.55), (0.3, 0.3), (0.55, 0.0)], [(0.55, 0.0), (0.55, 0.5), (0.53, 1.0)]]),
    (1, [[(0.1, 0.75), (0.35, 0.4), (0.55, 0.0)], [(0.55, 0.0), (0.56, 0.5), (0.57, 1.0)]]),
    (1, [[(0.2, 0.2), (0.4, 0.12), (0.5, 0.0)], [(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)], [(0.15, 1.0), (0.5, 0.99), (0.9, 1.0)]]),
    (1, [[(0.1, 0.35), (0.35, 0.18), (0.55, 0.0)], [(0.55, 0.0), (0.55, 1.0)], [(0.2, 0.98), (0.9, 1.0)]]),
    (1, [[(0.0, 0.6), (0.35, 0.35), (0.65, 0.0)], [(0.65, 0.0), (0.62, 0.5), (0.6, 1.0)], [(0.1, 1.0), (0.6, 0.98), (1.0, 1.0)]]),
    (1, [[(0.05, 0.45), (0.35, 0.25), (0.5, 0.0)], [(0.5, 0.0), (0.48, 0.55), (0.5, 1.0)], [(0.0, 0.97), (0.5, 1.0), (1.0, 0.95)]]),
    (1, [[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]]),
    (1, [[(0.3, 0.16), (0.45, 0.08), (0.52, 0.0)], [(0.52, 0.0), (0.5, 0.5), (0.48, 1.0)]]),
    (2, [[(0.1, 0.25), (0.3, 0.03), (0.7, 0.03), (0.85, 0.3), (0.5, 0.65), (0.05, 1.0)], [(0.05, 1.0), (0.5, 0.97), (0.95, 1.0)]]),
    (2, [[(0.1, 0.2), (0.5, 0.0), (0.85, 0.25), (0.55, 0.65), (0.15, 0.95), (0.1, 0.8), (0.35, 0.8), (0.6, 0.97), (0.95, 0.9)]]),
    (2, [[(0.05, 0.08), (0.5, 0.03), (0.9, 0.05)], [(0.9, 0.05), (0.5, 0.5), (0.05, 0.95)], [(0.05, 0.95), (0.5, 0.97), (0.98, 0.95)]]),
    (3, [[(0.1, 0.03), (0.5, 0.02), (0.85, 0.02)], [(0.85, 0.02), (0.6, 0.22), (0.4, 0.4)], [(0.4, 0.4), (0.8, 0.5), (0.85, 0.8), (0.5, 1.0), (0.08, 0.9)]]),
    (3, [[(0.12, 0.1), (0.5, 0.0), (0.8, 0.2), (0.4, 0.46)], [(0.4, 0.46), (0.88, 0.6), (0.8, 0.92), (0.4, 1.0), (0.05, 0.88)]]),
    (4, [[(0.3, 0.0), (0.15, 0.3), (0.05, 0.6)], [(0.05, 0.6), (0.5, 0.58), (0.98, 0.57)], [(0.7, 0.05), (0.68, 0.5), (0.66, 1.0)]]),
    (4, [[(0.1, 0.02), (0.08, 0.3), (0.1, 0.55)], [(0.1, 0.55), (0.45, 0.58), (0.85, 0.5)], [(0.85, 0.0), (0.83, 0.5), (0.8, 1.0)]]),
    (4, [[(0.65, 0.0), (0.35, 0.35), (0.03, 0.7)], [(0.03, 0.7), (0.5, 0.7), (0.98, 0.7)], [(0.66, 0.0), (0.66, 0.5), (0.66, 1.0)]]),
    (4, [[(0.55, 0.0), (0.25, 0.3), (0.0, 0.62)], [(0.0, 0.62), (0.5, 0.58), (0.98, 0.52)], [(0.72, 0.3), (0.7, 0.65), (0.64, 1.0)]]),
    (4, [[(0.45, 0.0), (0.2, 0.3), (0.02, 0.65)], [(0.02, 0.65), (0.4, 0.6), (0.78, 0.5)], [(0.78, 0.5), (0.76, 0.75), (0.7, 1.0)]]),
    (4, [[(0.3, 0.0), (0.12, 0.3), (0.1, 0.55), (0.4, 0.62), (0.8, 0.35)], [(0.85, 0.1), (0.8, 0.5), (0.72, 1.0)]]),
    (5, [[(0.9, 0.02), (0.5, 0.02), (0.18, 0.03)], [(0.18, 0.03), (0.16, 0.25), (0.13, 0.45)], [(0.13, 0.45), (0.5, 0.36), (0.88, 0.6), (0.7, 0.95), (0.08, 0.95)]]),
    (5, [[(0.2, 0.12), (0.17, 0.3), (0.15, 0.48)], [(0.15, 0.48), (0.55, 0.38), (0.88, 0.65), (0.6, 1.0), (0.05, 0.9)], [(0.25, 0.02), (0.6, 0.0), (0.98, 0.02)]]),
    (6, [[(0.75, 0.0), (0.3, 0.2), (0.08, 0.6), (0.25, 0.97), (0.7, 0.97), (0.88, 0.7), (0.55, 0.5), (0.12, 0.68)]]),
    (6, [[(0.85, 0.08), (0.4, 0.02), (0.05, 0.5), (0.3, 1.0), (0.85, 0.92), (0.9, 0.58), (0.55, 0.45), (0.3, 0.62)]]),
    (6, [[(0.4, 0.0), (0.1, 0.45), (0.1, 0.85), (0.5, 1.0), (0.9, 0.8), (0.6, 0.58), (0.15, 0.75)]]),
    (7, [[(0.05, 0.03), (0.5, 0.03), (0.95, 0.02)], [(0.95, 0.02), (0.6, 0.5), (0.4, 1.0)], [(0.3, 0.5), (0.85, 0.47)]]),
    (7, [[(0.08, 0.14), (0.1, 0.03), (0.5, 0.05), (0.95, 0.0)], [(0.95, 0.0), (0.62, 0.5), (0.5, 1.0)], [(0.3, 0.53), (0.9, 0.48)]]),
    (7, [[(0.05, 0.03), (0.95, 0.03)], [(0.95, 0.03), (0.55, 0.45), (0.35, 1.0)]]),
    (7, [[(0.05, 0.2), (0.1, 0.02), (0.9, 0.03)], [(0.9, 0.03), (0.65, 0.5), (0.6, 1.0)]]),
    (7, [[(0.0, 0.05), (0.5, 0.03), (0.9, 0.03)], [(0.9, 0.03), (0.5, 0.55), (0.1, 1.0)], [(0.1, 0.55), (0.5, 0.52), (0.9, 0.5)]]),
    (7, [[(0.0, 0.2), (0.15, 0.03), (0.5, 0.08), (0.9, 0.0)], [(0.9, 0.0), (0.6, 0.5), (0.45, 1.0)], [(0.15, 0.6), (0.95, 0.45)]]),
    (8, [[(0.75, 0.12), (0.4, 0.0), (0.2, 0.2), (0.5, 0.45), (0.85, 0.72), (0.5, 1.0), (0.15, 0.75), (0.5, 0.45), (0.8, 0.2), (0.72, 0.1)]]),
    (8, [[(0.5, 0.0), (0.2, 0.15), (0.25, 0.4), (0.5, 0.46), (0.75, 0.4), (0.8, 0.15), (0.5, 0.0)], [(0.5, 0.46), (0.1, 0.65), (0.2, 0.95), (0.5, 1.0), (0.8, 0.95), (0.9, 0.65), (0.5, 0.46)]]),
    (9, [[(0.85, 0.2), (0.5, 0.0), (0.12, 0.2), (0.3, 0.48), (0.65, 0.45), (0.85, 0.2)], [(0.85, 0.2), (0.85, 0.6), (0.8, 1.0)]]),
    (9, [[(0.85, 0.2), (0.45, 0.0), (0.12, 0.25), (0.4, 0.5), (0.85, 0.25)], [(0.85, 0.25), (0.9, 0.7), (0.6, 1.0), (0.15, 0.92)]]),
    (9, [[(0.8, 0.12), (0.4, 0.0), (0.1, 0.22), (0.4, 0.45), (0.8, 0.2)], [(0.8, 0.12), (0.88, 0.6), (0.65, 0.97), (0.25, 1.0), (0.0, 0.85)]]),
    (9, [[(0.75, 0.15), (0.4, 0.0), (0.15, 0.2), (0.4, 0.42), (0.75, 0.15)], [(0.75, 0.15), (0.85, 0.55), (0.75, 0.9), (0.35, 1.0), (0.0, 0.98)]]),
    (9, [[(0.6, 0.35), (0.25, 0.45), (0.1, 0.2), (0.5, 0.0), (0.85, 0.15)], [(0.85, 0.15), (0.75, 0.6), (0.55, 1.0)]]),
)  # fmt: skip


def enlarge_mnist(picture: CanonicalPicture) -> Glyph:
    """Enlarge an MNIST digit, and sharpen its grey edge."""
    ink, times = _crop_tightly(picture), SIZE / 20
    large = cv2.resize(ink, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return _crop_tightly(_sharpen(cv2.GaussianBlur(_pad(large), (0, 0), 2.5)))


def typeset(character: str, name: str, *, subset: str = "latin") -> Glyph:
    """Draw a character of a font; return an empty glyph if the font lacks it."""
    font = _load_font(name, subset)
    glyph = _render_text(character, font)
    if not glyph.size or np.array_equal(glyph, _render_text(_MISSING_CHARACTER, font)):
        return np.zeros((0, 0), np.uint8)
    scale = SIZE / max(glyph.shape)
    return cv2.resize(glyph, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def draw_digit(rng: np.random.Generator) -> tuple[Glyph, int]:
    """Draw a digit stroke by stroke, in one of the forms that are rare in MNIST."""
    digit, strokes = DRAWN_DIGITS[rng.integers(len(DRAWN_DIGITS))]
    return draw_strokes(strokes, rng=rng, unsteady=0.03), digit


def typeset_digit(rng: np.random.Generator) -> tuple[Glyph, int]:
    """Draw a digit of a font, mostly of handwriting, sometimes of print."""
    digit = int(rng.integers(10))
    name = str(rng.choice(fonts.HANDWRITING if rng.random() < 0.9 else fonts.PRINT))
    return typeset(str(digit), name), digit


def draw_negative(rng: np.random.Generator) -> Glyph:
    """Draw a negative example: a letter, a foreign or invented character, a doodle or a word."""
    kinds = (draw_letter, draw_foreign, draw_invented, draw_doodle, draw_word)
    glyph = kinds[rng.choice(len(kinds), p=(0.27, 0.24, 0.22, 0.2, 0.07))](rng)
    return glyph if glyph.size else draw_negative(rng)


def draw_letter(rng: np.random.Generator) -> Glyph:
    """Draw a letter or sign that nobody takes for a digit."""
    return typeset(str(rng.choice(list(LETTERS))), str(rng.choice(fonts.HANDWRITING)))


def draw_word(rng: np.random.Generator) -> Glyph:
    """Draw a few joined letters."""
    letters = "".join(rng.choice(list("abcdefghklmnorstuvwxyz"), rng.integers(2, 6)))
    return typeset(letters, str(rng.choice(fonts.HANDWRITING)))


def draw_foreign(rng: np.random.Generator) -> Glyph:
    """Draw a character of another script."""
    script = str(rng.choice(list(fonts.SCRIPTS)))
    first, last = fonts.SCRIPTS[script]
    return typeset(chr(rng.integers(first, last + 1)), f"noto-sans-{script}", subset=script)


def draw_invented(rng: np.random.Generator) -> Glyph:
    """Draw an invented character: four to seven plain strokes, most of which begin on an earlier one.

    With fewer strokes, many would look like somebody's 1, 4 or 7.
    """
    strokes: list[Points] = []
    for _ in range(rng.integers(4, 8)):
        start = rng.uniform(0, 1, 2)
        if strokes and rng.random() < 0.7:
            earlier = np.array(strokes[rng.integers(len(strokes))])
            start = earlier[rng.integers(len(earlier))]
        strokes.append(_PLAIN_STROKES[rng.integers(len(_PLAIN_STROKES))](start, rng))
    points = np.concatenate(strokes)
    corner, extent = points.min(axis=0), np.ptp(points, axis=0)
    if extent.min() < extent.max() / 3:
        return draw_invented(rng)  # strokes on top of each other look like a bar, which could be a 1
    fitted = [((np.array(stroke) - corner) / extent.max()).tolist() for stroke in strokes]
    return draw_strokes(fitted, rng=rng, unsteady=0.015)


def draw_doodle(rng: np.random.Generator) -> Glyph:
    """Draw a doodle: one to three of loops, stars, hatching, polygons and spirals."""
    kinds = (_draw_wander, _draw_star, _draw_hatching, _draw_polygon, _draw_spiral)
    strokes = [stroke for _ in range(rng.integers(1, 4)) for stroke in kinds[rng.integers(len(kinds))](rng)]
    if len(strokes) == 1 and len(strokes[0]) < 8:  # a single arc or bar looks like a digit
        strokes = [*strokes, *_draw_wander(rng), *_draw_wander(rng)]
    return draw_strokes(strokes, rng=rng, unsteady=0.02)


def draw_strokes(strokes: Strokes, *, rng: np.random.Generator, unsteady: float) -> Glyph:
    """Draw strokes with a random pen; every knot is displaced by an `unsteady` hand."""
    aspect = rng.uniform(0.45, 0.85)
    slant = rng.normal(0, 0.12)
    canvas = np.zeros((SIZE + 2 * _MARGIN, 2 * SIZE + 2 * _MARGIN), np.uint8)
    pen = round(np.exp(rng.uniform(0.7, 2.8)))
    offset = rng.normal(0, unsteady, 2)
    for stroke in strokes:
        knots = np.array(stroke, float) + rng.normal(0, unsteady, (len(stroke), 2)) + offset
        knots[:, 0] = aspect * knots[:, 0] + slant * (0.5 - knots[:, 1])
        points = (_interpolate_spline(knots) * SIZE + (SIZE // 2, _MARGIN)) * 16
        path = [np.rint(points).astype(np.int32)]
        cv2.polylines(canvas, path, False, 255, pen, cv2.LINE_AA, 4)  # noqa: FBT003  OpenCV's isClosed
    return _crop_tightly(canvas)


def distort(glyph: Glyph, *, rng: np.random.Generator) -> Glyph:
    """Rotate, slant, stretch and bend a glyph at random, as handwriting varies."""
    roomy = _pad(glyph)
    height, width = roomy.shape
    angle, shear = np.radians(rng.normal(0, 6)), rng.normal(0, 0.12)
    wide, high = np.exp(rng.normal(0, 0.12, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos * wide, (cos * shear - sin) * high], [sin * wide, (sin * shear + cos) * high]])
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre = np.array([width / 2, height / 2])
    points = (np.stack([x, y], axis=-1) - centre) @ np.linalg.inv(linear).T + centre
    mesh = rng.normal(0, 0.022 * SIZE, (4, 4, 2)).astype(np.float32)
    points += cv2.resize(mesh, (width, height), interpolation=cv2.INTER_CUBIC)
    return _crop_tightly(cv2.remap(roomy, points.astype(np.float32), None, cv2.INTER_LINEAR))


def redraw_with_pen(glyph: Glyph, pen: int) -> Glyph:
    """Redraw a glyph along its skeleton with a round pen, `pen` pixels wide."""
    skeleton = skeletonize(glyph > _MID_GREY).astype(np.uint8) * 255  # type: ignore[no-untyped-call]
    rim = pen // 2 + 1
    roomy = cv2.copyMakeBorder(skeleton, rim, rim, rim, rim, cv2.BORDER_CONSTANT)
    tip = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pen, pen))
    return _crop_tightly(cv2.dilate(roomy, tip) if pen > 1 else roomy)


@cache
def _load_font(name: str, subset: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(fonts.find_file(name, subset=subset), SIZE)


def _render_text(text: str, font: ImageFont.FreeTypeFont) -> Glyph:
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    picture = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), text, font=font, fill=255)
    return _crop_tightly(np.array(picture))


def _draw_line(start: NDArray[np.float64], rng: np.random.Generator) -> Points:
    """Draw a line, mostly upright or level, with a knot in the middle on which another stroke can begin."""
    angle = rng.choice((0, 0.5, 1, 1.5)) * np.pi + rng.normal(0, 0.15)
    if rng.random() < 0.35:
        angle = rng.uniform(0, 2 * np.pi)
    run = rng.uniform(0.25, 1.0) * np.array([np.cos(angle), np.sin(angle)])
    return [tuple(start + share * run) for share in (0, 0.5, 1)]


def _draw_bow(start: NDArray[np.float64], rng: np.random.Generator) -> Points:
    """Draw an arc of an ellipse, or the whole ellipse."""
    begin, turn = rng.uniform(0, 2 * np.pi), rng.choice((0.5, 1, 1.5, 2)) * np.pi * rng.choice((-1, 1))
    angles = begin + np.linspace(0, turn, 7)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * rng.uniform(0.12, 0.4, 2)
    return [tuple(point) for point in start + around - around[0]]


def _draw_hook(start: NDArray[np.float64], rng: np.random.Generator) -> Points:
    """Draw two lines that meet in a corner, which a repeated knot keeps sharp."""
    first = _draw_line(start, rng)
    second = _draw_line(np.array(first[-1]), rng)
    return [*first, first[-1], *second]


_PLAIN_STROKES: Final = (_draw_line, _draw_line, _draw_bow, _draw_hook)


def _draw_wander(rng: np.random.Generator) -> Strokes:
    count = int(rng.integers(3, 9))
    return [np.clip(np.cumsum(rng.normal(0, 0.35, (count, 2)), axis=0) + 0.5, -0.1, 1.1).tolist()]


def _draw_star(rng: np.random.Generator) -> Strokes:
    arms = int(rng.integers(3, 7))
    angles = np.pi * (np.arange(arms) / arms + rng.uniform(0, 1))
    tips = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * rng.uniform(0.3, 0.6)
    middle = rng.uniform(0.3, 0.7, 2)
    return [[tuple(middle - tip), tuple(middle + tip)] for tip in tips]


def _draw_hatching(rng: np.random.Generator) -> Strokes:
    lines = int(rng.integers(3, 8))
    across = np.linspace(0, 1, lines)
    lean = rng.uniform(-0.5, 0.5)
    strokes = [[(x, 0.0), (x + lean, 1.0)] for x in across]
    return [[(y, x) for x, y in stroke] for stroke in strokes] if rng.random() < 0.5 else strokes


def _draw_polygon(rng: np.random.Generator) -> Strokes:
    corners = int(rng.integers(3, 7))
    angles = 2 * np.pi * (np.arange(corners + 1) / corners) + rng.uniform(0, 6)
    radius = rng.uniform(0.3, 0.5)
    points = np.stack([0.5 + radius * np.cos(angles), 0.5 + radius * np.sin(angles)], axis=-1)
    sides = [[tuple(start), tuple(end)] for start, end in pairwise(points)]
    return [*sides, [tuple(points[0]), tuple(points[corners // 2])]]


def _draw_spiral(rng: np.random.Generator) -> Strokes:
    turns = rng.uniform(2, 4)
    along = np.linspace(0, 1, 32)
    angles = 2 * np.pi * turns * along * rng.choice([-1, 1]) + rng.uniform(0, 6)
    return [np.stack([0.5 + along * np.cos(angles) / 2, 0.5 + along * np.sin(angles) / 2], axis=-1).tolist()]


def _interpolate_spline(knots: NDArray[np.float64], *, steps: int = 10) -> NDArray[np.float64]:
    """Return points on a Catmull-Rom spline through the knots."""
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    along = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        square, cube = 2 * before - 5 * start + 4 * end - after, 3 * (start - end) + after - before
        parts.append(start + ((end - before) * along + square * along**2 + cube * along**3) / 2)
    return np.vstack([*parts, knots[-1:]])


def _sharpen(soft: Glyph) -> Glyph:
    """Narrow soft edges to about two pixels."""
    return np.clip((soft.astype(np.int16) - _MID_GREY) * 5 + _MID_GREY, 0, 255).astype(np.uint8)


def _pad(glyph: Glyph) -> Glyph:
    return cv2.copyMakeBorder(glyph, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_CONSTANT)


def _crop_tightly(glyph: Glyph) -> Glyph:
    left, top, width, height = cv2.boundingRect(glyph)
    return glyph[top : top + height, left : left + width]
