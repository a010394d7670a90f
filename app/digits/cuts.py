"""Finds where touching digits may be parted: paths from top to bottom that cross little ink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

# Shares of a digit's height, unless another unit is given.
WIDE: Final = 0.8  # wider, there are probably two
CUT_MARGIN: Final = 0.15  # nothing narrower is cut off
CUT_DISTANCE: Final = 0.12  # between cuts: nearer ones part the same two digits
DEAREST: Final = 2.0  # strokes' widths of ink that a cut may cross; askew, one stroke is 1.4
DEAREST_WIDE: Final = 3.0  # the same, of what is wide: strokes side by side touch along a stretch
CROSSINGS: Final = 3  # strokes that a cut may cross there: a bar, and where the digits touch
CUTS: Final = 2.5  # for each height of a component's width; of two digits it is 1.4 wide
CUT_STEP: Final = 0.07
CUT_HEIGHT: Final = 0.6  # of what is left on either side of a cut: the least of digits that touch
CUT_AREA: Final = 0.6  # of the ink of a stroke so high, a 1's that is thinner than its neighbour
MOST_CUTS: Final = 64  # of one component: twenty digits that all touch
SEAM_ROWS: Final = 32  # pixels: height at which cuts are sought; a canonical digit has 20
FAINT: Final = 80  # of 255: ink in a pixel of these, thin strokes included
CROSSED: Final = 0.5  # of a pixel that is ink, from which on a cut crosses a stroke there
UPRIGHT_LEAN: Final = 0.12  # tangent; digits that lean more may still touch along an upright stroke
SEAM_TURN: Final = 0.15  # cost of a step aside, in pixels of ink
_BAND: Final = np.arange(-5, 6)  # pixels of these by which a cut may wind to either side

# Weights of evidence, as natural logarithms of odds; chosen on generated numbers of validation pictures.
CUT: Final = -0.15  # for a cut, and
CUT_INK: Final = -0.15  # for each stroke's width of ink that it crosses, and
CUT_TWICE: Final = -2.5  # where it crosses two strokes: through the loop of a 0, 6, 8 or 9


@dataclass(frozen=True, slots=True)
class Seam:
    """One cut through a component."""

    odds: float  # as a logarithm, that two digits touch there
    columns: NDArray[np.float64]  # (rows of the component,)


@dataclass(frozen=True, slots=True)
class _Grid:
    ink: NDArray[np.bool_]  # (SEAM_ROWS, width)
    columns: NDArray[np.intp]  # (SEAM_ROWS, bands, places)
    dark: NDArray[np.float32]  # as `columns`: how much of each pixel is ink
    unit: float  # pixels: a digit's height
    rows: int  # of the component as it came
    wide: bool  # so that there are probably two digits


def seams_of(inks: Sequence[NDArray[np.bool_]], height: float, slant: float) -> list[list[Seam]]:
    """Find for each component the cuts, top to bottom, that cross little ink; left to right."""
    if not inks:
        return []
    grids = [_grid(ink, height, slant) for ink in inks]
    paths = _cheapest(np.concatenate([grid.dark for grid in grids], axis=1))
    ends = np.cumsum([grid.dark.shape[1] for grid in grids])[:-1]
    return [_chosen(grid, own) for grid, own in zip(grids, np.split(paths, ends, axis=1), strict=True)]


def _grid(ink: NDArray[np.bool_], height: float, slant: float) -> _Grid:
    scale = SEAM_ROWS / ink.shape[0]
    size = (max(1, round(ink.shape[1] * scale)), SEAM_ROWS)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    covered = cv2.resize(ink.astype(np.uint8) * 255, size, interpolation=how)
    unit = height * scale
    lean = slant * (np.arange(SEAM_ROWS) - SEAM_ROWS / 2)  # of the glyphs, in each row
    margin = CUT_MARGIN * unit
    starts = np.arange(margin, size[0] - margin + 1e-6, max(1.0, CUT_STEP * unit))
    leans = [lean, 0 * lean] if abs(slant) > UPRIGHT_LEAN else [lean]
    bands = np.concatenate([starts - own[:, None] for own in leans], axis=1)
    columns = np.rint(bands)[..., None].astype(np.intp) + _BAND
    inside = (columns >= 0) & (columns < size[0])
    columns = columns.clip(0, size[0] - 1)
    dark = covered[np.arange(SEAM_ROWS)[:, None, None], columns] * inside * np.float32(1 / 255)
    wide = size[0] - abs(slant) * SEAM_ROWS >= WIDE * unit
    return _Grid(covered > FAINT, columns, dark, unit, ink.shape[0], wide)


def _cheapest(dark: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return for each band the place in it of the cheapest path in each row, (rows, bands).

    Args:
        dark: (rows, bands, places), how much of each pixel is ink.
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


def _chosen(grid: _Grid, paths: NDArray[np.intp]) -> list[Seam]:
    """Choose among one component's paths (rows, bands) those that may part two digits."""
    rows, each = np.arange(SEAM_ROWS)[:, None], np.arange(paths.shape[1])
    ink = grid.dark[rows, each, paths]
    crossed = ink > CROSSED
    places = grid.columns[rows, each, paths]
    stroke = _stroke(grid.ink)
    runs = (np.diff(crossed.astype(np.int8), axis=0, prepend=0) > 0).sum(axis=0)
    cost = ink.sum(axis=0) / stroke
    odds = CUT + CUT_INK * cost + CUT_TWICE * np.maximum(0, runs - 1)
    dearest, crossings = (DEAREST_WIDE, CROSSINGS) if grid.wide else (DEAREST, 1)
    good = (cost <= dearest) & (runs <= crossings) & _parts_digits(grid, places, stroke)
    most = min(MOST_CUTS, max(2, round(CUTS * grid.ink.shape[1] / grid.unit)))
    chosen = _apart(np.where(good, -odds, np.inf), places.mean(axis=0), CUT_DISTANCE * grid.unit, most)
    upright = np.arange(grid.rows) * SEAM_ROWS // grid.rows
    scale = grid.rows / SEAM_ROWS
    return [
        Seam(float(odds[index]), (places[upright, index] + 0.5) * scale)
        for index in sorted(chosen, key=lambda index: places[:, index].mean())
    ]


