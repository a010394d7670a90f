"""Grey picture → canonical picture: 28×28, ink 255 on 0, 20 pixels long, centred by mass.

The way is `STEPS`, read from top to bottom. A picture that is canonical already, as MNIST's are,
passes unchanged; so preprocessing twice is the same as once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import CENTRE, INK_SIDE, SIDE, CanonicalPicture, GreyPicture
from app.digits.errors import NoInk
from app.digits.images import MIN_SIDE, Box

Polarity: TypeAlias = Literal["dark_on_light", "light_on_dark"]
Caution: TypeAlias = Literal["low_contrast", "several_digits", "touches_border", "tiny"]
Mask: TypeAlias = NDArray[np.uint8]  # (height, width), 1 where there is ink

THUMBNAIL: Final = 128  # pixels: light changes slowly, so it is measured on a small copy
EVEN_SHARE: Final = 0.6  # of the border's pixels that lie within EVEN_SPREAD of its median
EVEN_SPREAD: Final = 4  # grey levels: JPEG's noise on a flat ground
FRAME_SPREAD: Final = 32  # grey levels: the frame's soft edge belongs to it
FRAME_WIDTH: Final = 0.15  # of the shorter side; wider, it is a digit's own ground
RECTANGLE: Final = 0.95  # of its bounding box that a framed area fills
EVEN_PAPER: Final = 224  # grey level of evened paper: its grain needs room above it, or noise looks like ink
LEAST_CONTRAST: Final = (
    12.0  # grey levels between ink and ground; fainter than pencil, stronger than paper's grain
)
LEAST_DISTINCTION: Final = (
    3.2  # contrast in standard deviations of the ground; noise alone, split by Otsu, has 2.7
)
LOW_CONTRAST: Final = 48.0  # grey levels: below it people, too, look twice
SPECK: Final = 0.02  # of the main piece's area: dust, not a broken stroke
NEAR: Final = 0.3  # of the main piece's length: so far apart pieces of one broken digit may lie
INTRUDER: Final = 0.8  # of its own length along the border: a frame, a shadow, the desk
FULL_INK: Final = 240  # of 255: paler pens and thinner strokes are brought up; MNIST's peak is 254 or 255
STROKE: Final = (
    2.2  # pixels in the canonical picture; MNIST's own, so measured: median 2.5, 5th percentile 1.9
)
TINY: Final = 10  # pixels: a digit of fewer has lost its shape


@dataclass(frozen=True, slots=True)
class Canonical:
    """What the network sees, and what was found on the way. `box` is in the grey picture's pixels."""

    picture: CanonicalPicture
    polarity: Polarity
    box: Box
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A picture on its way, after some of the steps."""

    pixels: NDArray[np.uint8]  # (height, width)
    offset: tuple[int, int] = (0, 0)  # x and y of what is left, in the picture as it came
    polarity: Polarity = "dark_on_light"
    threshold: float = 0.0  # grey levels: ink is above it
    mask: Mask | None = None
    box: Box = (0, 0, 0, 0)
    cautions: tuple[Caution, ...] = ()


def canonical(grey: GreyPicture) -> Canonical:
    """Bring a grey picture of any size and polarity into canonical form.

    Args:
        grey: uint8 (height, width), each at least 1.

    Raises:
        NoInk: nothing stands out from the ground.
    """
    already = _as_it_is(grey, "light_on_dark") or _as_it_is(255 - grey, "dark_on_light")
    if already:
        return already
    sheet = Sheet(pixels=grey)
    for step in STEPS:
        sheet = step(sheet)
    (x, y), (left, top, width, height) = sheet.offset, sheet.box
    return Canonical(sheet.pixels, sheet.polarity, (x + left, y + top, width, height), sheet.cautions)


def is_canonical(picture: GreyPicture) -> bool:
    """Tell whether `picture` is in canonical form: size, length of the ink, place of its mass."""
    if picture.shape != (SIDE, SIDE):
        return False
    ink = _tight(picture)
    return max(ink.shape) == INK_SIDE and np.array_equal(_placed(ink), picture)


def _as_it_is(picture: GreyPicture, polarity: Polarity) -> Canonical | None:
    if not is_canonical(picture):
        return None
    return Canonical(picture, polarity, cv2.boundingRect(picture))


def unframed(sheet: Sheet) -> Sheet:
    """Cut off a frame: an even, thin border round a rectangle of another tone."""
    small = _thumbnail(sheet.pixels)
    edge = _border(small, rim=1)
    if not _is_even(edge):
        return sheet
    border = np.abs(small - np.median(edge)) <= FRAME_SPREAD
    _, labels = cv2.connectedComponents(border.astype(np.uint8), connectivity=4)
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


def dark_on_light(sheet: Sheet) -> Sheet:
    """Invert a picture whose ink is lighter than its ground.

    Ink is what deviates strongly from the ground in few places: cubing the deviations lets few
    strong ones outweigh many weak ones.
    """
    small = _thumbnail(sheet.pixels)
    ground: NDArray[np.uint8] | float = np.median(_border(small))
    if not _is_even(_border(small)):
        ground = cv2.blur(small, (THUMBNAIL // 4 | 1,) * 2, borderType=cv2.BORDER_REPLICATE)
    if ((small.astype(np.float32) - ground) ** 3).sum() <= 0:
        return sheet
    return dataclasses.replace(sheet, pixels=255 - sheet.pixels, polarity="light_on_dark")


def even_light(sheet: Sheet) -> Sheet:
    """Divide by the light on the paper: the picture with its strokes closed and blurred."""
    small = _thumbnail(sheet.pixels)
    if _is_even(_border(small)):
        return sheet  # a scan or a drawing: ink as bold as it likes
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(small.shape) // 4 | 1,) * 2)
    light = cv2.blur(cv2.morphologyEx(small, cv2.MORPH_CLOSE, pen), (9, 9))
    light = cv2.resize(light, sheet.pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return dataclasses.replace(sheet, pixels=cv2.divide(sheet.pixels, light, scale=EVEN_PAPER))


def ink_on_black(sheet: Sheet) -> Sheet:
    """Turn paper to 0 and measure by Otsu's threshold what stands out from it."""
    small = _thumbnail(sheet.pixels)
    ground = max(np.median(_border(small)), np.median(small))  # the border may lie in shadow
    ink = cv2.subtract(np.full_like(sheet.pixels, ground), sheet.pixels)
    threshold, mask = cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    paper, spread = (value.item() for value in cv2.meanStdDev(sheet.pixels, mask=1 - mask))
    contrast = paper - cv2.mean(sheet.pixels, mask)[0]
    if not mask.any() or contrast < max(LEAST_CONTRAST, LEAST_DISTINCTION * spread):
        msg = "Nothing is written on the picture: no ink stands out from the ground. Send a digit."
        raise NoInk(msg)
    sheet = dataclasses.replace(sheet, pixels=ink, threshold=threshold, mask=mask)
    return _cautioned(sheet, "low_contrast") if contrast < LOW_CONTRAST else sheet


