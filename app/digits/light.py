"""Steps about light and ground: after them ink is dark and its paper even."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import cv2
import numpy as np

from app.digits import tones
from app.digits.components import labelled
from app.digits.contract import GreyPicture
from app.digits.images import MIN_SIDE
from app.digits.sheet import EVEN_SPREAD, PAGE, SPANNING, Mask, Sheet, intruders, is_even

BAND: Final = 96  # grey levels between two grounds in one picture
THROUGHOUT: Final = 0.75  # of its length a band's edge is seen; ink that crosses it is half grey
ALIKE: Final = 0.9  # of the columns that have the same ground above and below
FRAME_SPREAD: Final = 32  # grey levels: the frame's soft edge belongs to it
FRAME_WIDTH: Final = 0.15  # of the shorter side; wider, it is a digit's own ground
RECTANGLE: Final = 0.95  # of its bounding box that a framed area fills
EVEN_PAPER: Final = 224  # grey level of evened paper: its grain needs room above it, or noise looks like ink
FEW_PIXELS: Final = 64  # of the longer side: a thumbnail, where a stroke is a tenth of the picture
SHEET: Final = (0.12, 0.95)  # of the picture that paper on a desk takes
RECTANGULAR: Final = 0.9  # of its tilted bounding box that a sheet of paper fills
OTHER_GROUND: Final = 24  # grey levels between a sheet and what it lies on; a frame has paper on both sides
SHARP: Final = 0.6  # of the step from desk to paper is seen right at the edge
INKED: Final = (0.002, 0.25)  # of the picture that the ink on it takes
LEAST_INK: Final = 16  # grey levels
_PEN: Final = np.ones((9, 9), np.uint8)  # pixels of the thumbnail: wider than any
STRUCK: Final = 64  # grey levels between a dead pixel and the median of its surroundings
DOT: Final = 5  # pixels that hang together: more are a stroke
STORM: Final = 0.02  # of all pixels: fewer are dust
STRONG_INK: Final = 64  # grey levels: where ink is paler, the light's slope counts against it
TWO_TONES: Final = 0.8  # of the variance lies between dark and light (Otsu's measure); 1 is black on white
BLACK_ON_WHITE: Final = 0.95  # the same: a drawing, or a scan in two tones
STROKE_WIDTH: Final = 0.33  # of the longer side
WIDER: Final = 1.5  # so many times than the strokes is the ground
CLEARLY_EVEN: Final = 0.75  # of the border is of one tone: in a corner of it the light may be another
DECIDED: Final = 0.3  # of 1: so clearly dark or light is what stands out
DECIDED_THIN: Final = 0.15  # the same by two measures together


def is_plain(sheet: Sheet) -> bool:
    """Tell whether strong ink stands on a ground of one tone, away from the border and in few places.

    Most drawings do. There are then no bands, no frame, no desk, no shadows and no ruled lines.
    """
    small = sheet.thumbnail
    edge = np.flatnonzero(tones.border(small, rim=1))
    low, high, *_ = cv2.minMaxLoc(small)
    if edge[-1] - edge[0] > EVEN_SPREAD or max(edge[0] - low, high - edge[-1]) < STRONG_INK:
        return False
    ground = cv2.inRange(small, int(edge[0]), int(edge[-1]))
    _, _, width, height = cv2.boundingRect(255 - ground)
    filled = 1 - cv2.countNonZero(ground) / ground.size
    return bool(filled < SHEET[0] and max(width / small.shape[1], height / small.shape[0]) < SPANNING)


def unspeckled(sheet: Sheet) -> Sheet:
    """Take out dead pixels, strewn over a small picture as bad lines and bad sensors leave them.

    In a larger one they are averaged out, or too small for a piece of the digit.
    """
    pixels = sheet.pixels
    if max(pixels.shape) > PAGE:
        return sheet
    quiet = cv2.medianBlur(pixels, 3)
    struck = (cv2.absdiff(pixels, quiet) > STRUCK).view(np.uint8)
    if cv2.countNonZero(struck) < STORM * struck.size:
        return sheet
    labels, stats = labelled(struck)
    dots = (stats[:, cv2.CC_STAT_AREA] <= DOT)[labels]
    top, left = (math.ceil(side / 4) for side in pixels.shape)
    corners = (dots[rows, columns] for rows in np.s_[:top, -top:] for columns in np.s_[:left, -left:])
    if dots.mean() < STORM or not all(corner.any() for corner in corners):
        return sheet  # dust, or a digit of dots
    return dataclasses.replace(sheet, pixels=np.where(dots, quiet, pixels))


def unbanded(sheet: Sheet) -> Sheet:
    """Even out bands of another ground that run through the whole picture, as bad scans leave them."""
    pixels = _without_bands(sheet.pixels)
    if pixels is None:
        pixels = _without_bands(sheet.pixels.T)
        pixels = None if pixels is None else np.ascontiguousarray(pixels.T)
    return sheet if pixels is None else dataclasses.replace(sheet, pixels=pixels)


def unframed(sheet: Sheet) -> Sheet:
    """Cut off a frame: an even, thin border round a rectangle of another tone."""
    small = sheet.thumbnail
    edge = tones.border(small, rim=1)
    if not is_even(edge):
        return sheet
    tone = tones.median(edge)
    frame = cv2.inRange(small, math.ceil(tone - FRAME_SPREAD), math.floor(tone + FRAME_SPREAD))
    _, labels = cv2.connectedComponents(frame, connectivity=4)
    inside = labels != labels[0, 0]
    left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
    margins = (left, top, small.shape[1] - left - width, small.shape[0] - top - height)
    thin = max(margins) <= FRAME_WIDTH * min(small.shape)
    if not inside.any() or not thin or inside.sum() < RECTANGLE * width * height:
        return sheet
    scale = max(sheet.pixels.shape) / max(small.shape)
    x, y = math.ceil((left + 1) * scale), math.ceil((top + 1) * scale)  # a pixel more: the frame's soft edge
    right, bottom = math.floor((left + width - 1) * scale), math.floor((top + height - 1) * scale)
    rest = sheet.pixels[y:bottom, x:right]
    if min(right - x, bottom - y) < MIN_SIDE or np.ptp(rest) <= FRAME_SPREAD:
        return sheet  # nothing is framed, or a bar fills its paper: a 1
    return dataclasses.replace(sheet, pixels=rest, offset=(x, y))


def on_paper(sheet: Sheet) -> Sheet:
    """Let a sheet of paper or a label that lies on another ground, a desk, fill the picture."""
    small = sheet.thumbnail
    if min(small.shape) < FEW_PIXELS:
        return sheet
    soft = cv2.blur(small, (3, 3))
    _, light = cv2.threshold(soft, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    for ground, without_ink in ((light, cv2.MORPH_CLOSE), (1 - light, cv2.MORPH_OPEN)):
        paper = _lying(ground, soft)
        if paper is None:
            continue
        tones = _continued(cv2.morphologyEx(soft, without_ink, _PEN), paper)
        if not _is_written_on(np.where(paper > 0, soft, tones), paper):
            continue
        shape = sheet.pixels.shape[::-1]
        kept = cv2.resize(paper, shape, interpolation=cv2.INTER_NEAREST) > 0
        tones = cv2.resize(tones, shape, interpolation=cv2.INTER_LINEAR)
        return dataclasses.replace(sheet, pixels=np.where(kept, sheet.pixels, tones))
    return sheet


def dark_on_light(sheet: Sheet) -> Sheet:
    """Invert a picture whose ink is lighter than its ground.

    Ink is what deviates strongly from the ground in few places: cubing the deviations lets few
    strong ones outweigh many weak ones.
    """
    small = sheet.thumbnail
    rim = tones.border(small, rim=max(1, min(small.shape) // 8))  # wider than a printed frame
    even = is_even(rim, share=CLEARLY_EVEN) or (is_even(rim) and _two_tones(small)[0] > BLACK_ON_WHITE)
    if even:
        lean = _lightness(small, ground=tones.median(rim))
    else:
        lean = _stroked_lightness(small) or _local_lightness(small)
    if (lean > 0) == sheet.turned:
        return sheet
    return dataclasses.replace(sheet, pixels=255 - sheet.pixels, polarity="light_on_dark")


def even_light(sheet: Sheet) -> Sheet:
    """Divide by the light on the paper: the picture with its strokes closed.

    Closing fills what is narrower than the square, and leaves the edge of a shadow where it is.
    """
    small = sheet.page
    if is_flat(small):
        return sheet  # a scan or a drawing: ink as bold as it likes
    light = _closed(cv2.blur(sheet.thumbnail, (3, 3)))
    if max(small.shape) < FEW_PIXELS:
        light = cv2.blur(light, (9, 9))  # there is no more of a shadow's edge than of the noise
    else:
        light = cv2.erode(light, np.ones((3, 3), np.uint8))  # a halo, but no rim
    light = cv2.resize(light, sheet.pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return dataclasses.replace(sheet, pixels=cv2.divide(sheet.pixels, light, scale=EVEN_PAPER), evened=True)


def _without_bands(pixels: GreyPicture) -> GreyPicture | None:
    """Subtract the ground that a column has at both its ends, where columns differ in it strongly."""
    top, bottom = pixels[0].astype(np.float32), pixels[-1].astype(np.float32)
    ground = (top + bottom) / 2
    if np.ptp(ground) < BAND or (np.abs(top - bottom) <= BAND / 4).mean() < ALIKE:
        return None
    edges = np.flatnonzero(np.abs(np.diff(ground)) >= BAND / 2)
    steps = np.abs(np.diff(pixels.astype(np.int16), axis=1)[:, edges]) >= BAND / 4
    if not edges.size or steps.mean(axis=0).min() < THROUGHOUT:  # ink that ends at the border, or a slope
        return None
    ink = cv2.absdiff(pixels, np.tile(np.rint(ground).astype(np.uint8), (pixels.shape[0], 1)))
    return 255 - ink if ink.max() >= BAND else None  # else the bands are all there is: a bar, a 1


def _lying(ground: Mask, soft: GreyPicture) -> Mask | None:
    """Return the largest area of a ground, what it encloses included, if it may be a sheet of paper.

    That is a large rectangle, a little tilted or cut by the border, with a sharp edge: a slope of the light
    has none. So may a letter's own bold stroke be.
    """
    outlines, _ = cv2.findContours(ground, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    outline = max(outlines, key=cv2.contourArea)
    whole = cv2.drawContours(np.zeros_like(ground), [outline], 0, 1, cv2.FILLED)
    area = cv2.countNonZero(whole)
    _, (width, height), _ = cv2.minAreaRect(outline)
    if not SHEET[0] <= area / whole.size <= SHEET[1] or area < RECTANGULAR * (width + 1) * (height + 1):
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - whole, connectivity=4)
    along = np.concatenate(([False], intruders(labels, stats[1:])))[labels]  # ink ends at the border
    desk = cv2.morphologyEx(along.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if not desk.any():
        return None
    paper = 1 - cv2.dilate(desk, np.ones((5, 5), np.uint8))  # its edge is blurred
    beside = paper & cv2.dilate(desk, np.ones((13, 13), np.uint8))
    rim = desk & cv2.dilate(1 - desk, np.ones((9, 9), np.uint8))
    tones = [float(np.median(soft[part > 0])) for part in (paper, desk, beside, rim) if part.any()]
    if len(tones) < 4:  # noqa: PLR2004
        return None
    apart, at_edge = abs(tones[0] - tones[1]), abs(tones[2] - tones[3])
    if apart < OTHER_GROUND or at_edge < SHARP * apart:
        return None
    return np.asarray(paper, np.uint8)


def _continued(light: GreyPicture, paper: Mask) -> GreyPicture:
    """Give what lies beyond the paper the tone of the paper's nearest point."""
    _, nearest = cv2.distanceTransformWithLabels(1 - paper, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tones = np.zeros(nearest.max() + 1, np.uint8)
    tones[nearest[paper > 0]] = light[paper > 0]
    return np.asarray(cv2.blur(tones[nearest], (5, 5)), np.uint8)


def _is_written_on(picture: GreyPicture, paper: Mask) -> bool:
    """Tell whether there is ink in few places: the inside of a letter is empty, or nearly all ink.

    The paper's edge does not count, because the edge of a bold 1 that looks like a sheet is uneven.
    """
    ink = cv2.absdiff(picture, cv2.medianBlur(picture, len(picture) // 3 | 1)) > LEAST_INK
    inner = cv2.erode(paper, _PEN, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    return bool(INKED[0] <= (ink & inner).mean() <= INKED[1])


def _lightness(small: GreyPicture, *, ground: float) -> float:
    """Return from -1, where what stands out is dark, to 1, where it is light."""
    cubes = tones.histogram(small) * (tones.LEVELS - ground) ** 3
    return float(cubes.sum() / max(float(np.abs(cubes).sum()), 1.0))


def _outweighs(light: GreyPicture, dark: GreyPicture) -> float:
    """Return the same, of how much lighter and how much darker each pixel is."""
    more, less = (float(tones.histogram(part) @ tones.CUBES) for part in (light, dark))
    return (more - less) / max(more + less, 1.0)


def _stroked_lightness(small: GreyPicture) -> float:
    """Return -1 where the darker of two clear tones lies in strokes, 1 where the lighter does, else 0.

    However bold, strokes are narrower than their ground. A shadow, too, is another tone, but wide.
    """
    parted, light = _two_tones(cv2.blur(small, (3, 3)))
    if parted < TWO_TONES:
        return 0.0
    light_width, dark_width = (
        2 * float(cv2.distanceTransform(tone, cv2.DIST_L2, 5).max()) for tone in (light, 1 - light)
    )
    narrow, wide = sorted((light_width, dark_width))
    if narrow <= STROKE_WIDTH * max(small.shape) and wide >= WIDER * narrow:
        return 1.0 if light_width < dark_width else -1.0
    parted, light = _two_tones(small)
    return _lightness_by_corners(light) if parted > BLACK_ON_WHITE else 0.0


def _lightness_by_corners(light: Mask) -> float:
    """Return -1 or 1 for ink that fills its frame: digits are round, so three corners at least are ground."""
    height, width = (max(1, length // 12) for length in light.shape)
    corners = [
        light[rows, columns].mean() for rows in np.s_[:height, -height:] for columns in np.s_[:width, -width:]
    ]
    ground = sum(corner > 0.5 for corner in corners)  # noqa: PLR2004  # of it more is light than dark
    return {0: 1.0, 1: 1.0, 3: -1.0, 4: -1.0}.get(ground, 0.0)


def _two_tones(small: GreyPicture) -> tuple[float, Mask]:
    """Part a picture in dark and light by Otsu's threshold; return how much of its variance that explains."""
    _, light = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, spread = cv2.meanStdDev(small)
    apart = cv2.mean(small, light)[0] - cv2.mean(small, 1 - light)[0]
    share = float(light.mean())
    return share * (1 - share) * apart**2 / max(spread.item() ** 2, 1e-6), np.asarray(light, np.uint8)


def _local_lightness(small: GreyPicture) -> float:
    """Tell under uneven light what is lighter or darker than its surroundings: thin ink first, then bold."""
    thin = (_lightness_around(small, reach=max(small.shape) // 6) + _hats(small)) / 2
    if abs(thin) > DECIDED_THIN:
        return thin
    bold = _lightness_around(small, reach=max(small.shape) // 2)
    if abs(bold) > DECIDED:
        return bold
    whole = _lightness(small, ground=tones.median(tones.histogram(small)))
    return whole if abs(whole) > DECIDED else -1.0  # most people write dark on light


def _lightness_around(small: GreyPicture, *, reach: int) -> float:
    ground = cv2.medianBlur(small, reach | 1)  # a shadow's sharp edge stays
    return _outweighs(cv2.subtract(small, ground), cv2.subtract(ground, small))


def _hats(small: GreyPicture) -> float:
    """Weigh what is light and narrow against what is dark and narrow; the light's steps are neither."""
    reach = max(3, max(small.shape) // 8 | 1)
    wide = cv2.copyMakeBorder(cv2.blur(small, (3, 3)), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    square = np.ones((reach, reach), np.uint8)
    light, dark = (cv2.morphologyEx(wide, how, square) for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    return _outweighs(light, dark)


def _closed(small: GreyPicture) -> GreyPicture:
    """Fill what is dark and narrower than a quarter of the picture.

    What lies along the border is thought to go on beyond it, so a desk or a vignette stays.
    """
    reach = max(small.shape) // 4 | 1
    wide = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    return np.asarray(closed[reach:-reach, reach:-reach], np.uint8)


def is_flat(small: GreyPicture) -> bool:
    """Tell whether the ground is of one tone and the ink strong, as in a scan or a drawing."""
    rim = tones.border(small)
    strong = int(tones.median(rim)) - int(small.min()) >= STRONG_INK
    return is_even(rim) and (strong or max(small.shape) < FEW_PIXELS)
