"""Ink → lines of atoms → pieces: everything on a page that may be one digit.

An *atom* is ink that is never parted: a connected component, or what lies between two cuts of one. A
*piece* is one or several neighbouring atoms, taken for one digit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.components import Labels, Stats, enclose_boxes, estimate_text_height, read_box, slice_box
from app.digits.cuts import Seam, seams_of
from app.digits.images import Box

# Shares of a digit's height, unless another unit is given.
TALL: Final = 0.45  # from here on a component may be a digit; below, it is a part, a dot or a dash
TALLEST: Final = 2.2  # beyond, it is a bracket, a frame or a drawing
DUST: Final = 0.07  # smaller in both directions: dust
SAME_LINE: Final = 0.6  # vertical distance of neighbours' middles; lines are 1.2 apart and more
WIDEST: Final = 1.4  # of one digit; MNIST's widest are 1.1, slanted and flat ones more
WIDEST_JOINED: Final = 1.1  # of a digit joined from parts
GAP: Final = 0.25  # between parts of one digit
CUTTABLE: Final = 0.45  # narrower, two digits do not fit in
DASH: Final = 4.0  # width / height from which on ink is a dash, however high
MAX_COMPONENTS: Final = 400  # a page's digits and dots; of a print the smallest are left out first
MAX_LINES: Final = 48  # of a page; where there are more, those with the fewest glyphs are left out
FIRST_CUT: Final = 1 << 24  # labels of what is cut: beyond those of components, at most a million
LABELS: Final = 1 << 7  # kept for the parts of one component; `cuts` makes 64 cuts at most
MAX_ATOMS: Final = 4  # of one piece: a digit cut at three wrong places
MAX_PIECES: Final = 384  # about 80 ms of the served network: fifty digits, each with seven ways to read it
MAX_AREA: Final = 4_000_000  # pixels of all pieces: a page full of digits, each with four ways to read it

# Weights of evidence, as natural logarithms of odds; chosen on generated numbers of validation pictures.
JOIN: Final = -2.0  # for joining what does not touch, and
JOIN_PART: Final = -0.8  # the same, where one is too small to be a digit, and
JOIN_GAP: Final = -2.5  # for each height of the gap
HEIGHT_SPREAD: Final = 0.2  # standard deviation of a digit's height around its line's, as a logarithm
WORST_HEIGHT: Final = -4.0
BROAD: Final = 0.85  # width of a digit, slant removed; beyond it digits become rare
BROAD_SPREAD: Final = 0.2  # standard deviation beyond, as a logarithm
SKIP_DIGIT: Final = -9.5  # for leaving out ink as tall as a digit
SKIP_PART: Final = -0.3  # for leaving out a dot, a dash or a comma


@dataclass(frozen=True, slots=True)
class Piece:
    """What may be one digit: the atoms from `start` up to `end` of a line."""

    line: int
    start: int
    end: int
    box: Box
    prior: float  # logarithm of odds, from height, cuts and gaps


@dataclass(slots=True)
class Atom:
    """Ink that is never parted. `label` marks it among the page's labels."""

    label: int
    box: Box
    component: int
    small: bool
    skip: float = SKIP_DIGIT  # logarithm of odds for its being no part of any digit
    cut: float = 0.0  # logarithm of odds for the cut on its left, 0 at a component's own edge


@dataclass(frozen=True, slots=True)
class Line:
    """Atoms from left to right, those of a component together."""

    atoms: tuple[Atom, ...]
    height: float  # pixels: its digits' median
    slant: float  # how far strokes lean to the right, as a tangent


def lines_of(labels: Labels, stats: Stats) -> tuple[list[Line], bool]:
    """Put the ink in order: lines from top to bottom, each line's atoms left to right; and tell of too much.

    Args:
        labels: of the connected components; changed to those of the atoms.
        stats: of the components, the ground first.
    """
    if len(stats) == 1:
        return [], False
    height = estimate_text_height(stats[1:])
    sides = stats[1:, 2:4].max(axis=1)
    kept = np.flatnonzero((sides >= max(2, DUST * height)) & (stats[1:, 3] <= TALLEST * height)) + 1
    crowded = len(kept) > MAX_COMPONENTS
    kept = kept[np.argsort(-stats[kept, 4], kind="stable")][:MAX_COMPONENTS]
    tall = [row for row in kept.tolist() if stats[row, 3] >= TALL * height and not _is_dash(stats[row])]
    small = sorted(set(kept.tolist()) - set(tall))
    rows = _rows(stats, tall, height)
    if len(rows) > MAX_LINES:
        crowded = True
        longest = sorted(range(len(rows)), key=lambda line: -len(rows[line]))[:MAX_LINES]
        rows = [rows[line] for line in sorted(longest)]
    parts = _shared_out(stats, small, rows, height)
    lines = [_line(labels, stats, row, part) for row, part in zip(rows, parts, strict=True)]
    return lines, crowded


