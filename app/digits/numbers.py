"""Grey picture → glyphs → canonical pictures → the number.

`segment` finds what may be digits and never asks a network: it cuts joined digits at several places and
joins broken ones in several ways, and returns every glyph that may come of it as a canonical picture.
`assemble` is given what a network says of these and picks the glyphs that read best together.

    segment:  on_paper → dark_on_light → even_light → ink_on_black → without_print → remove_rules
              → lines → pieces
    assemble: the best path through each line's pieces
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.components import Labels, bounding_box
from app.digits.contract import (
    SIDE,
    CanonicalPicture,
    DigitBatch,
    GreyPicture,
    Likelihoods,
    Probabilities,
)
from app.digits.glyphs import Line, Piece, lines_of, pieces_of, signs_of
from app.digits.images import Box
from app.digits.light import dark_on_light, even_light, on_paper
from app.digits.preprocessing import TINY, _soft, centre, crop, even_stroke, fit, full_ink, ink_on_black
from app.digits.rules import remove_rules
from app.digits.sheet import Mask, Polarity, Sheet

NumberCaution: TypeAlias = Literal["low_contrast", "touches_border", "tiny", "no_digits", "crowded"]

# Of the ink's darkness: Otsu's threshold on clean paper. A cheque's print is paler, a pen seldom.
PALE: Final = 0.48

# How broad each digit is in MNIST, slant removed: the logarithm of its ink's standard deviation across to
# that down, mean and standard deviation over the training pictures that are held out.
BREADTHS: Final = np.array([-0.18, -1.69, -0.36, -0.57, -0.20, -0.45, -0.40, -0.49, -0.59, -0.49])
BREADTH_SPREADS: Final = np.array([0.21, 0.29, 0.26, 0.22, 0.26, 0.21, 0.30, 0.28, 0.24, 0.25])
WORST_BREADTH: Final = -8.0

MAX_SLANT: Final = 0.1  # tangent: lines that lean more are sheared until they lean so much
FULL: Final = 255  # grey levels
LARGE: Final = 160  # pixels: a larger piece is shrunk first; the network sees 20 of them
MIN_PROBABILITY: Final = 1e-4  # no certainty of a network is believed beyond this

# Weights of evidence, as natural logarithms of odds; chosen on generated numbers of validation pictures.
SHAPE: Final = 0.6  # in how wide a digit usually is
SIGN: Final = -6.0  # for leaving out what stands first or last in a line: a currency's sign, a #, a letter


@dataclass(frozen=True, slots=True)
class Weights:
    """How much is believed of what a network says."""

    trust: float  # in its certainty which digit it is
    likely: float  # in its saying that it is one
    digit: float  # for every digit: a pair that is cut loses by two doubts, one that is not by one


BLIND: Final = Weights(trust=2.3, likely=0.0, digit=0.0)  # in one that does not tell digits from others
SEEING: Final = Weights(trust=4.0, likely=1.4, digit=1.2)


@dataclass(frozen=True, slots=True)
class Page:
    """What is written on a picture, before a network has seen it.

    `skips` holds for every line what leaving out each of its atoms costs (a logarithm of odds), `signs` the
    first and the last that may be left out for less: from where to where among the line's atoms.
    """

    pictures: DigitBatch  # uint8 (pieces, 28, 28)
    pieces: tuple[Piece, ...]
    skips: tuple[tuple[float, ...], ...]
    signs: tuple[tuple[tuple[int, int], ...], ...]
    polarity: Polarity
    size: tuple[int, int]  # width and height of the grey picture
    cautions: tuple[NumberCaution, ...] = ()


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit of a number. `box` is in the grey picture's pixels."""

    digit: int
    confidence: float
    box: Box
    line: int


@dataclass(frozen=True, slots=True)
class Number:
    """What a picture says. `confidence` is the product of the digits': that all of them are right."""

    lines: tuple[str, ...]
    digits: tuple[Digit, ...]
    confidence: float
    cautions: tuple[NumberCaution, ...]

    @property
    def text(self) -> str:
        r"""The lines, parted by \n."""
        return "\n".join(self.lines)

    @property
    def box(self) -> Box | None:
        """Hull of all digits; None where there is none."""
        return bounding_box([digit.box for digit in self.digits]) if self.digits else None


