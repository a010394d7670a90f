"""Grey picture → lines of glyphs → canonical pictures → the number.

`segment` finds what may be digits and never asks a network: it cuts joined digits at several places and
joins broken ones in several ways, and returns every glyph that may come of it as a canonical picture.
`assemble` is given what a network says of these and picks the glyphs that read best together.

    segment:  dark_on_light → even_light → ink_on_black → unruled → lines → atoms → pieces
    assemble: the best path through each line's pieces

An *atom* is ink that is never parted: a connected component, or what lies between two cuts of one. A
*piece* is one or several neighbouring atoms, taken for one digit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import (
    SIDE,
    CanonicalPicture,
    DigitBatch,
    GreyPicture,
    Likelihoods,
    Probabilities,
)
from app.digits.images import Box
from app.digits.preprocessing import (
    TINY,
    Mask,
    Polarity,
    Sheet,
    _soft,
    centre,
    crop,
    dark_on_light,
    even_light,
    even_stroke,
    fit,
    full_ink,
    ink_on_black,
)

NumberCaution: TypeAlias = Literal["low_contrast", "touches_border", "tiny", "no_digits", "crowded"]
Labels: TypeAlias = NDArray[np.int32]  # (height, width), 0 where there is no ink
Stats: TypeAlias = NDArray[np.int32]  # (components, 5): left, top, width, height, area

# Shares of a digit's height, unless another unit is given. The height is measured first.
TALL: Final = 0.45  # from here on a component may be a digit; below, it is a part, a dot or a dash
TALLEST: Final = 2.2  # beyond, it is a bracket, a frame or a drawing
SPECK: Final = 0.07  # smaller in both directions: dust
SAME_LINE: Final = 0.6  # vertical distance of neighbours' middles; lines are 1.2 apart and more
WIDEST: Final = 1.4  # of one digit; MNIST's widest are 1.1, slanted and flat ones more
WIDEST_JOINED: Final = 1.1  # of a digit joined from parts
GAP: Final = 0.25  # between parts of one digit
CUTTABLE: Final = 0.45  # narrower, two digits do not fit in
WIDE: Final = 0.95  # wider, there are probably two
CUT_MARGIN: Final = 0.15  # nothing narrower is cut off
CUT_DISTANCE: Final = 0.15  # between cuts: nearer ones part the same two digits
DEAREST: Final = 2.0  # strokes' widths of ink that a cut may cross; askew, one stroke is 1.4
CUTS: Final = 2.5  # for each height of a component's width; of two digits it is 1.4 wide
CUT_STEP: Final = 0.07
CUT_HEIGHT: Final = 0.6  # of what is left on either side of a cut: the least of digits that touch

PALE: Final = 0.5  # of the ink's darkness: Otsu's threshold on clean paper; print is paler, the pen hardly ever
RULE: Final = 2.5  # length of a straight, thin stroke that is a ruled line, not a 7's or a 2's bar
UPRIGHT_RULE: Final = 1.5  # the same, upright; a 1 is 1.0
RULE_THICKNESS: Final = 0.16
CELL: Final = 0.8  # of the distance between two rules: what reaches that far is a cell's wall, no 1
STRAIGHT: Final = 0.9  # of a rule's ink that lies along a straight line
STEEPEST: Final = 0.2  # slope of a rule: 11 degrees
FRAME_COVER: Final = 0.85  # of each side of its bounding box that a frame's ink lies along
FRAME_BAND: Final = 0.08  # of its length: as far from the side

MAX_COMPONENTS: Final = 400  # a page's digits and dots; a scribble's or a print's are left out, smallest first
MAX_RULED: Final = 24  # components searched for rules; a page has one grid, or as many boxes
MAX_ATOMS: Final = 4  # of one piece: a digit cut at three wrong places
MAX_PIECES: Final = 384  # about 80 ms of the served network: fifty digits, each with seven ways to read it
MAX_AREA: Final = 4_000_000  # pixels of all pieces: a page covered with digits, each with four ways to read it
SEAM_ROWS: Final = 32  # pixels: height at which cuts are sought; a canonical digit has 20
FAINT: Final = 80  # of 255: ink in a pixel of these, thin strokes included
_BAND: Final = np.arange(-5, 6)  # pixels of these by which a cut may wind to either side
SEAM_TURN: Final = 0.3  # cost of a step aside, in pixels of ink

# How broad each digit is in MNIST, slant removed: the logarithm of its ink's standard deviation across to
# that down, mean and standard deviation over the training pictures that are held out.
BREADTHS: Final = np.array([-0.18, -1.69, -0.36, -0.57, -0.20, -0.45, -0.40, -0.49, -0.59, -0.49])
BREADTH_SPREADS: Final = np.array([0.21, 0.29, 0.26, 0.22, 0.26, 0.21, 0.30, 0.28, 0.24, 0.25])
WORST_BREADTH: Final = -8.0

# Weights of evidence, as natural logarithms of odds; chosen on generated numbers of validation pictures.
CUT: Final = -0.05  # for a cut, and
CUT_INK: Final = -0.1  # for each stroke's width of ink that it crosses, and
CUT_TWICE: Final = -2.5  # where it crosses two strokes: through the loop of a 0, 6, 8 or 9
JOIN: Final = -2.0  # for joining what does not touch, and
JOIN_PART: Final = -0.8  # the same, where one is too small to be a digit, and
JOIN_GAP: Final = -2.5  # for each height of the gap
HEIGHT_SPREAD: Final = 0.23  # standard deviation of a digit's height around its line's, as a logarithm
BROAD: Final = 0.85  # width of a digit, slant removed; beyond it digits become rare
BROAD_SPREAD: Final = 0.2  # standard deviation beyond, as a logarithm
WORST_HEIGHT: Final = -4.0
SKIP: Final = -7.5  # for leaving out ink as tall as a digit
SKIP_PART: Final = -0.3  # for leaving out a dot, a dash or a comma
SKIP_BAR: Final = -2.0  # the same, as high as a digit's bar
BAR: Final = 0.3  # of a digit's height: so far from its top the bar of a 5 or a 7 is
TRUST: Final = 2.3  # in the network's certainty
SHAPE: Final = 0.6  # in how wide a digit usually is
LEAST: Final = 1e-4  # a network's certainty is not believed beyond this


@dataclass(frozen=True, slots=True)
class Piece:
    """What may be one digit: the atoms from `start` up to `end` of a line."""

    line: int
    start: int
    end: int
    box: Box
    prior: float  # logarithm of odds, from height, cuts and gaps


@dataclass(frozen=True, slots=True)
class Page:
    """What is written on a picture, before a network has seen it.

    `skips` holds for every line what leaving out each of its atoms costs (a logarithm of odds).
    """

    pictures: DigitBatch  # uint8 (pieces, 28, 28)
    pieces: tuple[Piece, ...]
    skips: tuple[tuple[float, ...], ...]
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
        return _hull([digit.box for digit in self.digits]) if self.digits else None


@dataclass(slots=True)
class _Atom:
    label: int
    box: Box
    component: int
    small: bool
    skip: float = SKIP  # logarithm of odds for its being no part of any digit
    cut: float = 0.0  # logarithm of odds for the cut on its left, 0 at a component's own edge


@dataclass(frozen=True, slots=True)
class _Line:
    atoms: tuple[_Atom, ...]
    height: float  # pixels: its digits' median
    slant: float  # how far strokes lean to the right, as a tangent


@dataclass(frozen=True, slots=True)
class _Grid:
    """A component brought to SEAM_ROWS rows, and the bands in which cuts are sought."""

    ink: NDArray[np.bool_]  # (SEAM_ROWS, width)
    columns: NDArray[np.intp]  # (SEAM_ROWS, bands, places)
    dark: NDArray[np.bool_]  # as `columns`: whether there is ink
    unit: float  # pixels: a digit's height
    rows: int  # of the component as it came
    wide: bool  # so that there are probably two digits


@dataclass(frozen=True, slots=True)
class _Seam:
    odds: float  # as a logarithm, that two digits touch there
    columns: NDArray[np.float64]  # (rows of the component,)


def segment(grey: GreyPicture) -> Page:
    """Find the lines of a picture, and in them all that may be a digit.

    Args:
        grey: uint8 (height, width), each at least 1.

    Raises:
        NoInk: nothing stands out from the ground.
    """
    sheet = Sheet(pixels=grey)
    for step in (dark_on_light, even_light, ink_on_black):
        sheet = step(sheet)
    inked = _without_print(sheet)
    mask, height = _unruled(inked)
    sheet.pixels[(inked > 0) & (mask == 0)] = 0
    labels, lines, crowded = _lines(mask, height)
    pieces, left_out = _pieces(lines)
    pictures = [_canonical(sheet, labels, lines, piece) for piece in pieces]
    seen = [(piece, picture) for piece, picture in zip(pieces, pictures, strict=True) if picture is not None]
    cautions: list[NumberCaution] = ["low_contrast"] if "low_contrast" in sheet.cautions else []
    if crowded or left_out:
        cautions.append("crowded")
    return Page(
        pictures=np.stack([picture for _, picture in seen]) if seen else np.empty((0, SIDE, SIDE), np.uint8),
        pieces=tuple(piece for piece, _ in seen),
        skips=tuple(tuple(atom.skip for atom in line.atoms) for line in lines),
        polarity=sheet.polarity,
        size=(grey.shape[1], grey.shape[0]),
        cautions=tuple(cautions),
    )


def assemble(page: Page, probabilities: Probabilities, likelihoods: Likelihoods | None) -> Number:
    """Pick the pieces that read best together, by dynamic programming along each line.

    Args:
        page: from `segment`.
        probabilities: float32 (pieces, 10), of `page.pictures`.
        likelihoods: float32 (pieces,) that each is a digit; None where the network does not tell.
    """
    evidence = TRUST * np.log(np.maximum(probabilities.max(axis=1, initial=0), LEAST))
    evidence = evidence + SHAPE * _shape(page.pictures, probabilities)
    if likelihoods is not None:
        evidence = evidence + np.log(np.maximum(likelihoods, LEAST))
    scores = evidence + np.array([piece.prior for piece in page.pieces])
    digits: list[Digit] = []
    texts: list[str] = []
    for line in range(len(page.skips)):
        chosen = _best_path(page, line, scores)
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


def _shape(pictures: DigitBatch, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return for each picture the logarithm of how usual its breadth is for the digit that it seems to be."""
    digits = probabilities.argmax(axis=1)
    off = (_breadths(pictures) - BREADTHS[digits]) / BREADTH_SPREADS[digits]
    shape: NDArray[np.float64] = np.maximum(WORST_BREADTH, -0.5 * off**2)
    return shape


