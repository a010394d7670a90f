"""Grey picture → canonical picture: 28×28, ink 255 on 0, 20 pixels long, centred by mass.

The way is `STEPS`, read from top to bottom. A picture that is canonical already, as MNIST's are,
passes unchanged; so preprocessing twice is the same as once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits import tones
from app.digits.components import labelled, masked
from app.digits.contract import CENTRE, INK_SIDE, SIDE, CanonicalPicture, GreyPicture
from app.digits.errors import NoInk
from app.digits.images import Box, scaled
from app.digits.light import (
    dark_on_light,
    even_light,
    is_flat,
    is_plain,
    on_paper,
    unbanded,
    unframed,
    unspeckled,
)
from app.digits.paper import close_up, unruled
from app.digits.sheet import (
    LEAST_NEAR,
    NEAR,
    PAGE,
    SPECK,
    THUMBNAIL,
    Caution,
    Mask,
    Polarity,
    Sheet,
    cautioned,
    gaps,
    intruders,
    outer_edges,
)

LEAST_CONTRAST: Final = (
    12.0  # grey levels between ink and ground; fainter than pencil, stronger than paper's grain
)
LEAST_DISTINCTION: Final = (
    3.2  # contrast in standard deviations of the ground; noise alone, split by Otsu, has 2.7
)
CLEAR_DISTINCTION: Final = 4.0  # the same where the ink was not found at first: blank paper is asked twice
LOW_CONTRAST: Final = 48.0  # grey levels: below it people, too, look twice
APART: Final = 0.06  # of the main piece's height: nearer, it is the other half of an open 4
RIVAL_HEIGHT: Final = (
    0.3  # of its height: so high is another digit beside it; lower, it is the bar of a 5, a hook, a dot
)
PEN_SKIP: Final = 0.04  # of the ink's length: so far a pen skips within one stroke
FULL_INK: Final = 240  # of 255: paler pens and thinner strokes are brought up; MNIST's peak is 254 or 255
STROKE: Final = (
    2.2  # pixels in the canonical picture; MNIST's own, so measured: median 2.5, 5th percentile 1.9
)
TINY: Final = 10  # pixels: a digit of fewer has lost its shape
WORTH: Final = 1.25  # times as large as its copy; a picture that is smaller is looked at as it is
QUICK: Final = 64 * 64  # pixels, of pictures that need every step, which take about a millisecond
CLEAR: Final = 51  # pixels: so long a digit has all its shape on a copy; the network sees 20 of them


@dataclass(frozen=True, slots=True)
class Canonical:
    """What the network sees, and what was found on the way. `box` is in the grey picture's pixels."""

    picture: CanonicalPicture
    polarity: Polarity
    box: Box
    cautions: tuple[Caution, ...] = ()


def canonical(grey: GreyPicture, *, glance: bool = True) -> Canonical:
    """Bring a grey picture of any size and polarity into canonical form.

    Args:
        grey: uint8 (height, width), each at least 1.
        glance: see `stages`.

    Raises:
        NoInk: nothing stands out from the ground.
    """
    already = _as_it_is(grey, "light_on_dark") or _as_it_is(255 - grey, "dark_on_light")
    if already:
        return already
    *_, (_, sheet) = stages(grey, glance=glance)
    (x, y), (left, top, width, height) = sheet.offset, sheet.box
    box = scaled((x + left, y + top, width, height), sheet.scale, sheet.scale)
    return Canonical(sheet.pixels, sheet.polarity, box, sheet.cautions)


def stages(grey: GreyPicture, *, glance: bool = True) -> Iterator[tuple[str, Sheet]]:
    """Yield the name of each step and the sheet after it; the last sheet holds the canonical picture.

    First the picture is looked at from afar: a digit that is long enough on a small copy reads from there
    as well as from the whole, at a fraction of the work. Where no ink is found on the whole, it is looked for
    in the other polarity: faint strokes and the light's slopes can be mistaken for each other.

    Args:
        grey: uint8 (height, width), each at least 1.
        glance: whether to look from afar at all.

    Raises:
        NoInk: nothing stands out from the ground.
    """
    sheet = Sheet(pixels=grey)
    for copy in _glances(sheet) if glance else ():
        way = _taken(Sheet(pixels=copy, scale=max(grey.shape) / max(copy.shape)))
        if way and max(way[-1][1].box[2:]) >= CLEAR:
            yield from way
            return
    yield from _taken(sheet) or _way(dataclasses.replace(sheet, turned=True))


def _glances(sheet: Sheet) -> Iterator[GreyPicture]:
    """Yield the copies to look at first: photographs need larger ones than drawings do."""
    large = max(sheet.pixels.shape)
    if large > WORTH * THUMBNAIL and (is_flat(sheet.thumbnail) or is_flat(255 - sheet.thumbnail)):
        yield sheet.thumbnail
    if large > WORTH * PAGE:
        yield sheet.page


