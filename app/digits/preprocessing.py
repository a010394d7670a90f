"""Grey picture → canonical picture: 28×28, ink 255 on 0, 20 pixels long, centred by mass.

The way is `STEPS`, read from top to bottom. A picture that is canonical already, as MNIST's are,
passes unchanged; so preprocessing twice is the same as once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
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
BAND: Final = 96  # grey levels between two grounds in one picture
THROUGHOUT: Final = 0.75  # of its length a band's edge is seen; ink that crosses it is half grey
ALIKE: Final = 0.9  # of the columns that have the same ground above and below
EVEN_SHARE: Final = 0.6  # of the border's pixels that lie within EVEN_SPREAD of its median
EVEN_SPREAD: Final = 4  # grey levels: JPEG's noise on a flat ground
FRAME_SPREAD: Final = 32  # grey levels: the frame's soft edge belongs to it
FRAME_WIDTH: Final = 0.15  # of the shorter side; wider, it is a digit's own ground
RECTANGLE: Final = 0.95  # of its bounding box that a framed area fills
EVEN_PAPER: Final = 224  # grey level of evened paper: its grain needs room above it, or noise looks like ink
LEAST_CONTRAST: Final = (
    12.0  # grey levels between ink and ground; fainter than pencil, stronger than paper's grain
)
LEAST_NEAR: Final = 8.0  # the same in a close-up, where the grain has been blurred
LEAST_DISTINCTION: Final = (
    3.2  # contrast in standard deviations of the ground; noise alone, split by Otsu, has 2.7
)
PAGE: Final = 256  # pixels: on a copy so small lines and digits are found; a digit of 4 % still has 10
STRONG_INK: Final = 64  # grey levels: where ink is paler, the light's slope counts against it
STRONG: Final = (
    4.5  # standard deviations of the ground, blurred a little: by so much ink stands out somewhere
)
WEAK: Final = 2.0  # and by so much wherever it hangs together
PALEST: Final = 0.25  # of the strongest ink: what is left of a printed grid is paler
GRAIN: Final = 0.012  # of the digit's length: finer than a third of any pen's width, and noise
LEAST_RULED: Final = 24  # pixels: in smaller pictures a bar of the digit itself spans the width
LEAST_ROOM: Final = 64  # pixels: in smaller pictures nothing is far away
LEAST_RUN: Final = 15  # pixels
LEAST_RIDGE: Final = 1.5  # grey levels: along a line the noise averages out
LEANS: Final = tuple(step * 0.015 for step in range(-5, 6))  # slopes that are tried: up to four degrees
SPANNING: Final = 0.8  # of the width or height: so far a ruled line goes, and hardly a digit's bar
DECIDED: Final = 0.3  # of 1: so clearly dark or light is what stands out
PALER: Final = 0.7  # of the strongest ink
AT_BORDER: Final = 0.12  # of the height
AT_END: Final = 0.06  # of the width: a frame's corners
THIN: Final = 0.02  # of the longer side: thicker than that is a pen
CLOSE_UP: Final = 0.4  # of the ink's length: the margin that is kept round it
LOW_CONTRAST: Final = 48.0  # grey levels: below it people, too, look twice
SPECK: Final = 0.02  # of the main piece's area: dust, not a broken stroke
NEAR: Final = 0.3  # of the main piece's length: so far apart pieces of one broken digit may lie
APART: Final = 0.06  # of the main piece's height: nearer, it is the other half of an open 4
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
    evened: bool = False  # under uneven light, or so pale that the light's slope counts
    near: bool = False  # cut to the surroundings of the ink, its grain blurred
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
    *_, (_, sheet) = stages(grey)
    (x, y), (left, top, width, height) = sheet.offset, sheet.box
    return Canonical(sheet.pixels, sheet.polarity, (x + left, y + top, width, height), sheet.cautions)


def stages(grey: GreyPicture) -> Iterator[tuple[str, Sheet]]:
    """Yield the name of each step and the sheet after it; the last sheet holds the canonical picture.

    Raises:
        NoInk: nothing stands out from the ground.
    """
    sheet = Sheet(pixels=grey)
    for step in STEPS:
        sheet = step(sheet)
        yield step.__name__, sheet


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


def unbanded(sheet: Sheet) -> Sheet:
    """Even out bands of another ground that run through the whole picture, as bad scans leave them."""
    pixels = _without_bands(sheet.pixels)
    if pixels is None:
        pixels = _without_bands(sheet.pixels.T)
        pixels = None if pixels is None else np.ascontiguousarray(pixels.T)
    return sheet if pixels is None else dataclasses.replace(sheet, pixels=pixels)


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
    rim = _border(small, rim=max(1, min(small.shape) // 8))  # wider than a printed frame
    lean = _lightness(small, ground=float(np.median(rim))) if _is_even(rim) else _local_lightness(small)
    if lean <= 0:
        return sheet
    return dataclasses.replace(sheet, pixels=255 - sheet.pixels, polarity="light_on_dark")


def even_light(sheet: Sheet) -> Sheet:
    """Divide by the light on the paper: the picture with its strokes closed.

    Closing fills what is narrower than the square, and leaves the edge of a shadow where it is.
    """
    small = _thumbnail(sheet.pixels, side=PAGE)
    if _is_flat(small):
        return sheet  # a scan or a drawing: ink as bold as it likes
    light = cv2.erode(_closed(cv2.blur(small, (3, 3))), np.ones((3, 3), np.uint8))  # a halo, but no rim
    light = cv2.resize(light, sheet.pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return dataclasses.replace(sheet, pixels=cv2.divide(sheet.pixels, light, scale=EVEN_PAPER), evened=True)


def unruled(sheet: Sheet) -> Sheet:
    """Take out ruled and squared lines and the printed border of a cell; mend the strokes that cross them."""
    if min(sheet.pixels.shape) < LEAST_RULED:
        return sheet
    across = _without_lines(sheet.pixels, evened=sheet.evened)
    down = _without_lines(
        np.ascontiguousarray((sheet.pixels if across is None else across).T), evened=sheet.evened
    )
    if down is not None:
        return dataclasses.replace(sheet, pixels=np.ascontiguousarray(down.T))
    return sheet if across is None else dataclasses.replace(sheet, pixels=across)


def close_up(sheet: Sheet) -> Sheet:
    """Go near to the most prominent ink, so that what follows measures it against its own ground."""
    small = _thumbnail(sheet.pixels, side=PAGE)
    if min(small.shape) < LEAST_ROOM or not sheet.evened:
        return sheet
    soft, noise = _ink_and_noise(small, blur=1.2)
    weak = (soft > max(2.0, WEAK * noise, PALEST * float(np.percentile(soft, 99.5)))).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    pieces = stats[1:]
    strong = np.bincount(labels[soft > max(LEAST_NEAR / 2, STRONG * noise)], minlength=len(stats))[1:] > 0
    strength = soft.ravel().astype(np.float32) ** 2  # little strong ink outweighs much that is weak
    mass = np.bincount(labels.ravel(), weights=strength, minlength=len(stats))[1:]
    mass[_intruders(labels, pieces, along=0.5) | ~strong] = 0
    if not mass.any():
        return sheet
    main = pieces[np.argmax(mass)]
    near = (_gaps(pieces, main) <= NEAR * main[2:4].max()) & (mass >= SPECK * mass.max())
    left, top, right, bottom = _hull(pieces[near])
    length = max(right - left, bottom - top)
    margin = max(3, round(CLOSE_UP * length))
    left, top = max(left - margin, 0), max(top - margin, 0)
    right, bottom = min(right + margin, small.shape[1]), min(bottom + margin, small.shape[0])
    scale = max(sheet.pixels.shape) / max(small.shape)
    soft = cv2.GaussianBlur(sheet.pixels, (0, 0), max(0.6, GRAIN * length * scale))
    return _cut(dataclasses.replace(sheet, pixels=soft, near=True), (left, top, right, bottom), scale=scale)


def ink_on_black(sheet: Sheet) -> Sheet:
    """Turn paper to 0 and measure by Otsu's threshold what stands out from it."""
    small = _thumbnail(sheet.pixels)
    ground = max(np.median(_border(small)), np.median(small))  # the border may lie in shadow
    ink = cv2.subtract(np.full_like(sheet.pixels, ground), sheet.pixels)
    threshold, mask = cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    paper, spread = (value.item() for value in cv2.meanStdDev(sheet.pixels, mask=1 - mask))
    contrast = paper - cv2.mean(sheet.pixels, mask)[0]
    least = LEAST_NEAR if sheet.near else LEAST_CONTRAST
    if not mask.any() or contrast < max(least, LEAST_DISTINCTION * spread):
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
    unbanded,
    unframed,
    dark_on_light,
    even_light,
    unruled,
    close_up,
    ink_on_black,
    main_ink,
    crop,
    even_stroke,
    fit,
    full_ink,
    centre,
)


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


