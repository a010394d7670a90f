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
LETTERS: Final = "HKMNWXYhkmnwxcdefjruvyaCRPFEAUVL#*&%@+?<>ÄÖßñ§€£{}=ÆæДЖШЮЯ"
GREEK_LETTERS: Final = "ΑΓΔΕΗΚΛΜΝΞΠΣΥΧΨΩαγδεηκλμνπυχψω"
GREEK_SHARE: Final = 0.15  # of the letters
KANA: Final = "あいえおかがきけこさしすせたちなにぬねのはひふへほまみむめもやゆよれわをアウエオカキケコサシスセタチテトナニネヒヘホマミムメモヤルロワヲ"
KANA_SHARE: Final = 0.08  # of the foreign characters
# Characters of other scripts that are digits to the eye, by their code points.
LOOK_ALIKES: Final = frozenset(map(chr, (
    0x141D, 0x141F, 0x1420, 0x1424, 0x1426, 0x144A, 0x1836, 0xABD5, 0x0716, 0x0719, 0x071D, 0x0780, 0x0788, 0x0789,
    0x0799, 0x079A, 0x10901, 0x10902, 0x10906, 0x10909, 0x1090F, 0x10910, 0x10913, 0x10C0B, 0x10C0E, 0x10C17,
    0x10C2F, 0x10C3E,
)))  # fmt: skip

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
    ink, times = crop_tightly(picture), SIZE / 20
    large = cv2.resize(ink, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return crop_tightly(_sharpen(cv2.GaussianBlur(_pad(large), (0, 0), 2.5)))


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
    """Draw a negative example: a letter, a foreign or invented character, a doodle, a figure or a word."""
    kinds = (draw_letter, draw_foreign, draw_invented, draw_doodle, draw_outline, draw_word)
    glyph = kinds[rng.choice(len(kinds), p=(0.2, 0.27, 0.2, 0.13, 0.14, 0.06))](rng)
    return glyph if glyph.size else draw_negative(rng)


def draw_letter(rng: np.random.Generator) -> Glyph:
    """Draw a letter or sign that nobody takes for a digit."""
    if rng.random() < GREEK_SHARE:
        return typeset(str(rng.choice(list(GREEK_LETTERS))), str(rng.choice(fonts.GREEK)), subset="greek")
    return typeset(str(rng.choice(list(LETTERS))), str(rng.choice(fonts.HANDWRITING)))


def draw_word(rng: np.random.Generator) -> Glyph:
    """Draw a few joined letters."""
    letters = "".join(rng.choice(list("abcdefghklmnorstuvwxyz"), rng.integers(2, 6)))
    return typeset(letters, str(rng.choice(fonts.HANDWRITING)))


def draw_foreign(rng: np.random.Generator) -> Glyph:
    """Draw a character of another script; an empty glyph where its block has none, or a look-alike."""
    if rng.random() < KANA_SHARE:
        return typeset(str(rng.choice(list(KANA))), str(rng.choice(fonts.KANA)), subset="japanese")
    script = str(rng.choice(list(fonts.SCRIPTS)))
    first, last = fonts.SCRIPTS[script]
    character = chr(rng.integers(first, last + 1))
    if character in LOOK_ALIKES:
        return np.zeros((0, 0), np.uint8)
    return typeset(character, f"noto-sans-{script}", subset=script)


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


def draw_outline(rng: np.random.Generator) -> Glyph:
    """Draw a figure of few lines that people try a reader out with: a square, an arc, a star, a heart."""
    strokes = _OUTLINES[rng.integers(len(_OUTLINES))](rng)
    return draw_strokes(strokes, rng=rng, unsteady=0.02, aspects=(0.6, 1.25))


def draw_strokes(
    strokes: Strokes,
    *,
    rng: np.random.Generator,
    unsteady: float,
    aspects: tuple[float, float] = (0.45, 0.85),
) -> Glyph:
    """Draw strokes with a random pen; every knot is displaced by an `unsteady` hand."""
    aspect = rng.uniform(*aspects)
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
    return crop_tightly(canvas)


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
    return crop_tightly(cv2.remap(roomy, points.astype(np.float32), None, cv2.INTER_LINEAR))


def redraw_with_pen(glyph: Glyph, pen: int) -> Glyph:
    """Redraw a glyph along its skeleton with a round pen, `pen` pixels wide."""
    from skimage.morphology import skeletonize  # noqa: PLC0415  slow, and few commands draw

    skeleton = skeletonize(glyph > _MID_GREY).astype(np.uint8) * 255  # type: ignore[no-untyped-call]
    rim = pen // 2 + 1
    roomy = cv2.copyMakeBorder(skeleton, rim, rim, rim, rim, cv2.BORDER_CONSTANT)
    tip = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pen, pen))
    return crop_tightly(cv2.dilate(roomy, tip) if pen > 1 else roomy)