def _parts_digits(grid: _Grid, places: NDArray[np.intp], stroke: float) -> NDArray[np.bool_]:
    """Tell which paths leave on both sides as much ink, and as high, as the least of digits has."""
    before = np.cumsum(grid.ink, axis=1)
    left = before[np.arange(SEAM_ROWS)[:, None], places]  # ink on the path itself goes to the left
    good = np.ones(places.shape[1], np.bool_)
    for side in (left, before[:, -1:] - left):
        inked = side > 0
        high = SEAM_ROWS - inked.argmax(axis=0) - inked[::-1].argmax(axis=0)
        least = CUT_HEIGHT * grid.unit
        good &= (high >= least) & (side.sum(axis=0) >= least * stroke * CUT_AREA)
    return good


def _stroke(ink: NDArray[np.bool_]) -> float:
    level = (np.diff(ink.astype(np.int8), axis=1, prepend=0) > 0).sum()
    upright = (np.diff(ink.astype(np.int8), axis=0, prepend=0) > 0).sum()
    return float(max(1.0, ink.sum() / max(level, upright, 1)))


def _apart(cost: NDArray[np.float64], places: NDArray[np.float64], distance: float, most: int) -> list[int]:
    """Return up to `most`, the cheapest first; of those nearer than `distance` to each other one."""
    chosen: list[int] = []
    for index in np.argsort(cost, kind="stable")[: np.isfinite(cost).sum()]:
        if len(chosen) == most:
            break
        if all(abs(places[index] - places[other]) >= distance for other in chosen):
            chosen.append(int(index))
    return chosen
