"""Grey picture → glyphs → canonical pictures → the number.

`segment` finds what may be digits and never asks a network: it cuts joined digits at several places and
joins broken ones in several ways, and returns every glyph that may come of it as a canonical picture.
`assemble` is given what a network says of these and picks the glyphs that read best together.

    segment:  PAGE_STEPS → lines → pieces
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

from app.digits import tones
from app.digits.components import Labels, enclose_boxes, label_components
from app.digits.contract import (
    SIDE,
    CanonicalPicture,
    DigitBatch,
    GreyPicture,
    Likelihoods,
    Probabilities,
)
from app.digits.glyphs import Line, Piece, lines_of, pieces_of
from app.digits.images import Box
from app.digits.light import even_light, extend_paper, normalise_polarity
from app.digits.preprocessing import (
    TINY_LENGTH,
    centre,
    crop_to_ink,
    extract_ink,
    extract_soft_ink,
    scale_to_size,
    stretch_contrast,
    thicken_strokes,
)
from app.digits.rules import remove_rules
from app.digits.working_picture import Polarity, Step, WorkingPicture

NumberCaution: TypeAlias = Literal["low_contrast", "touches_border", "tiny", "no_digits", "crowded"]

MAX_SLANT: Final = 0.1  # tangent: lines that lean more are sheared until they lean so much
MIN_DARKNESS: Final = 0.48  # of the ink's: Otsu's threshold on clean paper; a cheque's print is paler
FULL_INK: Final = 255  # grey levels
MAX_PIECE_SIDE: Final = 160  # pixels: a larger piece is shrunk first; the network sees 20 of them
MIN_PROBABILITY: Final = 1e-4  # no certainty of a network is believed beyond this


@dataclass(frozen=True, slots=True)
class Weights:
    """What each piece of evidence counts, in log-odds; chosen on generated numbers of validation pictures."""

    certainty: float  # of the network, which digit it is
    likelihood: float  # that it is a digit
    digit: float  # for every digit: a pair that is cut loses by two doubts, one that is not by one
    geometry: float = 1.0  # height, width, cuts and gaps


WEIGHTS_WITHOUT_LIKELIHOOD: Final = Weights(certainty=2.3, likelihood=0.0, digit=0.0)
WEIGHTS_WITH_LIKELIHOOD: Final = Weights(certainty=4.0, likelihood=1.4, digit=1.2)


@dataclass(frozen=True, slots=True)
class SegmentedPage:
    """What is written on a picture, before a network has seen it."""

    pictures: DigitBatch  # uint8 (pieces, 28, 28)
    pieces: tuple[Piece, ...]
    skips: tuple[tuple[float, ...], ...]  # for each line, the log-odds that each atom is no part of a digit
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
    """The number in a picture. `confidence`, that all digits are right, is the product of theirs."""

    lines: tuple[str, ...]
    digits: tuple[Digit, ...]
    confidence: float
    cautions: tuple[NumberCaution, ...]

    @property
    def text(self) -> str:
        r"""The lines, separated by \n."""
        return "\n".join(self.lines)

    @property
    def box(self) -> Box | None:
        """The box around all digits; None if there are none."""
        return enclose_boxes([digit.box for digit in self.digits]) if self.digits else None


def remove_pale_print(picture: WorkingPicture) -> WorkingPicture:
    """Take out of the ink what is much paler than the pen: a cheque's background, a form's grey lines."""
    levels = np.cumsum(tones.histogram(picture.pixels, mask=picture.mask))
    darkness = int(np.searchsorted(levels, 0.9 * levels[-1]))
    _, is_dark = cv2.threshold(picture.pixels, MIN_DARKNESS * darkness, 1, cv2.THRESH_BINARY)
    return dataclasses.replace(picture, mask=picture.mask & is_dark)


PAGE_STEPS: Final[tuple[Step, ...]] = (
    extend_paper,
    normalise_polarity,
    even_light,
    extract_ink,
    remove_pale_print,
    remove_rules,
)


def segment(grey: GreyPicture, *, steps: Sequence[Step] = PAGE_STEPS) -> SegmentedPage:
    """Find the lines of a picture, and in them all that may be a digit.

    Args:
        grey: uint8 (height, width), each at least 1.
        steps: what is done before lines are looked for.

    Raises:
        NoInk: nothing stands out from the background.
    """
    picture = WorkingPicture(pixels=grey)
    for step in steps:
        picture = step(picture)
    labels, stats = label_components(picture.mask)
    lines, crowded = lines_of(labels, stats)
    pieces, left_out = pieces_of(lines)
    pictures = [_canonicalise_piece(picture, labels, lines[piece.line], piece) for piece in pieces]
    cautions: list[NumberCaution] = ["low_contrast"] if "low_contrast" in picture.cautions else []
    return SegmentedPage(
        pictures=np.stack(pictures) if pictures else np.empty((0, SIDE, SIDE), np.uint8),
        pieces=tuple(pieces),
        skips=tuple(tuple(atom.skip for atom in line.atoms) for line in lines),
        polarity=picture.polarity,
        size=(grey.shape[1], grey.shape[0]),
        cautions=(*cautions, "crowded") if crowded or left_out else tuple(cautions),
    )


def assemble(
    page: SegmentedPage,
    probabilities: Probabilities,
    likelihoods: Likelihoods | None,
    *,
    weights: Weights | None = None,
) -> Number:
    """Pick the pieces that read best together, by dynamic programming along each line.

    Args:
        page: from `segment`.
        probabilities: float32 (pieces, 10), of `page.pictures`.
        likelihoods: float32 (pieces,) that each is a digit; None if the network does not estimate it.
        weights: by default, those that suit the network.
    """
    if likelihoods is None:
        likelihoods = np.ones(len(page.pieces), np.float32)
        weights = weights or WEIGHTS_WITHOUT_LIKELIHOOD
    weights = weights or WEIGHTS_WITH_LIKELIHOOD
    scores = (
        weights.digit
        + weights.certainty * np.log(np.maximum(probabilities.max(axis=1, initial=0), MIN_PROBABILITY))
        + weights.likelihood * np.log(np.maximum(likelihoods, MIN_PROBABILITY))
        + weights.geometry * np.array([piece.prior for piece in page.pieces])
    )
    digits: list[Digit] = []
    texts: list[str] = []
    for line in range(len(page.skips)):
        rows = _find_best_path(page, line, scores)
        if not rows:
            continue
        values = [int(probabilities[row].argmax()) for row in rows]
        digits += [
            Digit(value, float(probabilities[row][value]), page.pieces[row].box, len(texts))
            for row, value in zip(rows, values, strict=True)
        ]
        texts.append("".join(map(str, values)))
    confidence = math.prod(digit.confidence for digit in digits) if digits else 0.0
    return Number(tuple(texts), tuple(digits), confidence, _collect_cautions(page, digits))


def _find_best_path(page: SegmentedPage, line: int, scores: NDArray[np.float64]) -> list[int]:
    steps: dict[int, list[tuple[float, int, int | None]]] = {}  # by their ends: odds, start, piece
    for index, odds in enumerate(page.skips[line]):
        steps.setdefault(index + 1, []).append((odds, index, None))
    for row, piece in enumerate(page.pieces):
        if piece.line == line:
            steps[piece.end].append((float(scores[row]), piece.start, row))
    best, choices = [0.0], list[tuple[int, int | None]]([(0, None)])
    for end in range(1, len(page.skips[line]) + 1):
        reached = [(best[start] + odds, start, row) for odds, start, row in steps[end]]
        score, start, piece_row = max(reached, key=itemgetter(0))
        best.append(score)
        choices.append((start, piece_row))
    return _trace_path(choices)


def _trace_path(choices: Sequence[tuple[int, int | None]]) -> list[int]:
    rows, end = [], len(choices) - 1
    while end > 0:
        end, row = choices[end]
        if row is not None:
            rows.append(row)
    return rows[::-1]


def _collect_cautions(page: SegmentedPage, digits: Sequence[Digit]) -> tuple[NumberCaution, ...]:
    cautions = list(page.cautions)
    if not digits:
        return (*cautions, "no_digits")
    left, top, width, height = enclose_boxes([digit.box for digit in digits])
    if left == 0 or top == 0 or left + width == page.size[0] or top + height == page.size[1]:
        cautions.append("touches_border")
    if min(max(digit.box[2:]) for digit in digits) < TINY_LENGTH:
        cautions.append("tiny")
    return tuple(cautions)


def _canonicalise_piece(page: WorkingPicture, labels: Labels, line: Line, piece: Piece) -> CanonicalPicture:
    left, top, width, height = piece.box
    margin = 3 + max(width, height) // 64  # room for the soft edge
    window = np.s_[
        max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin
    ]
    is_piece = np.zeros(labels[window].shape, np.bool_)
    for atom in line.atoms[piece.start : piece.end]:
        is_piece |= labels[window] == atom.label
    # the ink of neighbouring pieces is not this piece's soft edge
    pixels = np.where((labels[window] > 0) & ~is_piece, 0, page.pixels[window]).astype(np.uint8)
    mask = is_piece.astype(np.uint8)
    scale = MAX_PIECE_SIDE / max(width, height)
    if scale < 1:
        pixels, mask = (_resize(part, scale) for part in (pixels, mask))
    excess = line.slant - max(-MAX_SLANT, min(MAX_SLANT, line.slant))
    if excess:
        pixels, mask = _unslant(pixels, excess), _unslant(mask, excess)
    part = WorkingPicture(pixels=pixels, threshold=page.threshold, mask=mask)
    part = dataclasses.replace(
        part, pixels=extract_soft_ink(part, mask, length=min(MAX_PIECE_SIDE, max(width, height)))
    )
    if not part.pixels.any():  # a hairline has faded away
        shape = _resize(is_piece * np.uint8(FULL_INK), min(1.0, scale))
        part = dataclasses.replace(part, pixels=cv2.multiply(shape, FULL_INK / int(shape.max())))
    for step in (crop_to_ink, thicken_strokes, scale_to_size, stretch_contrast, centre):
        part = step(part)
    return part.pixels


def _resize(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    size = [math.ceil(side * scale) for side in pixels.shape[::-1]]  # rounded up: the last column stays
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _unslant(pixels: NDArray[np.uint8], slant: float) -> NDArray[np.uint8]:
    height, width = pixels.shape
    room = math.ceil(abs(slant) * height / 2)
    shear = np.array([[1, slant, room - slant * (height - 1) / 2], [0, 1, 0]])
    return np.asarray(cv2.warpAffine(pixels, shear, (width + 2 * room, height)), np.uint8)
