"""Steps about what is on the paper: printed lines go, and the view closes in on the ink."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits import tones
from app.digits.components import label_components
from app.digits.contract import GreyPicture
from app.digits.working_picture import (
    MAX_PART_GAP,
    MAX_SPECK_AREA,
    MIN_CLOSE_UP_CONTRAST,
    SPANNING_SHARE,
    Mask,
    WorkingPicture,
    add_caution,
    crop_to_edges,
    find_border_components,
    find_outer_edges,
    measure_gaps,
)

STRONG: Final = 4.5  # standard deviations of the blurred background: somewhere, ink stands out as much
WEAK: Final = 2.0  # and by so much wherever it hangs together
PALEST: Final = 0.25  # of the strongest ink: what is left of a printed grid is paler
GRAIN: Final = 0.012  # of the digit's length: finer than a third of any pen's width, and noise
LEAST_RULED: Final = 24  # pixels: in smaller pictures a bar of the digit itself spans the width
LEAST_ROOM: Final = 64  # pixels: in smaller pictures nothing is far away
LEAST_RUN: Final = 15  # pixels
COLUMNS: Final = 64  # of the copy in which lines are sought, and more
LEAST_RIDGE: Final = 1.5  # grey levels: along a line the noise averages out
LEANS: Final = tuple(step * 0.015 for step in range(-5, 6))  # slopes that are tried: up to four degrees
PALER: Final = 0.7  # of the strongest ink
AT_BORDER: Final = 0.12  # of the height
AT_END: Final = 0.06  # of the width: a frame's corners
THIN: Final = 0.02  # of the longer side: thicker than that is a pen
LEAST_BEND, BEND = 1.5, 0.02  # pixels, and of its length: a straight line bends no more
CLOSE_UP: Final = 0.4  # of the ink's length: the margin that is kept round it
RIVAL_MASS: Final = 0.2  # of the main ink's mass: as much has another digit


def remove_ruled_lines(sheet: WorkingPicture) -> WorkingPicture:
    """Take out ruled and squared lines and the printed border of a cell; mend the strokes that cross them."""
    if min(sheet.pixels.shape) < LEAST_RULED:
        return sheet
    ink, noise = _ink_and_noise(sheet.small_copy)
    across = _without_lines(sheet.pixels, ink, noise, evened=sheet.is_light_evened)
    if across is not None:
        sheet = dataclasses.replace(sheet, pixels=across)
        ink, noise = _ink_and_noise(sheet.small_copy)
    down = _without_lines(sheet.pixels.T, np.ascontiguousarray(ink.T), noise, evened=sheet.is_light_evened)
    return sheet if down is None else dataclasses.replace(sheet, pixels=np.ascontiguousarray(down.T))


def zoom_to_ink(sheet: WorkingPicture) -> WorkingPicture:
    """Go near to the most prominent ink, so that what follows measures it against its own ground."""
    small = sheet.small_copy
    if min(small.shape) < LEAST_ROOM or not sheet.is_light_evened:
        return sheet
    pieces, mass = _pieces_of_ink(small)
    if not mass.any():
        return sheet
    main = pieces[np.argmax(mass)]
    close = (measure_gaps(pieces, main) <= MAX_PART_GAP * main[2:4].max()) & (
        mass >= MAX_SPECK_AREA * mass.max()
    )
    if (~close & (2 * pieces[:, 3] >= main[3]) & (mass >= RIVAL_MASS * mass.max())).any():
        sheet = add_caution(sheet, "several_digits")
    left, top, right, bottom = find_outer_edges(pieces[close])
    length = max(right - left, bottom - top)
    margin = max(3, round(CLOSE_UP * length))
    scale = max(sheet.pixels.shape) / max(small.shape)
    near = crop_to_edges(
        dataclasses.replace(sheet, is_close_up=True),
        (
            math.floor((left - margin) * scale),
            math.floor((top - margin) * scale),
            math.ceil((right + margin) * scale),
            math.ceil((bottom + margin) * scale),
        ),
    )
    blur = max(0.6, GRAIN * length * scale)
    return dataclasses.replace(near, pixels=cv2.GaussianBlur(near.pixels, (0, 0), blur))


def _pieces_of_ink(small: GreyPicture) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return what hangs together, as rows of OpenCV's stats, and its mass, 0 for noise and intruders."""
    ink, noise = _ink_and_noise(cv2.blur(cv2.blur(small, (3, 3)), (3, 3)))
    palest = PALEST * tones.percentile(tones.histogram(ink), 99.5)
    weak = ink > max(2.0, WEAK * noise, palest)
    labels, stats = label_components(weak.view(np.uint8))
    pieces = stats[1:]
    inked = np.flatnonzero(weak)
    labels_of_ink, depth = labels.ravel()[inked], ink.ravel()[inked]
    strong = labels_of_ink[depth > max(MIN_CLOSE_UP_CONTRAST / 2, STRONG * noise)]
    # little strong ink outweighs much that is weak
    mass = np.bincount(labels_of_ink, depth.astype(np.float64) ** 2, len(stats))[1:].astype(np.float64)
    mass[np.bincount(strong, minlength=len(stats))[1:] == 0] = 0
    mass[find_border_components(labels, pieces, min_contact=0.5)] = 0
    return pieces, mass


def _ink_and_noise(small: GreyPicture) -> tuple[GreyPicture, float]:
    """Return what is darker than the ground, and the ground's standard deviation.

    The deviation is measured on what is lighter than the ground: no ink is there.
    """
    counts = tones.histogram(small)
    ground = int(tones.median(counts))
    lighter = counts[ground + 1 :]
    noise = 0.5
    if lighter.sum() > small.size // 10:
        noise = (tones.median(lighter) + 1) / 0.6745
    return np.asarray(cv2.subtract(np.full_like(small, ground), small), np.uint8), noise