@cache
def _load_font(name: str, subset: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(fonts.find_file(name, subset=subset), SIZE)


def _render_text(text: str, font: ImageFont.FreeTypeFont) -> Glyph:
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    picture = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), text, font=font, fill=255)
    return crop_tightly(np.array(picture))


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


def _draw_corners(rng: np.random.Generator) -> Strokes:
    """Draw a triangle, a square or a pentagon, upright or turned; with more corners it would be a circle."""
    corners = int(rng.choice((3, 3, 4, 4, 4, 5)))
    turn = rng.choice((0, 0.5)) + rng.choice((0, rng.uniform(-0.5, 0.5)), p=(0.7, 0.3))
    angles = 2 * np.pi * (np.arange(corners + 1) + turn) / corners - np.pi / 2
    return _join_by_sides(_place_around(angles, 0.5))


def _draw_pentagram(rng: np.random.Generator) -> Strokes:
    """Draw the outline of a star, or a star of one line that crosses itself."""
    points = int(rng.integers(4, 7))
    if points == 5 and rng.random() < 0.5:  # two steps around of five
        return _join_by_sides(_place_around(4 * np.pi * np.arange(6) / 5 - np.pi / 2, 0.5))
    angles = np.pi * np.arange(2 * points + 1) / points - np.pi / 2
    radii = np.where(np.arange(2 * points + 1) % 2, rng.uniform(0.15, 0.28), 0.5)
    return _join_by_sides(_place_around(angles, radii))


def _draw_heart(rng: np.random.Generator) -> Strokes:
    angles = np.linspace(0, 2 * np.pi, 20)
    x = 0.5 + 0.5 * np.sin(angles) ** 3
    y = 0.45 - 0.4 * np.cos(angles) + 0.18 * np.cos(2 * angles) + rng.uniform(0, 0.05)
    return [np.stack([x, y], axis=-1).tolist()]


def _draw_open_arc(rng: np.random.Generator) -> Strokes:
    """Draw an arc that is open by a fifth to a half of a turn, as a C, a cup or an arch."""
    start = rng.choice((0, 0.25, 0.5, 0.75)) + rng.normal(0, 0.04)
    missing = rng.uniform(0.22, 0.5)
    turns = start + np.linspace(missing / 2, 1 - missing / 2, 12)
    return [_place_around(2 * np.pi * turns, 0.5).tolist()]


def _draw_wave(rng: np.random.Generator) -> Strokes:
    x = np.linspace(0, 1, 24)
    y = 0.5 + rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * (x * rng.uniform(1, 3) + rng.uniform(0, 1)))
    return [np.stack([x, y], axis=-1).tolist()]


def _draw_zigzag(rng: np.random.Generator) -> Strokes:
    corners = int(rng.integers(5, 9))
    y = np.where(np.arange(corners) % 2, 0.0, 1.0) * rng.uniform(0.3, 1) + rng.normal(0, 0.05, corners)
    return _join_by_sides(np.stack([np.linspace(0, 1, corners), y], axis=-1))