def main_ink(sheet: Sheet) -> Sheet:
    """Keep the digit: drop specks, frames and shadows along the border, and other digits.

    Of the connected pieces the largest that is no intruder is the digit; smaller pieces close to
    it are parts of it, where a pen skipped.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(sheet.mask, connectivity=8)
    pieces = stats[1:]
    area = pieces[:, cv2.CC_STAT_AREA]
    sizes = np.where(_intruders(labels, pieces), 0, area)
    main = int(np.argmax(sizes if sizes.any() else area))
    large = sizes >= SPECK * area[main]
    near = _gaps(pieces, pieces[main]) <= NEAR * pieces[main, 2:4].max()
    rival = _rivals(pieces, pieces[main])
    kept = large & near & ~rival
    kept[main] = True
    mask = np.concatenate(([False], kept)).astype(np.uint8)[labels]
    box = cv2.boundingRect(mask)
    sheet = dataclasses.replace(sheet, pixels=_soft(sheet, mask, length=max(box[2:])), mask=mask, box=box)
    if (large & rival).any():
        sheet = _cautioned(sheet, "several_digits")
    if _touches(box, sheet.pixels):
        sheet = _cautioned(sheet, "touches_border")
    return _cautioned(sheet, "tiny") if max(box[2:]) < TINY else sheet


def crop(sheet: Sheet) -> Sheet:
    """Cut the ink out, its soft edges with it."""
    return dataclasses.replace(sheet, pixels=_tight(sheet.pixels))


def even_stroke(sheet: Sheet) -> Sheet:
    """Thicken strokes that would be thinner than MNIST's thinnest once the digit is 20 pixels long."""
    scale = max(sheet.pixels.shape) / INK_SIDE
    ink = (sheet.pixels > sheet.threshold).astype(np.uint8)
    distance = cv2.distanceTransform(cv2.copyMakeBorder(ink, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    width = 4 * cv2.mean(distance, (distance > 0).astype(np.uint8))[0] - 2  # a band's mean is (width + 2) / 4
    lacking = round(STROKE * scale - width)
    if lacking < 1:
        return sheet
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lacking + 1, lacking + 1))
    rim = lacking // 2 + 1
    roomy = cv2.copyMakeBorder(sheet.pixels, rim, rim, rim, rim, cv2.BORDER_CONSTANT)
    return dataclasses.replace(sheet, pixels=_tight(cv2.dilate(roomy, pen)))