def segment(grey: GreyPicture) -> Page:
    """Find the lines of a picture, and in them all that may be a digit.

    Args:
        grey: uint8 (height, width), each at least 1.

    Raises:
        NoInk: nothing stands out from the ground.
    """
    sheet = Sheet(pixels=grey)
    for step in (on_paper, dark_on_light, even_light, ink_on_black):
        sheet = step(sheet)
    ruled, labels, stats = remove_rules(_without_print(sheet))
    sheet.pixels[ruled > 0] = 0
    lines, crowded = lines_of(labels, stats)
    pieces, left_out = pieces_of(lines)
    pictures = [_canonical(sheet, labels, lines[piece.line], piece) for piece in pieces]
    cautions: list[NumberCaution] = ["low_contrast"] if "low_contrast" in sheet.cautions else []
    return Page(
        pictures=np.stack(pictures) if pictures else np.empty((0, SIDE, SIDE), np.uint8),
        pieces=tuple(pieces),
        skips=tuple(tuple(atom.skip for atom in line.atoms) for line in lines),
        signs=tuple(signs_of(line) for line in lines),
        polarity=sheet.polarity,
        size=(grey.shape[1], grey.shape[0]),
        cautions=(*cautions, "crowded") if crowded or left_out else tuple(cautions),
    )


def assemble(page: Page, probabilities: Probabilities, likelihoods: Likelihoods | None) -> Number:
    """Pick the pieces that read best together, by dynamic programming along each line.

    Args:
        page: from `segment`.
        probabilities: float32 (pieces, 10), of `page.pictures`.
        likelihoods: float32 (pieces,) that each is a digit; None where the network does not tell.
    """
    weights = BLIND if likelihoods is None else SEEING
    evidence = weights.trust * np.log(np.maximum(probabilities.max(axis=1, initial=0), MIN_PROBABILITY))
    evidence = evidence + SHAPE * _shape(page.pictures, probabilities)
    if likelihoods is not None:
        evidence = evidence + weights.likely * np.log(np.maximum(likelihoods, MIN_PROBABILITY))
    scores = evidence + np.array([piece.prior + weights.digit for piece in page.pieces])
    digits: list[Digit] = []
    texts: list[str] = []
    for line in range(len(page.skips)):
        chosen = _best_path(page, line, scores, signs=page.signs[line] if likelihoods is not None else ())
        if not chosen:
            continue
        values = [int(probabilities[row].argmax()) for row in chosen]
        digits += [
            Digit(value, float(probabilities[row][value]), page.pieces[row].box, len(texts))
            for row, value in zip(chosen, values, strict=True)
        ]
        texts.append("".join(map(str, values)))
    confidence = math.prod(digit.confidence for digit in digits) if digits else 0.0
    return Number(tuple(texts), tuple(digits), confidence, _cautions(page, digits))


def _best_path(
    page: Page, line: int, scores: NDArray[np.float64], *, signs: Sequence[tuple[int, int]]
) -> list[int]:
    """Return the rows of the pieces on the best path through a line, left to right."""
    steps: dict[int, list[tuple[float, int, int | None]]] = {}  # by their ends: odds, start, piece
    for index, odds in enumerate(page.skips[line]):
        steps.setdefault(index + 1, []).append((odds, index, None))
    for start, end in signs:
        steps[end].append((SIGN, start, None))
    for row, piece in enumerate(page.pieces):
        if piece.line == line:
            steps[piece.end].append((float(scores[row]), piece.start, row))
    best, taken = [0.0], list[tuple[int, int | None]]([(0, None)])
    for end in range(1, len(page.skips[line]) + 1):
        reached = [(best[start] + odds, start, row) for odds, start, row in steps[end]]
        score, start, piece_row = max(reached, key=itemgetter(0))
        best.append(score)
        taken.append((start, piece_row))
    return _traced(taken)


def _traced(taken: Sequence[tuple[int, int | None]]) -> list[int]:
    rows, end = [], len(taken) - 1
    while end > 0:
        end, row = taken[end]
        if row is not None:
            rows.append(row)
    return rows[::-1]