def _breadths(pictures: DigitBatch) -> NDArray[np.float64]:
    """Return (pictures,): the logarithm of the ink's spread across, sheared upright, to that down."""
    ink = pictures.astype(np.float64) / np.maximum(1, pictures.sum(axis=(1, 2), dtype=np.int64))[:, None, None]
    place = np.arange(SIDE, dtype=np.float64)
    across, down = ink.sum(axis=1), ink.sum(axis=2)
    x, y = place - (across @ place)[:, None], place - (down @ place)[:, None]
    wide, high = (across * x**2).sum(axis=1), (down * y**2).sum(axis=1)
    mixed = ((ink @ x[..., None])[..., 0] * y).sum(axis=1)
    high = np.maximum(high, 0.1)
    breadths: NDArray[np.float64] = 0.5 * np.log(np.maximum(wide - mixed**2 / high, 0.1) / high)
    return breadths


def _best_path(page: Page, line: int, scores: NDArray[np.float64]) -> list[int]:
    """Return the rows of the pieces on the best path through a line, left to right."""
    skips = page.skips[line]
    best = [0.0] + [-math.inf] * len(skips)
    taken: list[int | None] = [None] * (len(skips) + 1)
    ending: dict[int, list[int]] = {}
    for row, piece in enumerate(page.pieces):
        if piece.line == line:
            ending.setdefault(piece.end, []).append(row)
    for end in range(1, len(best)):
        best[end] = best[end - 1] + skips[end - 1]
        for row in ending.get(end, ()):
            score = best[page.pieces[row].start] + float(scores[row])
            if score > best[end]:
                best[end], taken[end] = score, row
    return _traced(page, taken)