def fit(sheet: Sheet) -> Sheet:
    """Scale the ink so that its longest side is 20 pixels, its shape kept."""
    ink = sheet.pixels
    while max(ink.shape) != INK_SIDE:  # again where faint ends have been rounded away
        scale = INK_SIDE / max(ink.shape)
        size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        ink = _tight(cv2.resize(ink, size, interpolation=how))
    return dataclasses.replace(sheet, pixels=ink)


def full_ink(sheet: Sheet) -> Sheet:
    """Bring pale ink up to full black, as MNIST's is."""
    peak = int(sheet.pixels.max())
    if peak >= FULL_INK:
        return sheet
    return dataclasses.replace(sheet, pixels=cv2.multiply(sheet.pixels, 255 / peak))


def centre(sheet: Sheet) -> Sheet:
    """Place the ink in 28×28 with its centre of mass in the middle."""
    return dataclasses.replace(sheet, pixels=_placed(sheet.pixels))


STEPS: Final[tuple[Callable[[Sheet], Sheet], ...]] = (
    unframed,
    dark_on_light,
    even_light,
    ink_on_black,
    main_ink,
    crop,
    even_stroke,
    fit,
    full_ink,
    centre,
)


def _thumbnail(pixels: GreyPicture) -> GreyPicture:
    scale = THUMBNAIL / max(pixels.shape)
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small: GreyPicture = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small


def _border(pixels: GreyPicture, *, rim: int | None = None) -> GreyPicture:
    """Return the outermost pixels: a ring `rim` pixels wide, else a 32nd of the shorter side."""
    rim = rim or max(1, min(pixels.shape) // 32)
    ring = (pixels[:rim], pixels[-rim:], pixels[rim:-rim, :rim], pixels[rim:-rim, -rim:])
    return np.concatenate([side.ravel() for side in ring])


def _is_even(border: GreyPicture) -> bool:
    close = np.abs(border - np.median(border)) <= EVEN_SPREAD
    return bool(close.mean() >= EVEN_SHARE)


def _intruders(labels: NDArray[np.int32], pieces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which pieces run along the border instead of ending at it."""
    contact = np.bincount(_ring(labels), minlength=len(pieces) + 1)[1:]
    along: NDArray[np.bool_] = contact >= INTRUDER * pieces[:, 2:4].max(axis=1)
    return along


def _ring(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])


def _gaps(pieces: NDArray[np.int32], main: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the distances in pixels between the pieces' boxes and the main one's."""
    left, top, width, height = pieces[:, :4].T
    across = np.maximum(0, np.maximum(left - (main[0] + main[2]), main[0] - (left + width)))
    down = np.maximum(0, np.maximum(top - (main[1] + main[3]), main[1] - (top + height)))
    gaps: NDArray[np.float64] = np.hypot(across, down)
    return gaps


def _rivals(pieces: NDArray[np.int32], main: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which pieces stand beside the main one and are at least half as high: digits themselves."""
    left, width, height = pieces[:, 0], pieces[:, 2], pieces[:, 3]
    beside = (left >= main[0] + main[2]) | (left + width <= main[0])
    rivals: NDArray[np.bool_] = beside & (2 * height >= main[3])
    return rivals


def _soft(sheet: Sheet, mask: Mask, *, length: int) -> GreyPicture:
    """Return the ink of `mask` with its anti-aliased edge, black elsewhere.

    In a digit of few pixels the faintest of them are part of the stroke; in a large one they are blur.
    """
    edge = 1 + length // 128
    around = cv2.dilate(mask, np.ones((2 * edge + 1,) * 2, np.uint8))
    floor = sheet.threshold / 2 if edge > 1 else 0
    return np.where((around > 0) & (sheet.pixels > floor), sheet.pixels, 0).astype(np.uint8)


def _touches(box: Box, pixels: GreyPicture) -> bool:
    left, top, width, height = box
    return left == 0 or top == 0 or left + width == pixels.shape[1] or top + height == pixels.shape[0]


def _tight(ink: GreyPicture) -> GreyPicture:
    left, top, width, height = cv2.boundingRect(ink)
    return ink[top : top + height, left : left + width]


def _placed(ink: GreyPicture) -> CanonicalPicture:
    """Put ink of at most 20×20 into 28×28, its centre of mass at 14.0, but never over the edge."""
    moments = cv2.moments(ink)
    height, width = ink.shape
    left = round(CENTRE - moments["m10"] / moments["m00"])
    top = round(CENTRE - moments["m01"] / moments["m00"])
    left, top = min(max(left, 0), SIDE - width), min(max(top, 0), SIDE - height)
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[top : top + height, left : left + width] = ink
    return picture


def _cautioned(sheet: Sheet, caution: Caution) -> Sheet:
    return dataclasses.replace(sheet, cautions=(*sheet.cautions, caution))