def _is_dash(stat: NDArray[np.int32]) -> bool:
    return bool(stat[2] > DASH * stat[3])


def _rows(stats: Stats, tall: Sequence[int], height: float) -> list[list[int]]:
    """Part the tall components in lines: each, left to right, goes where its neighbour is level with it."""
    rows: list[list[int]] = []
    level: list[float] = []  # of each line's last three
    middle = (stats[:, 1] + stats[:, 3] / 2).tolist()
    for row in sorted(tall, key=lambda row: int(2 * stats[row, 0] + stats[row, 2])):
        off = [abs(middle[row] - y) for y in level]
        line = off.index(min(off)) if off and min(off) <= SAME_LINE * height else len(rows)
        if line == len(rows):
            rows.append([])
            level.append(0.0)
        rows[line].append(row)
        last = rows[line][-3:]
        level[line] = sum(middle[other] for other in last) / len(last)
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


def _line(labels: Labels, stats: Stats, tall: Sequence[int], small: Sequence[int]) -> Line:
    """Make the atoms of one line; `labels` is changed where components are cut or joined."""
    height = float(np.median(stats[list(tall), 3]))
    slant = _slant(labels, stats, tall)
    boxes = {row: read_box(stats[row]) for row in tall}
    loose = []
    for row in small:
        host, box = _host(stats, row, tall, height), read_box(stats[row])
        if host is None:
            loose.append(Atom(row, box, row, small=True, skip=SKIP_PART))
        else:
            labels[slice_box(box)][labels[slice_box(box)] == row] = host
            boxes[host] = enclose_boxes([boxes[host], box])
    wide = [row for row in tall if stats[row, 2] >= CUTTABLE * height]
    inks = [labels[slice_box(boxes[row])] == row for row in wide]
    seams = dict(zip(wide, seams_of(inks, height, slant), strict=True))
    parts = [atom for row in tall for atom in _parted(labels, boxes[row], row, seams.get(row, []))]
    return Line(tuple(_in_order([*parts, *loose])), height, slant)


def _in_order(atoms: Sequence[Atom]) -> list[Atom]:
    middles = {}
    for component, group in itertools.groupby(atoms, key=lambda atom: atom.component):
        box = enclose_boxes([atom.box for atom in group])
        middles[component] = box[0] + box[2] / 2
    return sorted(atoms, key=lambda atom: (middles[atom.component], atom.component))


def _host(stats: Stats, row: int, tall: Sequence[int], height: float) -> int | None:
    """Return the tall component that a small one is certainly a part of: it stands on it, or in it."""
    left, top, width, high = stats[row, :4]
    others = stats[list(tall)]
    ends = np.minimum(left + width, others[:, 0] + others[:, 2])
    overlap = ends - np.maximum(left, others[:, 0])
    below = top + high / 2 > others[:, 1] + others[:, 3]  # an underline, a comma
    near = others[:, 1] - (top + high) <= GAP * height
    fits = (overlap >= 0.5 * width) & (width <= 1.2 * others[:, 2])
    hosts = np.flatnonzero(fits & near & ~below)
    return tall[int(hosts[0])] if hosts.size else None


def _slant(labels: Labels, stats: Stats, tall: Sequence[int]) -> float:
    mixed = upright = 0.0
    for row in tall:
        if stats[row, 2] > stats[row, 3]:  # two digits side by side lean nowhere
            continue
        moments = cv2.moments(
            (labels[slice_box(read_box(stats[row]))] == row).astype(np.uint8), binaryImage=True
        )
        mixed, upright = mixed + moments["mu11"], upright + moments["mu02"]
    return float(np.clip(-mixed / upright, -0.7, 0.7)) if upright else 0.0