def _draw_arrow(rng: np.random.Generator) -> Strokes:
    head = rng.uniform(0.2, 0.4)
    strokes = np.array(
        [[(0, 0.5), (1, 0.5)], [(1, 0.5), (1 - head, 0.5 - head)], [(1, 0.5), (1 - head, 0.5 + head)]]
    )
    turned = strokes if rng.random() < 0.5 else strokes[:, :, ::-1]
    return [stroke.tolist() for stroke in (turned if rng.random() < 0.5 else 1 - turned)]


def _draw_cross(rng: np.random.Generator) -> Strokes:
    angle = rng.choice((0, np.pi / 4)) + rng.normal(0, 0.06)
    ends = _place_around(angle + np.pi / 2 * np.arange(4), 0.5).tolist()
    return [[ends[0], ends[2]], [ends[1], ends[3]]]


def _draw_face(rng: np.random.Generator) -> Strokes:
    """Draw a circle with eyes and a mouth."""
    circle = _place_around(np.linspace(0, 2 * np.pi, 16), 0.5).tolist()
    mouth = [(0.3, 0.62), (0.5, 0.62 + rng.uniform(-0.1, 0.2)), (0.7, 0.62)]
    return [circle, mouth, *([(x, 0.3), (x, 0.4)] for x in (0.35, 0.65))]


def _draw_sun(rng: np.random.Generator) -> Strokes:
    """Draw a circle with rays."""
    rays = 2 * np.pi * np.arange(int(rng.integers(5, 11))) / 10 + rng.uniform(0, 1)
    inner, outer = _place_around(rays, 0.32).tolist(), _place_around(rays, 0.5).tolist()
    return [
        _place_around(np.linspace(0, 2 * np.pi, 14), 0.25).tolist(),
        *map(list, zip(inner, outer, strict=True)),
    ]


def _draw_house(rng: np.random.Generator) -> Strokes:
    roof = rng.uniform(0.3, 0.5)
    walls = np.array([(0, roof), (0, 1), (1, 1), (1, roof), (0.5, 0), (0, roof), (1, roof)])
    return _join_by_sides(walls)


def _draw_grid(rng: np.random.Generator) -> Strokes:
    """Draw posts and rungs: a ladder, a hash, a fence, a table."""
    posts, rungs = int(rng.integers(2, 5)), int(rng.integers(2, 7))
    wide, overhang = rng.uniform(0.25, 1.0), rng.uniform(0, 0.25) * (rng.random() < 0.6)
    across, down = np.linspace(0, wide, posts), np.linspace(0.05, 0.95, rungs)
    upright = [[(x, -overhang), (x, 1 + overhang)] for x in across]
    level = [[(-overhang * wide, y), (wide * (1 + overhang), y)] for y in down]
    return (
        [*upright, *level] if rng.random() < 0.7 else [[(y, x) for x, y in one] for one in (*upright, *level)]
    )


def _draw_tick(rng: np.random.Generator) -> Strokes:
    low = rng.uniform(0.25, 0.45)
    return _join_by_sides(np.array([(0, rng.uniform(0.45, 0.7)), (low, 1), (1, rng.uniform(0, 0.2))]))


_OUTLINES: Final = (
    _draw_corners, _draw_corners, _draw_corners, _draw_pentagram, _draw_heart, _draw_open_arc, _draw_open_arc,
    _draw_grid, _draw_grid, _draw_wave, _draw_zigzag, _draw_arrow, _draw_cross, _draw_face, _draw_sun, _draw_house, _draw_tick,
)  # fmt: skip


def _place_around(angles: NDArray[np.float64], radii: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return points around the middle of a box 0…1 wide and high."""
    return 0.5 + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1)


def _join_by_sides(points: NDArray[np.float64]) -> Strokes:
    """Return a stroke from each point to the next: corners stay sharp."""
    return [[tuple(start), tuple(end)] for start, end in pairwise(points.tolist())]


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


def crop_tightly(glyph: Glyph) -> Glyph:
    """Cut off the rows and columns around a glyph that have no ink."""
    left, top, width, height = cv2.boundingRect(glyph)
    return glyph[top : top + height, left : left + width]