def _taken(sheet: Sheet) -> list[tuple[str, Sheet]]:
    """Go the whole way; return nothing where there is no ink."""
    try:
        return list(_way(sheet))
    except NoInk:
        return []


def _way(sheet: Sheet) -> Iterator[tuple[str, Sheet]]:
    plain = is_plain(sheet)
    for step in STEPS:
        if not (plain and step in NEEDLESS):
            sheet = step(sheet)
        yield step.__name__, sheet


def is_canonical(picture: GreyPicture) -> bool:
    """Tell whether `picture` is in canonical form: size, length of the ink, place of its mass."""
    return _as_it_is(picture, "light_on_dark") is not None


def is_quick(pictures: Sequence[GreyPicture]) -> bool:
    """Tell whether `canonical` takes about a millisecond for each of some small pictures, or less.

    It does where the ground is plain, as in most drawings. Noise and photographs take up to ten.
    """
    left = QUICK
    for picture in pictures:
        left -= picture.size
    if left >= 0:
        return True
    left = QUICK
    for picture in pictures:
        if not (is_plain(Sheet(pixels=picture)) or is_canonical(picture)):
            left -= picture.size
    return left >= 0


def _as_it_is(picture: GreyPicture, polarity: Polarity) -> Canonical | None:
    if picture.shape != (SIDE, SIDE):
        return None
    box = cv2.boundingRect(picture)
    if max(box[2:]) != INK_SIDE or _corner(_tight(picture)) != box[:2]:
        return None
    return Canonical(picture, polarity, box)


def ink_on_black(sheet: Sheet) -> Sheet:
    """Turn paper to 0 and measure by Otsu's threshold what stands out from it."""
    counts, thumbnail = tones.histogram(sheet.pixels), sheet.thumbnail
    # the border may lie in shadow
    ground = int(max(tones.median(tones.border(thumbnail)), tones.median(tones.histogram(thumbnail))))
    ink = cv2.subtract(np.full_like(sheet.pixels, ground), sheet.pixels)
    lighter = counts[ground:].sum(keepdims=True)
    threshold = tones.otsu(np.concatenate((lighter, counts[:ground][::-1])))
    is_ink = ground - threshold > tones.LEVELS
    paper, spread = tones.mean_and_deviation(counts * ~is_ink)
    contrast = paper - tones.mean_and_deviation(counts * is_ink)[0]
    least = LEAST_NEAR if sheet.near else LEAST_CONTRAST
    distinct = CLEAR_DISTINCTION if sheet.turned else LEAST_DISTINCTION
    if not counts[is_ink].any() or contrast < max(least, distinct * spread):
        msg = "Nothing is written on the picture: no ink stands out from the ground. Send a digit."
        raise NoInk(msg)
    _, mask = cv2.threshold(ink, threshold, 1, cv2.THRESH_BINARY)
    sheet = dataclasses.replace(sheet, pixels=ink, threshold=threshold, mask=mask)
    return cautioned(sheet, "low_contrast") if contrast < LOW_CONTRAST else sheet


def main_ink(sheet: Sheet) -> Sheet:
    """Keep the digit: drop specks, frames and shadows along the border, and other digits.

    Of the connected pieces the largest that is no intruder is the digit; smaller pieces close to
    it are parts of it, where a pen skipped.
    """
    assert sheet.mask is not None  # noqa: S101  # ink_on_black has set it
    sheet, ink = _close(sheet, sheet.mask)
    labels, pieces = _pieces(ink)
    area = pieces[:, cv2.CC_STAT_AREA]
    sizes = np.where(intruders(labels, pieces), 0, area)
    main = int(np.argmax(sizes if sizes.any() else area))
    large = sizes >= SPECK * area[main]
    near = gaps(pieces, pieces[main]) <= NEAR * pieces[main, 2:4].max()
    rival = _rivals(pieces, pieces[main])
    kept = large & near & ~rival
    kept[main] = True
    mask = masked(labels, kept)
    box = cv2.boundingRect(mask)
    sheet = dataclasses.replace(sheet, pixels=_soft(sheet, mask, length=max(box[2:])), mask=mask, box=box)
    if (large & rival).any():
        sheet = cautioned(sheet, "several_digits")
    if _touches(box, sheet.pixels):
        sheet = cautioned(sheet, "touches_border")
    return cautioned(sheet, "tiny") if max(box[2:]) < TINY else sheet