def _parted(labels: Labels, box: Box, row: int, seams: Sequence[Seam]) -> list[Atom]:
    if not seams:
        return [Atom(row, box, row, small=False)]
    ink = labels[slice_box(box)] == row
    columns = np.arange(ink.shape[1])
    part = np.sum([columns > seam.columns[:, None] for seam in seams], axis=0)
    atoms: list[Atom] = []
    for index, cut in enumerate([0.0, *(seam.odds for seam in seams)]):
        own = ink & (part == index)
        if own.any():
            label = FIRST_CUT + row * LABELS + index if atoms else row
            labels[slice_box(box)][own] = label
            left, top, width, height = cv2.boundingRect(own.astype(np.uint8))
            atoms.append(Atom(label, (box[0] + left, box[1] + top, width, height), row, small=False, cut=cut))
    return atoms


def pieces_of(lines: Sequence[Line]) -> tuple[list[Piece], bool]:
    """Return all pieces, and whether some had to be left out: those of the most atoms go first."""
    found = [piece for index, line in enumerate(lines) for piece in _of_line(index, line)]
    found.sort(key=lambda piece: piece.end - piece.start)  # a stable sort: reading order stays
    area = np.cumsum([piece.box[2] * piece.box[3] for piece in found])
    most = min(MAX_PIECES, int(np.searchsorted(area, MAX_AREA, side="right")))
    return found[: max(1, most)], most < len(found)


def _of_line(index: int, line: Line) -> Iterator[Piece]:
    """Yield what may be one digit: up to MAX_ATOMS neighbours, and every component as a whole."""
    atoms = line.atoms
    for start, first in enumerate(atoms):
        box = first.box
        for end in range(start + 1, len(atoms) + 1):
            last = atoms[end - 1]
            if last is not first:
                if not _joinable(box, atoms[end - 2], last, line.height):
                    break
                box = enclose_boxes((box, last.box))
            if end - start > MAX_ATOMS and not _is_whole(line, start, end):
                if last.component != first.component or not _opens(line, start):
                    break
                continue
            prior = _prior(line, start, end, box)
            if prior is not None:
                yield Piece(index, start, end, box, prior)


def _joinable(box: Box, before: Atom, last: Atom, height: float) -> bool:
    """Tell whether `last` may be of one digit with the atoms that end with `before` and fill `box`."""
    if last.component == before.component:
        return True
    overlap = min(box[0] + box[2], last.box[0] + last.box[2]) - max(box[0], last.box[0])
    if -overlap > GAP * height:
        return False
    full = min(box[3], last.box[3]) >= 0.75 * height
    return not full or overlap >= 0.4 * min(box[2], last.box[2])


def _prior(line: Line, start: int, end: int, box: Box) -> float | None:
    """Return the logarithm of the odds for a piece, by its size and its edges; None: no digit."""
    atoms, height = line.atoms[start:end], line.height
    single = len({atom.component for atom in atoms}) == 1
    wide = box[2] > (WIDEST if single else WIDEST_JOINED) * height
    if box[3] < TALL * height or (wide and not (single and _is_whole(line, start, end))):
        return None
    upright = (box[2] - abs(line.slant) * box[3]) / height
    prior = max(WORST_HEIGHT, -0.5 * (math.log(box[3] / height) / HEIGHT_SPREAD) ** 2)
    prior -= 0.5 * (math.log(max(1.0, upright / BROAD)) / BROAD_SPREAD) ** 2
    edges = (atoms[0], *line.atoms[end : end + 1])  # a cut's odds are shared by what is on its two sides
    prior += sum(atom.cut for atom in edges) / 2
    return prior + sum(_join(before, after, height) for before, after in itertools.pairwise(atoms))


def _join(before: Atom, after: Atom, height: float) -> float:
    if before.component == after.component:
        return 0.0
    gap = max(0, after.box[0] - before.box[0] - before.box[2])
    return (JOIN_PART if before.small or after.small else JOIN) + JOIN_GAP * gap / height


def _is_whole(line: Line, start: int, end: int) -> bool:
    return _opens(line, start) and (end == len(line.atoms) or _opens(line, end))


def _opens(line: Line, index: int) -> bool:
    return index == 0 or line.atoms[index - 1].component != line.atoms[index].component