def _thumbnail(pixels: GreyPicture, *, side: int = THUMBNAIL) -> GreyPicture:
    scale = side / max(pixels.shape)
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


def _ink_and_noise(small: GreyPicture, *, blur: float) -> tuple[GreyPicture, float]:
    """Return what is darker than the ground, and the ground's standard deviation.

    The deviation is measured on what is lighter than the ground: no ink is there.
    """
    soft = cv2.GaussianBlur(small, (0, 0), blur) if blur else small
    ground = np.full_like(soft, np.median(soft))
    lighter = cv2.subtract(soft, ground)
    grain = lighter[lighter > 0]
    noise = float(np.median(grain)) / 0.6745 if grain.size > soft.size // 10 else 0.5
    return cv2.subtract(ground, soft), noise


def _without_lines(pixels: GreyPicture, *, evened: bool) -> GreyPicture | None:
    """Erase the lines that run from left to right; None if there are none."""
    height, width = pixels.shape
    small = _thumbnail(pixels, side=PAGE)
    ink, noise = _ink_and_noise(small, blur=0)
    lean = _lean(ink)
    tones = _lines(_sheared(ink, lean), noise, evened=evened)
    if tones is None:
        return None
    tones = cv2.dilate(_sheared(tones, -lean), np.ones((3, 1), np.uint8))
    tones = cv2.resize(tones, (width, height), interpolation=cv2.INTER_NEAREST)
    large = (tones > 0).astype(np.uint8)
    paper = int(np.median(pixels))
    line = (large > 0) & (pixels > paper - 1.5 * tones - 2 * noise)  # darker: the pen
    # dark strokes: opening takes the darker side, over the gap that the line has left
    thickness = int(np.percentile(large.sum(axis=0), 90) / max(1, _runs(large)))
    across = np.ones((min(thickness, height // 6) + 2, 1), np.uint8)
    mended = cv2.morphologyEx(np.where(line, paper, pixels).astype(np.uint8), cv2.MORPH_OPEN, across)
    return np.where(line, mended, pixels).astype(np.uint8)


def _runs(mask: Mask) -> float:
    """Return how many lines a column of the mask crosses, on average."""
    starts = np.diff(mask, axis=0, prepend=0) == 1
    return float(starts.sum() / mask.shape[1])


def _lean(ink: GreyPicture) -> float:
    """Return the slope, in pixels per pixel, at which level lines show clearest."""
    tenth = cv2.resize(ink, (ink.shape[1] // 2 or 1, ink.shape[0]), interpolation=cv2.INTER_AREA)
    sharp = [float(np.diff(_sheared(tenth, 2 * lean).mean(axis=1)).std()) for lean in LEANS]
    best = int(np.argmax(sharp))
    return LEANS[best] if sharp[best] > 1.05 * sharp[len(LEANS) // 2] else 0.0


def _sheared(picture: GreyPicture, lean: float) -> GreyPicture:
    """Shift every column so that lines of that slope become level."""
    if lean == 0.0:
        return picture
    shift = np.array([[1, 0, 0], [-lean, 1, lean * picture.shape[1] / 2]], np.float32)
    return np.asarray(cv2.warpAffine(picture, shift, picture.shape[::-1], flags=cv2.INTER_NEAREST), np.uint8)


def _lines(ink: GreyPicture, noise: float, *, evened: bool) -> GreyPicture | None:
    """Return how dark the printed lines are, level and thin and across nearly the whole picture; else 0.

    A digit's bar can be so, too. A printed line runs along the picture's border from one side to the
    other, or is, under uneven light, paler than the pen or one of several.
    """
    height, width = ink.shape
    run = min(max(LEAST_RUN, width // 8), width // 4)
    level = cv2.blur(ink.astype(np.float32), (run, 1))
    # above what the rows around it have: lines of the other direction and shades do not count
    ridge = level - cv2.blur(level, (1, max(9, height // 12)), borderType=cv2.BORDER_REFLECT)
    found = (ridge > max(LEAST_RIDGE, noise / 3)).astype(np.uint8)
    joined = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((1, max(3, width // 10)), np.uint8))
    _, labels, stats, centres = cv2.connectedComponentsWithStats(joined, connectivity=8)
    left, span, area = stats[:, 0], stats[:, 2], stats[:, cv2.CC_STAT_AREA]
    thick = max(4.0, THIN * max(ink.shape)) + 2
    lines = (span >= SPANNING * width) & (area / span <= thick) & (stats[:, 3] <= 2 * thick)
    lines[0] = False
    if not lines.any():
        return None
    tones = np.array(
        [np.median(level[labels == label]) if line else 255.0 for label, line in enumerate(lines)]
    )
    pen = float(np.percentile(ink, 99.5))
    at_border = np.minimum(centres[:, 1], height - centres[:, 1]) <= AT_BORDER * height
    ends = np.maximum(left, width - left - span) - 1
    printed = lines & at_border & (ends <= AT_END * width)
    if evened:
        ruled = lines & (ends <= 2 * AT_END * width)
        printed |= ruled & ((ruled.sum() > 1) | (tones <= PALER * pen))
    return np.where(printed, tones, 0).astype(np.uint8)[labels] if printed.any() else None


def _hull(pieces: NDArray[np.int32]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of all pieces together."""
    left, top = pieces[:, :2].min(axis=0).tolist()
    right, bottom = (pieces[:, :2] + pieces[:, 2:4]).max(axis=0).tolist()
    return left, top, right, bottom


def _cut(sheet: Sheet, edges: tuple[int, int, int, int], *, scale: float) -> Sheet:
    """Cut a sheet to left, top, right and bottom, given in pixels of a copy `scale` times smaller."""
    height, width = sheet.pixels.shape
    left, top = math.floor(edges[0] * scale), math.floor(edges[1] * scale)
    right, bottom = min(math.ceil(edges[2] * scale), width), min(math.ceil(edges[3] * scale), height)
    x, y = sheet.offset
    return dataclasses.replace(sheet, pixels=sheet.pixels[top:bottom, left:right], offset=(x + left, y + top))


def _lightness(small: GreyPicture, *, ground: NDArray[np.uint8] | float) -> float:
    """Return from -1, where what stands out is dark, to 1, where it is light."""
    cubes = (small.astype(np.float32) - ground) ** 3
    return float(cubes.sum() / max(float(np.abs(cubes).sum()), 1.0))


def _local_lightness(small: GreyPicture) -> float:
    """Tell under uneven light what is lighter or darker than its surroundings: thin ink first, then bold."""
    for reach in (max(small.shape) // 6, max(small.shape) // 2):
        lean = _lightness(small, ground=cv2.medianBlur(small, reach | 1))  # a shadow's edge stays
        if abs(lean) > DECIDED:
            return lean
    lean = _lightness(small, ground=float(np.median(small)))
    return lean if abs(lean) > DECIDED else -1.0  # most people write dark on light


def _closed(small: GreyPicture) -> GreyPicture:
    """Fill what is dark and narrower than a quarter of the picture.

    What lies along the border is thought to go on beyond it, so a desk or a vignette stays.
    """
    reach = max(small.shape) // 4 | 1
    wide = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    return np.asarray(closed[reach:-reach, reach:-reach], np.uint8)


def _is_flat(small: GreyPicture) -> bool:
    """Tell whether the ground is of one tone and the ink strong, as in a scan or a drawing."""
    border = _border(small)
    return _is_even(border) and int(np.median(border)) - int(small.min()) >= STRONG_INK


def _is_even(border: GreyPicture) -> bool:
    close = np.abs(border - np.median(border)) <= EVEN_SPREAD
    return bool(close.mean() >= EVEN_SHARE)


def _intruders(
    labels: NDArray[np.int32], pieces: NDArray[np.int32], *, along: float = INTRUDER
) -> NDArray[np.bool_]:
    """Tell which pieces run along the border instead of ending at it."""
    contact = np.bincount(_ring(labels), minlength=len(pieces) + 1)[1:]
    return np.asarray(contact >= along * pieces[:, 2:4].max(axis=1))


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
    apart = APART * main[3]
    beside = (left >= main[0] + main[2] + apart) | (left + width <= main[0] - apart)
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