def _close(sheet: Sheet, mask: Mask) -> tuple[Sheet, Mask]:
    """Cut a sheet and its mask to the ink, its soft edge, and room from a border that it does not touch."""
    left, top, width, height = cv2.boundingRect(mask)
    rim = 1 + _edge(max(width, height))
    rows, columns = (
        slice(max(start - rim, 0), start + length + rim) for start, length in ((top, height), (left, width))
    )
    x, y = sheet.offset
    offset = (x + columns.start, y + rows.start)
    return dataclasses.replace(sheet, pixels=sheet.pixels[rows, columns], offset=offset), mask[rows, columns]


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
    unspeckled,
    unbanded,
    unframed,
    on_paper,
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


# There is nothing for these to do where the ground is plain, which takes a third of their time to find out.
NEEDLESS: Final = frozenset({unbanded, unframed, on_paper, even_light, unruled, close_up})


def _pieces(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return labels of what hangs together, and rows of OpenCV's stats; a dashed stroke is one piece."""
    labels, stats = labelled(mask)
    pieces = stats[1:]
    own = ~intruders(labels, pieces)
    area = pieces[:, cv2.CC_STAT_AREA]
    own &= area >= SPECK * area[own].max(initial=0)
    if own.sum() <= 1:
        return labels, pieces
    left, top, right, bottom = outer_edges(pieces[own])
    reach = max(1, round(PEN_SKIP * max(right - left, bottom - top) / 2))
    strokes = masked(labels, own)
    _, joined = cv2.connectedComponents(cv2.dilate(strokes, np.ones((2 * reach + 1,) * 2, np.uint8)))
    names = np.arange(len(stats))  # of its group each piece takes the name, 1 and up
    inked = np.flatnonzero(strokes)
    names[labels.flat[inked]] = joined.flat[inked] + len(stats)
    _, names = np.unique(names, return_inverse=True)
    return names.astype(np.int32)[labels], _merged(pieces, names[1:] - 1)


def _merged(pieces: NDArray[np.int32], groups: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return one row of OpenCV's stats for each group of pieces."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sorted_pieces = pieces[order]
    corner = np.minimum.reduceat(sorted_pieces[:, :2], starts)
    far_corner = np.maximum.reduceat(sorted_pieces[:, :2] + sorted_pieces[:, 2:4], starts)
    area = np.add.reduceat(sorted_pieces[:, cv2.CC_STAT_AREA], starts)
    return np.column_stack([corner, far_corner - corner, area]).astype(np.int32)


def _rivals(pieces: NDArray[np.int32], main: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which pieces stand beside the main one and are high enough to be digits themselves."""
    left, width, height = pieces[:, 0], pieces[:, 2], pieces[:, 3]
    apart = APART * main[3]
    beside = (left >= main[0] + main[2] + apart) | (left + width <= main[0] - apart)
    rivals: NDArray[np.bool_] = beside & (height >= RIVAL_HEIGHT * main[3])
    return rivals


def _soft(sheet: Sheet, mask: Mask, *, length: int) -> GreyPicture:
    """Return the ink of `mask` with its anti-aliased edge, black elsewhere.

    In a digit of few pixels the faintest of them are part of the stroke; in a large one they are blur.
    """
    edge = _edge(length)
    around = cv2.dilate(mask, np.ones((2 * edge + 1,) * 2, np.uint8))
    floor = sheet.threshold / 2 if edge > 1 else 0
    _, inked = cv2.threshold(sheet.pixels, floor, 0, cv2.THRESH_TOZERO)
    return np.asarray(cv2.copyTo(inked, around), np.uint8)


def _edge(length: int) -> int:
    """Return how many pixels wide the soft edge is of a digit so long."""
    return 1 + length // 128


def _touches(box: Box, pixels: GreyPicture) -> bool:
    left, top, width, height = box
    return left == 0 or top == 0 or left + width == pixels.shape[1] or top + height == pixels.shape[0]


def _tight(ink: GreyPicture) -> GreyPicture:
    left, top, width, height = cv2.boundingRect(ink)
    return ink[top : top + height, left : left + width]


def _placed(ink: GreyPicture) -> CanonicalPicture:
    """Put ink of at most 20×20 into 28×28, its centre of mass in the middle."""
    left, top = _corner(ink)
    height, width = ink.shape
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[top : top + height, left : left + width] = ink
    return picture


def _corner(ink: GreyPicture) -> tuple[int, int]:
    """Return where in 28×28 ink's left and top are, its centre of mass at 14.0, but never over the edge."""
    moments = cv2.moments(ink)
    height, width = ink.shape
    left = round(CENTRE - moments["m10"] / moments["m00"])
    top = round(CENTRE - moments["m01"] / moments["m00"])
    return min(max(left, 0), SIDE - width), min(max(top, 0), SIDE - height)