def _without_lines(
    pixels: GreyPicture, ink: GreyPicture, noise: float, *, evened: bool
) -> GreyPicture | None:
    """Erase the lines that run from left to right; None if there are none.

    They are sought in `ink`, a copy, whose columns are averaged: lines are long.
    """
    height, width = ink.shape
    if cv2.boundingRect(ink)[2] < SPANNING_SHARE * width:
        return None  # as in most drawings: nothing is so long
    run = min(max(LEAST_RUN, width // 8), width // 4)
    times = max(1, width // COLUMNS)
    narrow = cv2.resize(
        ink[:, : width // times * times], (width // times, height), interpolation=cv2.INTER_AREA
    )
    lean = _lean(narrow, times)
    upright = _shear(narrow, lean * times)
    lines = _lines(upright, noise, run=run // times, times=times, evened=evened)
    if lines is None:
        return None
    return _erased(pixels, cv2.dilate(_shear(lines, -lean * times), np.ones((3, 1), np.uint8)), noise)


def _erased(pixels: GreyPicture, lines: GreyPicture, noise: float) -> GreyPicture:
    """Put paper where the lines are, and mend the strokes that cross them.

    Args:
        pixels: uint8 (height, width).
        lines: a smaller copy of it, how dark the line is that goes there; 0 where there is none.
        noise: standard deviation of the ground.
    """
    height, width = pixels.shape
    dark = cv2.resize(lines, (width, height), interpolation=cv2.INTER_NEAREST)
    large = (dark > 0).view(np.uint8)
    paper = int(tones.median(tones.histogram(np.ascontiguousarray(pixels))))
    line = (large > 0) & (pixels > paper - 1.5 * dark - 2 * noise)  # darker: the pen
    # dark strokes: opening takes the darker side, over the gap that the line has left
    thickness = int(np.percentile(large.sum(axis=0), 90) / max(1, _runs(large)))
    across = np.ones((min(thickness, height // 6) + 2, 1), np.uint8)
    mended = cv2.morphologyEx(np.where(line, paper, pixels).astype(np.uint8), cv2.MORPH_OPEN, across)
    return np.where(line, mended, pixels).astype(np.uint8)


def _runs(mask: Mask) -> float:
    starts = np.diff(mask, axis=0, prepend=0) == 1
    return float(starts.sum() / mask.shape[1])


def _lean(narrow: GreyPicture, times: int) -> float:
    """Return the slope at which level lines show clearest.

    In pixels per pixel of the picture that `narrow` has `times` as few columns of.
    """
    few = cv2.resize(narrow, (narrow.shape[1] // 4 or 1, narrow.shape[0]), interpolation=cv2.INTER_AREA)
    rows = [cv2.reduce(_shear(few, 4 * times * lean), 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F) for lean in LEANS]
    steps = np.diff(np.concatenate(rows, axis=1), axis=0)
    sharp = np.einsum("ij,ij->j", steps, steps)
    best = int(np.argmax(sharp))
    return LEANS[best] if sharp[best] > 1.1 * sharp[len(LEANS) // 2] else 0.0


def _shear(picture: GreyPicture, lean: float) -> GreyPicture:
    if lean == 0.0:
        return picture
    shift = np.array([[1, 0, 0], [-lean, 1, lean * picture.shape[1] / 2]], np.float32)
    return np.asarray(cv2.warpAffine(picture, shift, picture.shape[::-1], flags=cv2.INTER_NEAREST), np.uint8)


def _lines(ink: GreyPicture, noise: float, *, run: int, times: int, evened: bool) -> GreyPicture | None:
    """Return how dark the printed lines are, level and thin and across nearly the whole picture; else 0.

    A digit's bar can be so, too. A printed line runs along the picture's border from one side to the
    other, or is, under uneven light, paler than the pen or one of several.
    """
    height, width = ink.shape
    level = cv2.boxFilter(ink, cv2.CV_32F, (run, 1))
    # above what the rows around it have: lines of the other direction and shades do not count
    ridge = level - cv2.blur(level, (1, max(9, height // 12)), borderType=cv2.BORDER_REFLECT)
    found = (ridge > max(LEAST_RIDGE, noise / 3)).view(np.uint8)
    joined = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((1, max(3, width // 10)), np.uint8))
    labels, stats = label_components(joined)
    left, top, span, tall, area = stats.T
    thick = max(4.0, THIN * max(height, width * times)) + 2
    lines = (span >= SPANNING_SHARE * width) & (area / span <= thick) & (tall <= 2 * thick)
    if not evened:  # a scan's lines are straight, and the stroke of a 1 in a tight cell is not
        lines &= tall - area / span <= np.maximum(LEAST_BEND, BEND * span * times)
    lines[0] = False
    if not lines.any():
        return None
    tone = np.array(
        [np.median(level[labels == label]) if line else 255.0 for label, line in enumerate(lines)]
    )
    pen = tones.percentile(tones.histogram(ink), 99.5)
    middle = top + tall / 2
    at_border = np.minimum(middle, height - middle) <= AT_BORDER * height
    ends = np.maximum(left, width - left - span) - 1
    printed = lines & at_border & (ends <= AT_END * width)
    if evened and min(ink.shape) >= LEAST_ROOM:
        ruled = lines & (ends <= 2 * AT_END * width)
        printed |= ruled & ((ruled.sum() > 1) | (tone <= PALER * pen))
    return np.where(printed, tone, 0).astype(np.uint8)[labels] if printed.any() else None