def _traced(page: Page, taken: Sequence[int | None]) -> list[int]:
    rows, end = [], len(taken) - 1
    while end > 0:
        row = taken[end]
        if row is None:
            end -= 1
        else:
            rows.append(row)
            end = page.pieces[row].start
    return rows[::-1]


def _cautions(page: Page, digits: Sequence[Digit]) -> tuple[NumberCaution, ...]:
    found = list(page.cautions)
    if not digits:
        return (*found, "no_digits")
    left, top, width, height = _hull([digit.box for digit in digits])
    if left == 0 or top == 0 or left + width == page.size[0] or top + height == page.size[1]:
        found.append("touches_border")
    if min(max(digit.box[2:]) for digit in digits) < TINY:
        found.append("tiny")
    return tuple(found)


def _hull(boxes: Sequence[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def _without_print(sheet: Sheet) -> Mask:
    """Return the ink's mask without what is much paler: a cheque's background, a form's grey lines."""
    assert sheet.mask is not None  # noqa: S101  # ink_on_black has set it
    darkness = float(np.percentile(sheet.pixels[sheet.mask > 0], 90))
    return ((sheet.mask > 0) & (sheet.pixels > PALE * darkness)).astype(np.uint8)


# --- rules, grids and frames ---


def _unruled(mask: Mask) -> tuple[Mask, float]:
    """Take ruled lines, grids and frames out of the mask; return it and the digits' height in pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    pieces = stats[1:]
    framing = _framing(pieces)
    height = _height(pieces[~framing] if not framing.all() else pieces)
    suspects = framing | (pieces[:, 2] > RULE * height) | (pieces[:, 3] > UPRIGHT_RULE * height)
    suspects |= _framed(labels, pieces, height)
    rows = np.flatnonzero(suspects)
    if not rows.size:
        return mask, height
    mask = mask.copy()
    for row in rows[np.argsort(-pieces[rows, 4])][:MAX_RULED]:
        left, top, width, tall = pieces[row, :4]
        window = np.s_[top : top + tall, left : left + width]
        own = (labels[window] == row + 1).astype(np.uint8)
        mask[window][_rules(own, height) > 0] = 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return mask, _height(stats[1:]) if len(stats) > 1 else height


def _height(pieces: Stats) -> float:
    """Return the height of most ink: the median of the components' heights, weighted by their areas."""
    order = np.argsort(pieces[:, 3])
    area = np.cumsum(pieces[order, 4])
    return float(pieces[order[np.searchsorted(area, area[-1] / 2)], 3])


def _framing(pieces: Stats) -> NDArray[np.bool_]:
    """Tell which components lie around others of a fair size: frames and grids."""
    found = np.zeros(len(pieces), np.bool_)
    largest = np.argsort(-pieces[:, 2] * pieces[:, 3])[:MAX_RULED]
    middle = pieces[:, :2] + pieces[:, 2:4] / 2
    for row in largest:
        left, top, width, height, area = pieces[row]
        inside = (np.abs(middle - (left + width / 2, top + height / 2)) < (width / 2, height / 2)).all(axis=1)
        inside &= (pieces[:, 3] >= height / 4) | (pieces[:, 4] >= area / 12)
        inside[row] = False
        found[row] = inside.any() and area < 0.35 * width * height
    return found


def _framed(labels: Labels, pieces: Stats, height: float) -> NDArray[np.bool_]:
    """Tell which components lie along all four sides of their bounding boxes."""
    found = np.zeros(len(pieces), np.bool_)
    large = np.flatnonzero((pieces[:, 2] > 0.8 * height) & (pieces[:, 3] > 0.8 * height))
    for row in large[np.argsort(-pieces[large, 4])][:MAX_RULED]:
        left, top, width, tall = pieces[row, :4]
        own = labels[top : top + tall, left : left + width] == row + 1
        found[row] = _is_frame(own)
    return found


def _is_frame(own: NDArray[np.bool_]) -> bool:
    down, across = (max(2, round(FRAME_BAND * side)) for side in own.shape)
    sides = (own[:down].any(axis=0), own[-down:].any(axis=0))
    sides += (own[:, :across].any(axis=1), own[:, -across:].any(axis=1))
    return all(side.mean() >= FRAME_COVER for side in sides)


def _rules(own: Mask, height: float) -> Mask:
    """Return the rules of one component: straight, thin and long."""
    framed = _is_frame(own > 0)
    length = min(RULE * height, 0.75 * own.shape[1]) if framed else RULE * height
    level, places = _straight(own, length=length, height=height)
    upright = UPRIGHT_RULE * height
    gaps = [gap for gap in np.diff(sorted(places)) if gap > 0.8 * height]
    if gaps:
        upright = min(upright, CELL * min(gaps))
    rest = cv2.subtract(own, level)
    walls, _ = _straight(np.ascontiguousarray(rest.T), length=upright, height=height)
    return cv2.max(level, np.ascontiguousarray(walls.T))


def _straight(own: Mask, *, length: float, height: float) -> tuple[Mask, list[float]]:
    """Return the level rules of a component, and the y of each in its middle.

    Where a digit's stroke crosses a rule, ink runs farther down than a rule is thick: it stays.
    """
    thickness = max(2, math.ceil(RULE_THICKNESS * height))
    thick = cv2.morphologyEx(own, cv2.MORPH_OPEN, np.ones((thickness + 1, 1), np.uint8), borderValue=0)
    thin = cv2.subtract(own, thick)
    bridge = np.ones((3, max(3, round(height / 3))), np.uint8)
    roomy = cv2.copyMakeBorder(thin, 2, 2, bridge.shape[1], bridge.shape[1], cv2.BORDER_CONSTANT)
    joined = cv2.morphologyEx(roomy, cv2.MORPH_CLOSE, bridge)[2:-2, bridge.shape[1] : -bridge.shape[1]]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found, places = np.zeros_like(own), []
    long = np.flatnonzero(stats[:, 2] >= length)
    for row in long[np.argsort(-stats[long, 2])][: MAX_RULED + 1]:
        if row == 0:  # the ground
            continue
        window = _window(_box(stats[row]))
        line = _through((labels[window] == row) & (thin[window] > 0), length=length, thickness=thickness)
        if line is not None:
            rows, columns = np.ogrid[: stats[row, 3], : stats[row, 2]]
            near = thin[window] * (np.abs(rows - (line[0] * columns + line[1])) <= thickness / 2 + 1)
            depth = near.sum(axis=0)
            usual = float(np.median(depth[depth > 0]))
            found[window] |= (near * (depth <= 1.5 * usual + 1)).astype(np.uint8)  # deeper: a stroke lies along
            places.append(float(stats[row, 1] + line[0] * stats[row, 2] / 2 + line[1]))
    return found, places


def _through(own: NDArray[np.bool_], *, length: float, thickness: int) -> tuple[float, float] | None:
    """Return slope and start of the straight line through what there is of a rule; None: it is not straight."""
    y, x = (axis.astype(np.float64) for axis in np.nonzero(own))
    if len(x) < length / 2:
        return None
    near = np.ones(len(x), np.bool_)
    for _ in range(3):
        slope = _slope(x[near], y[near])
        start = float(y[near].mean() - slope * x[near].mean())
        off = np.abs(y - (slope * x + start))
        near = off <= max(thickness / 2 + 0.5, float(np.median(off)))
    straight = (off[near] <= thickness).mean() >= STRAIGHT and abs(slope) <= STEEPEST
    return (slope, start) if straight and np.unique(x[near]).size >= 0.75 * length else None


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    off = x - x.mean()
    return float((off * y).sum() / max(1e-9, float((off**2).sum())))


# --- lines and atoms ---


def _lines(mask: Mask, height: float) -> tuple[Labels, list[_Line], bool]:
    """Label the ink by atoms, and put these in order: lines from top to bottom, each left to right."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    sides = stats[1:, 2:4].max(axis=1)
    kept = np.flatnonzero((sides >= max(2, SPECK * height)) & (stats[1:, 3] <= TALLEST * height)) + 1
    crowded = len(kept) > MAX_COMPONENTS
    kept = kept[np.argsort(-stats[kept, 4], kind="stable")][:MAX_COMPONENTS]
    tall = [row for row in kept if stats[row, 3] >= TALL * height and not _is_dash(stats[row])]
    small = [row for row in kept if row not in set(tall)]
    rows = _rows(stats, tall, height)
    parts = _shared_out(stats, small, rows, height)
    lines = [_line(labels, stats, row, part) for row, part in zip(rows, parts, strict=True)]
    return labels, lines, crowded


def _is_dash(stat: NDArray[np.int32]) -> bool:
    return bool(stat[2] > 4 * stat[3])


def _rows(stats: Stats, tall: Sequence[int], height: float) -> list[list[int]]:
    """Part the tall components in lines: each, left to right, goes where its neighbour is level with it."""
    rows: list[list[int]] = []
    middle = stats[:, 1] + stats[:, 3] / 2
    for row in sorted(tall, key=lambda row: stats[row, 0] + stats[row, 2] / 2):
        level = [float(np.mean([middle[other] for other in line[-3:]])) for line in rows]
        off = [abs(middle[row] - y) for y in level]
        if off and min(off) <= SAME_LINE * height:
            rows[off.index(min(off))].append(row)
        else:
            rows.append([row])
    return sorted(rows, key=lambda line: float(np.mean([middle[row] for row in line])))


def _shared_out(
    stats: Stats, small: Sequence[int], rows: Sequence[Sequence[int]], height: float
) -> list[list[int]]:
    """Give each small component to the line of the tall one that it is nearest to, if it is near."""
    parts: list[list[int]] = [[] for _ in rows]
    tall = np.array([row for line in rows for row in line], np.intp)
    owner = np.array([index for index, line in enumerate(rows) for _ in line], np.intp)
    if not tall.size:
        return parts
    for row in small:
        left, top, width, high = stats[row, :4]
        across = np.maximum(stats[tall, 0] - left - width, left - stats[tall, 0] - stats[tall, 2])
        down = np.maximum(stats[tall, 1] - top - high, top - stats[tall, 1] - stats[tall, 3])
        gap = np.hypot(np.maximum(0, across), np.maximum(0, down))
        nearest = int(gap.argmin())
        if gap[nearest] <= height:
            parts[owner[nearest]].append(row)
    return parts


def _line(labels: Labels, stats: Stats, tall: Sequence[int], small: Sequence[int]) -> _Line:
    """Make the atoms of one line; `labels` is changed where components are cut or joined."""
    height = float(np.median(stats[list(tall), 3]))
    own = {row: _box(stats[row]) for row in tall}
    loose = []
    for row in small:
        host = _host(stats, row, tall, height)
        if host is None:
            box = _box(stats[row])
            loose.append(_Atom(row, box, row, small=True, skip=_part_skip(stats[list(tall)], box)))
            continue
        window = _window(_box(stats[row]))
        labels[window][labels[window] == row] = host
        own[host] = _hull([own[host], _box(stats[row])])
    wide = [row for row in tall if stats[row, 2] >= CUTTABLE * height]
    inks = [labels[_window(own[row])] == row for row in wide]
    slant = _slant(labels, stats, tall)
    seams = dict(zip(wide, _seams(inks, height, slant), strict=True))
    atoms = [atom for row in tall for atom in _parted(labels, own[row], row, seams.get(row, []))]
    return _Line(tuple(_in_order([*atoms, *loose])), height, slant)


def _part_skip(tall: Stats, box: Box) -> float:
    """Return the odds for leaving a small part out: high up it is a 5's or a 7's bar, below a dash or a dot."""
    nearest = tall[np.abs(tall[:, 0] + tall[:, 2] / 2 - box[0] - box[2] / 2).argmin()]
    high = box[1] + box[3] / 2 < nearest[1] + BAR * nearest[3]
    return SKIP_BAR if high else SKIP_PART


def _in_order(atoms: Sequence[_Atom]) -> list[_Atom]:
    """Sort components by their middles, their atoms kept together."""
    middles = {}
    for component, group in itertools.groupby(atoms, key=lambda atom: atom.component):
        hull = _hull([atom.box for atom in group])
        middles[component] = hull[0] + hull[2] / 2
    return sorted(atoms, key=lambda atom: (middles[atom.component], atom.component))


def _host(stats: Stats, row: int, tall: Sequence[int], height: float) -> int | None:
    """Return the tall component that a small one is certainly a part of: it stands over or under it."""
    left, top, width, high = stats[row, :4]
    for other in tall:
        start, upper, wide, tallness = stats[other, :4]
        overlap = min(left + width, start + wide) - max(left, start)
        below = top + high / 2 > upper + tallness  # an underline, a comma
        above = upper - (top + high)
        if overlap >= 0.5 * width and not below and above <= GAP * height and width <= wide * 1.2:
            return other
    return None


def _slant(labels: Labels, stats: Stats, tall: Sequence[int]) -> float:
    """Return how far strokes lean to the right, as a tangent: from the second moments of all glyphs."""
    mixed = upright = 0.0
    for row in tall:
        if stats[row, 2] > stats[row, 3]:  # two digits side by side lean nowhere
            continue
        moments = cv2.moments((labels[_window(_box(stats[row]))] == row).astype(np.uint8), binaryImage=True)
        mixed, upright = mixed + moments["mu11"], upright + moments["mu02"]
    return float(np.clip(-mixed / upright, -0.7, 0.7)) if upright else 0.0


def _box(stat: NDArray[np.int32]) -> Box:
    left, top, width, height = (int(value) for value in stat[:4])
    return left, top, width, height


def _window(box: Box) -> tuple[slice, slice]:
    return slice(box[1], box[1] + box[3]), slice(box[0], box[0] + box[2])


# --- cuts ---


def _parted(labels: Labels, box: Box, row: int, seams: Sequence[_Seam]) -> list[_Atom]:
    """Cut one component along `seams`; return its atoms, left to right."""
    if not seams:
        return [_Atom(row, box, row, small=False)]
    ink = labels[_window(box)] == row
    columns = np.arange(ink.shape[1])
    part = np.sum([columns > seam.columns[:, None] for seam in seams], axis=0)
    atoms = []
    for index, cut in enumerate([0.0, *(seam.odds for seam in seams)]):
        own = ink & (part == index)
        if own.any():
            label = _new_label(labels) if atoms else row
            labels[_window(box)][own] = label
            left, top, width, height = cv2.boundingRect(own.astype(np.uint8))
            atoms.append(_Atom(label, (box[0] + left, box[1] + top, width, height), row, small=False, cut=cut))
    return atoms


_FIRST_CUT: Final = 1 << 24  # beyond any component's label: pictures have a million pixels


def _new_label(labels: Labels) -> int:
    return max(_FIRST_CUT, int(labels.max())) + 1


def _seams(inks: Sequence[NDArray[np.bool_]], height: float, slant: float) -> list[list[_Seam]]:
    """Find for each component the cuts, top to bottom, that cross little ink; left to right."""
    if not inks:
        return []
    grids = [_grid(ink, height, slant) for ink in inks]
    paths = _cheapest(np.concatenate([grid.dark for grid in grids], axis=1))
    ends = np.cumsum([grid.dark.shape[1] for grid in grids])[:-1]
    return [_chosen(grid, own) for grid, own in zip(grids, np.split(paths, ends, axis=1), strict=True)]


def _grid(ink: NDArray[np.bool_], height: float, slant: float) -> _Grid:
    """Lay bands along the glyphs' slant over a component that has been brought to SEAM_ROWS rows."""
    scale = SEAM_ROWS / ink.shape[0]
    size = (max(1, round(ink.shape[1] * scale)), SEAM_ROWS)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(ink.astype(np.uint8) * 255, size, interpolation=how) > FAINT
    unit = height * scale
    lean = slant * (np.arange(SEAM_ROWS) - SEAM_ROWS / 2)  # of the glyphs, in each row
    margin = CUT_MARGIN * unit
    starts = np.arange(margin, size[0] - margin + 1e-6, max(1.0, CUT_STEP * unit))
    columns = np.rint(starts[None, :, None] - lean[:, None, None]).astype(np.intp) + _BAND
    inside = (columns >= 0) & (columns < size[0])
    columns = columns.clip(0, size[0] - 1)
    dark = small[np.arange(SEAM_ROWS)[:, None, None], columns] & inside
    wide = size[0] - abs(slant) * SEAM_ROWS >= WIDE * unit
    return _Grid(small, columns, dark, unit, ink.shape[0], wide)


def _cheapest(dark: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each band the place in it of the cheapest path in each row, (rows, bands).

    Args:
        dark: (rows, bands, places), where there is ink.
    """
    rows, bands, width = dark.shape
    aside = np.zeros((rows, bands, width), np.intp)
    here = dark + 0.01 * np.abs(_BAND)  # a straight path, where it costs no more
    padded = np.full((bands, width + 2), np.inf)
    padded[:, 1:-1] = here[0]
    for row in range(1, rows):
        left, cost, right = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
        near = np.minimum(left, right) + SEAM_TURN
        aside[row] = np.where(near < cost, np.where(left < right, -1, 1), 0)
        padded[:, 1:-1] = np.minimum(near, cost) + here[row]
    paths = np.empty((rows, bands), np.intp)
    paths[-1] = padded[:, 1:-1].argmin(axis=1)
    each = np.arange(bands)
    for row in range(rows - 1, 0, -1):
        paths[row - 1] = paths[row] + aside[row, each, paths[row]]
    return paths


def _chosen(grid: _Grid, paths: NDArray[np.intp]) -> list[_Seam]:
    """Choose among one component's paths (rows, bands) those that may part two digits."""
    rows, each = np.arange(SEAM_ROWS)[:, None], np.arange(paths.shape[1])
    crossed = grid.dark[rows, each, paths]
    places = grid.columns[rows, each, paths]
    stroke = _stroke(grid.ink)
    runs = (np.diff(crossed.astype(np.int8), axis=0, prepend=0) > 0).sum(axis=0)
    cost = crossed.sum(axis=0) / stroke
    odds = CUT + CUT_INK * cost + CUT_TWICE * np.maximum(0, runs - 1)
    dearest, crossings = (DEAREST + 1, 2) if grid.wide else (DEAREST, 1)
    good = (cost <= dearest) & (runs <= crossings) & _parts_digits(grid, places, stroke)
    most = max(2, round(CUTS * grid.ink.shape[1] / grid.unit))
    chosen = _apart(np.where(good, -odds, np.inf), places.mean(axis=0), CUT_DISTANCE * grid.unit)
    upright = (np.arange(grid.rows) * SEAM_ROWS // grid.rows).astype(np.intp)
    scale = grid.rows / SEAM_ROWS
    return [
        _Seam(float(odds[index]), (places[upright, index] + 0.5) * scale)
        for index in sorted(chosen[:most], key=lambda index: places[:, index].mean())
    ]


def _parts_digits(grid: _Grid, places: NDArray[np.intp], stroke: float) -> NDArray[np.bool_]:
    """Tell which paths leave on both sides as much ink, and as high, as the least of digits has."""
    before = np.cumsum(grid.ink, axis=1)
    left = before[np.arange(SEAM_ROWS)[:, None], places]  # ink on the path itself goes to the left
    good = np.ones(places.shape[1], np.bool_)
    for side in (left, before[:, -1:] - left):
        inked = side > 0
        high = SEAM_ROWS - inked.argmax(axis=0) - inked[::-1].argmax(axis=0)
        good &= (high >= CUT_HEIGHT * grid.unit) & (side.sum(axis=0) >= CUT_HEIGHT * grid.unit * stroke * 0.8)
    return good


def _stroke(ink: NDArray[np.bool_]) -> float:
    """Return the pen's width in pixels: the shorter of the mean runs of ink, level and upright."""
    level = (np.diff(ink.astype(np.int8), axis=1, prepend=0) > 0).sum()
    upright = (np.diff(ink.astype(np.int8), axis=0, prepend=0) > 0).sum()
    return float(max(1.0, ink.sum() / max(level, upright, 1)))


def _apart(cost: NDArray[np.float64], places: NDArray[np.float64], distance: float) -> list[int]:
    """Return the cheapest first, and of those nearer than `distance` to each other the cheapest alone."""
    chosen: list[int] = []
    for index in np.argsort(cost, kind="stable")[: np.isfinite(cost).sum()]:
        if all(abs(places[index] - places[other]) >= distance for other in chosen):
            chosen.append(int(index))
    return chosen


# --- pieces ---


def _pieces(lines: Sequence[_Line]) -> tuple[list[Piece], bool]:
    """Return all pieces, and whether some had to be left out: those of the most atoms go first."""
    found = [piece for index, line in enumerate(lines) for piece in _of_line(index, line)]
    found.sort(key=lambda piece: piece.end - piece.start)  # a stable sort: reading order stays
    area = np.cumsum([piece.box[2] * piece.box[3] for piece in found])
    most = min(MAX_PIECES, int(np.searchsorted(area, MAX_AREA, side="right")))
    return found[: max(1, most)], most < len(found)


def _of_line(index: int, line: _Line) -> Iterator[Piece]:
    """Yield what may be one digit: up to MAX_ATOMS neighbours, and every component as a whole."""
    for start in range(len(line.atoms)):
        for end in range(start + 1, len(line.atoms) + 1):
            atoms = line.atoms[start:end]
            if not _joinable(atoms, line.height):
                break
            if len(atoms) > MAX_ATOMS and not _is_whole(line, start, end):
                if atoms[0].component != atoms[-1].component:
                    break
                continue
            box = _hull([atom.box for atom in atoms])
            prior = _prior(line, start, end, box)
            if prior is not None:
                yield Piece(index, start, end, box, prior)


def _joinable(atoms: Sequence[_Atom], height: float) -> bool:
    """Tell whether the last of `atoms` may belong to the same digit as those before it."""
    if len(atoms) == 1 or atoms[-1].component == atoms[-2].component:
        return True
    before, last = _hull([atom.box for atom in atoms[:-1]]), atoms[-1].box
    overlap = min(before[0] + before[2], last[0] + last[2]) - max(before[0], last[0])
    if -overlap > GAP * height:
        return False
    full = min(before[3], last[3]) >= 0.75 * height
    return not full or overlap >= 0.4 * min(before[2], last[2])


def _prior(line: _Line, start: int, end: int, box: Box) -> float | None:
    """Return the logarithm of the odds for a piece, by its size and its edges; None: no digit."""
    atoms, height = line.atoms[start:end], line.height
    components = {atom.component for atom in atoms}
    widest = WIDEST if len(components) == 1 else WIDEST_JOINED
    whole = _is_whole(line, start, end)
    if box[3] < TALL * height or (box[2] > widest * height and not whole):
        return None
    prior = max(WORST_HEIGHT, -0.5 * (math.log(box[3] / height) / HEIGHT_SPREAD) ** 2)
    upright = (box[2] - abs(line.slant) * box[3]) / height
    prior -= 0.5 * (math.log(max(1.0, upright / BROAD)) / BROAD_SPREAD) ** 2
    for atom in (atoms[0], *line.atoms[end : end + 1]):  # the cuts on both sides, each shared with a neighbour
        prior += atom.cut / 2
    for before, after in itertools.pairwise(atoms):
        if before.component != after.component:
            gap = after.box[0] - before.box[0] - before.box[2]
            join = JOIN_PART if before.small or after.small else JOIN
            prior += join + JOIN_GAP * max(0, gap) / height
    return prior


def _is_whole(line: _Line, start: int, end: int) -> bool:
    first = start == 0 or line.atoms[start - 1].component != line.atoms[start].component
    return first and (end == len(line.atoms) or line.atoms[end].component != line.atoms[end - 1].component)


def _canonical(sheet: Sheet, labels: Labels, lines: Sequence[_Line], piece: Piece) -> CanonicalPicture | None:
    """Bring one piece into canonical form, by the steps that single digits take."""
    rim = 3 + max(piece.box[2:]) // 64  # room for the soft edge
    left, top = max(0, piece.box[0] - rim), max(0, piece.box[1] - rim)
    window = np.s_[top : piece.box[1] + piece.box[3] + rim, left : piece.box[0] + piece.box[2] + rim]
    wanted = [atom.label for atom in lines[piece.line].atoms[piece.start : piece.end]]
    own = labels[window]
    mask = (own == wanted[0]).astype(np.uint8)
    for label in wanted[1:]:
        mask |= own == label
    part = Sheet(pixels=sheet.pixels[window], threshold=sheet.threshold, mask=mask, box=piece.box)
    # ink of others, next to it, is no soft edge of its own
    pixels = np.where((own > 0) & (mask == 0), 0, part.pixels).astype(np.uint8)
    part = Sheet(pixels=pixels, threshold=sheet.threshold, mask=mask)
    part = Sheet(pixels=_soft(part, mask, length=max(piece.box[2:])), threshold=sheet.threshold)
    if not part.pixels.any():
        return None
    for step in (crop, even_stroke, fit, full_ink, centre):
        part = step(part)
    return part.pixels
