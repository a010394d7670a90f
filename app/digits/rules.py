"""Finds what is drawn to write on or in: ruled lines, underlines, grids, boxes, frames."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.components import (
    Labels,
    Stats,
    estimate_text_height,
    label_components,
    read_box,
    slice_box,
)
from app.digits.working_picture import Mask, WorkingPicture

# Shares of a digit's height, unless another unit is given.
RULE: Final = 2.5  # length of a straight, thin stroke that is a ruled line, not a 7's or a 2's bar
UPRIGHT_RULE: Final = 1.5  # the same, upright; a 1 is 1.0
RULE_THICKNESS: Final = 0.16
CELL: Final = 0.8  # of the distance between two rules: what reaches that far is a cell's wall, no 1
DEEPER: Final = 1.5  # times a rule's own thickness: a stroke lies along it
STRAIGHT: Final = 0.9  # of a rule's ink that lies along a straight line
STEEPEST: Final = 0.2  # slope of a rule: 11 degrees
FRAME_COVER: Final = 0.85  # of each side of its bounding box that a frame's ink lies along
FRAME_BAND: Final = 0.08  # of its length: as far from the side
FRAME_INK: Final = 0.35  # of its bounding box that a frame or a grid fills at most; digits fill more
FRAMED_HEIGHT: Final = 0.25  # of a frame's height, from which on something in it is framed
MAX_RULED: Final = 24  # components searched for rules; a page has one grid, or as many boxes


def remove_rules(sheet: WorkingPicture) -> WorkingPicture:
    """Take ruled lines, grids and frames out of the ink."""
    labels, stats = label_components(sheet.mask)
    ruled = np.zeros_like(sheet.mask)
    suspects, height = _suspects(labels, stats[1:])
    for row in suspects:
        window = slice_box(read_box(stats[row + 1]))
        own = (labels[window] == row + 1).astype(np.uint8)
        ruled[window] |= _rules(own, height)
    if not ruled.any():
        return sheet
    pixels = np.where(ruled, 0, sheet.pixels).astype(np.uint8)
    return dataclasses.replace(sheet, pixels=pixels, mask=sheet.mask & (1 - ruled))


def _suspects(labels: Labels, pieces: Stats) -> tuple[NDArray[np.intp], float]:
    framing = _framing(pieces)
    height = estimate_text_height(pieces[~framing] if not framing.all() else pieces)
    suspects = framing | (pieces[:, 2] > RULE * height) | (pieces[:, 3] > UPRIGHT_RULE * height)
    rows = np.flatnonzero(suspects | _framed(labels, pieces, height))
    return rows[np.argsort(-pieces[rows, 4])][:MAX_RULED], height


def _framing(pieces: Stats) -> NDArray[np.bool_]:
    found = np.zeros(len(pieces), np.bool_)
    largest = np.argsort(-pieces[:, 2] * pieces[:, 3])[:MAX_RULED]
    middle = pieces[:, :2] + pieces[:, 2:4] / 2
    for row in largest:
        left, top, width, height, area = pieces[row]
        inside = (np.abs(middle - (left + width / 2, top + height / 2)) < (width / 2, height / 2)).all(axis=1)
        inside &= (pieces[:, 3] >= FRAMED_HEIGHT * height) | (pieces[:, 4] >= area / 12)
        inside[row] = False
        found[row] = inside.any() and area < FRAME_INK * width * height
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
    level = (own[:down].any(axis=0), own[-down:].any(axis=0))
    upright = (own[:, :across].any(axis=1), own[:, -across:].any(axis=1))
    return all(side.mean() >= FRAME_COVER for side in (*level, *upright))


def _rules(own: Mask, height: float) -> Mask:
    framed = _is_frame(own > 0)
    length = min(RULE * height, 0.75 * own.shape[1]) if framed else RULE * height
    level, places = _straight(own, length=length, height=height)
    upright = UPRIGHT_RULE * height
    gaps = [gap for gap in np.diff(sorted(places)) if gap > 0.8 * height]
    if gaps:
        upright = min(upright, CELL * min(gaps))
    rest = cv2.subtract(own, level)
    walls, _ = _straight(np.ascontiguousarray(rest.T), length=upright, height=height)
    rules: Mask = cv2.max(level, np.ascontiguousarray(walls.T))
    return rules


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
    long = np.flatnonzero(stats[1:, 2] >= length) + 1
    for row in long[np.argsort(-stats[long, 2])][:MAX_RULED]:
        window = slice_box(read_box(stats[row]))
        line = _through((labels[window] == row) & (thin[window] > 0), length=length, thickness=thickness)
        if line is not None:
            found[window] |= _along(thin[window], line, reach=thickness / 2 + 1)
            places.append(float(stats[row, 1] + line[0] * stats[row, 2] / 2 + line[1]))
    return found, places


def _along(thin: Mask, line: tuple[float, float], *, reach: float) -> Mask:
    """Return what of `thin` lies along a line, but for columns where a digit's stroke lies along it, too."""
    rows, columns = np.ogrid[: thin.shape[0], : thin.shape[1]]
    near = thin * (np.abs(rows - (line[0] * columns + line[1])) <= reach)
    depth = near.sum(axis=0)
    usual = float(np.median(depth[depth > 0]))
    rule: Mask = (near * (depth <= DEEPER * usual + 1)).astype(np.uint8)
    return rule


def _through(own: NDArray[np.bool_], *, length: float, thickness: int) -> tuple[float, float] | None:
    """Return slope and start of the straight line through a rule; None: it is not straight."""
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