def _shape(pictures: DigitBatch, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return for each picture the logarithm of how usual its breadth is for the digit that it seems to be."""
    digits = probabilities.argmax(axis=1)
    off = (_breadths(pictures) - BREADTHS[digits]) / BREADTH_SPREADS[digits]
    shape: NDArray[np.float64] = np.maximum(WORST_BREADTH, -0.5 * off**2)
    return shape


def _breadths(pictures: DigitBatch) -> NDArray[np.float64]:
    """Return (pictures,): the logarithm of the ink's spread across, sheared upright, to that down."""
    ink = (
        pictures.astype(np.float64) / np.maximum(1, pictures.sum(axis=(1, 2), dtype=np.int64))[:, None, None]
    )
    place = np.arange(SIDE, dtype=np.float64)
    across, down = ink.sum(axis=1), ink.sum(axis=2)
    x, y = place - (across @ place)[:, None], place - (down @ place)[:, None]
    wide, high = (across * x**2).sum(axis=1), (down * y**2).sum(axis=1)
    mixed = ((ink @ x[..., None])[..., 0] * y).sum(axis=1)
    high = np.maximum(high, 0.1)
    breadths: NDArray[np.float64] = 0.5 * np.log(np.maximum(wide - mixed**2 / high, 0.1) / high)
    return breadths


def _cautions(page: Page, digits: Sequence[Digit]) -> tuple[NumberCaution, ...]:
    found = list(page.cautions)
    if not digits:
        return (*found, "no_digits")
    left, top, width, height = bounding_box([digit.box for digit in digits])
    if left == 0 or top == 0 or left + width == page.size[0] or top + height == page.size[1]:
        found.append("touches_border")
    if min(max(digit.box[2:]) for digit in digits) < TINY:
        found.append("tiny")
    return tuple(found)


def _without_print(sheet: Sheet) -> Mask:
    """Return the ink's mask without what is much paler: a cheque's background, a form's grey lines."""
    assert sheet.mask is not None  # noqa: S101  # ink_on_black has set it
    tones = np.cumsum(cv2.calcHist([sheet.pixels], [0], sheet.mask, [256], [0, 256]))
    darkness = int(np.searchsorted(tones, 0.9 * tones[-1]))
    _, dark = cv2.threshold(sheet.pixels, PALE * darkness, 1, cv2.THRESH_BINARY)
    kept: Mask = sheet.mask & dark
    return kept


def _canonical(sheet: Sheet, labels: Labels, line: Line, piece: Piece) -> CanonicalPicture:
    """Bring one piece into canonical form, by the steps that single digits take."""
    left, top, width, height = piece.box
    rim = 3 + max(width, height) // 64  # room for the soft edge
    window = np.s_[max(0, top - rim) : top + height + rim, max(0, left - rim) : left + width + rim]
    own = np.zeros(labels[window].shape, np.bool_)
    for atom in line.atoms[piece.start : piece.end]:
        own |= labels[window] == atom.label
    # ink of others, next to it, is no soft edge of its own
    pixels = np.where((labels[window] > 0) & ~own, 0, sheet.pixels[window]).astype(np.uint8)
    mask = own.astype(np.uint8)
    scale = LARGE / max(width, height)
    if scale < 1:
        pixels, mask = (_resized(part, scale) for part in (pixels, mask))
    excess = line.slant - max(-MAX_SLANT, min(MAX_SLANT, line.slant))
    if excess:
        pixels, mask = _unslant(pixels, excess), _unslant(mask, excess)
    part = Sheet(pixels=pixels, threshold=sheet.threshold, mask=mask)
    part = dataclasses.replace(part, pixels=_soft(part, mask, length=min(LARGE, max(width, height))))
    if not part.pixels.any():  # a hair has faded
        shape = _resized(own * np.uint8(FULL), min(1.0, scale))
        part = dataclasses.replace(part, pixels=cv2.multiply(shape, FULL / int(shape.max())))
    for step in (crop, even_stroke, fit, full_ink, centre):
        part = step(part)
    return part.pixels


def _resized(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    size = [math.ceil(side * scale) for side in pixels.shape[::-1]]  # by factors alone the last column may go
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _unslant(pixels: NDArray[np.uint8], slant: float) -> NDArray[np.uint8]:
    """Shear a picture, by the tangent `slant` less to the right."""
    height, width = pixels.shape
    room = math.ceil(abs(slant) * height / 2)
    shear = np.array([[1, slant, room - slant * (height - 1) / 2], [0, 1, 0]])
    sheared = cv2.warpAffine(pixels, shear, (width + 2 * room, height))
    return np.asarray(sheared, np.uint8)
