"""Grey picture → canonical picture: 28×28, ink 255 on 0, 20 pixels long, centred by mass.

`STEPS` is the pipeline. A picture that is already canonical, as MNIST's are, stays unchanged.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from . import tones
from .components import label_components, mask_components
from .contract import CENTRE, INK_SIDE, SIDE, CanonicalPicture, GreyPicture
from .errors import NoInk
from .images import Box, scale_box
from .light import (
    even_light,
    is_evenly_lit,
    is_plain,
    normalise_polarity,
    remove_bands,
    remove_dead_pixels,
)
from .scaling import shrink
from .working_picture import (
    MAX_PART_GAP,
    MAX_SPECK_AREA,
    SMALL_COPY_SIDE,
    THUMBNAIL_SIDE,
    Caution,
    Mask,
    Polarity,
    Step,
    WorkingPicture,
    add_caution,
    crop_to_edges,
    find_border_components,
    find_outer_edges,
    measure_gaps,
)

# grey levels between ink and background: less than pencil has, more than paper's grain
MIN_CONTRAST: Final = 12.0
MIN_CONTRAST_TO_NOISE: Final = 3.2  # standard deviations of the background; Otsu splits pure noise by 2.7
# for the attempt with the other polarity (see `trace_steps`), which blank paper also reaches
MIN_CONTRAST_TO_NOISE_INVERTED: Final = 4.0
LOW_CONTRAST: Final = 48.0  # grey levels: with less contrast, people have to look twice
MIN_DIGIT_GAP: Final = 0.06  # of the main component's height: anything nearer is the other half of an open 4
# of the main component's height: anything shorter is a bar, a hook or a dot
MIN_OTHER_DIGIT_HEIGHT: Final = 0.3
MAX_PEN_SKIP: Final = 0.04  # of the ink's length: the longest gap within one stroke of a skipping pen
MIN_PEAK: Final = 240  # of 255: ink with a lower peak gets its contrast stretched; MNIST's peak is 254 or 255
MIN_STROKE_WIDTH: Final = 2.2  # canonical pixels; MNIST's median is 2.5, its 5th percentile 1.9
TINY_LENGTH: Final = 10  # pixels: a shorter digit has lost its shape
MIN_SHRINK_FACTOR: Final = 1.25  # a picture that is less than 1.25 times as long as its copy is used itself
MAX_QUICK_PIXELS: Final = 64 * 64  # total of the pictures that need every step: about a millisecond
MIN_SEARCHED_SIDE: Final = 64  # pixels: a smaller picture is one digit, or a part of it
PART_MARGIN: Final = 0.25  # of its height: background around a digit that is cut out
PART_RIM: Final = 0.06  # of its height: ink so far outside its box still belongs to it
# pixels: a digit of this length keeps its shape on a copy; the network sees 20
MIN_DIGIT_LENGTH_ON_COPY: Final = 51


@dataclass(frozen=True, slots=True)
class CanonicalForm:
    """The network's input, and what is known about it. `box` is in the grey picture's pixels."""

    picture: CanonicalPicture
    polarity: Polarity
    box: Box
    cautions: tuple[Caution, ...] = ()


def extract_ink(picture: WorkingPicture) -> WorkingPicture:
    """Set the background to 0, and separate the ink from it by Otsu's threshold."""
    counts, thumbnail = tones.histogram(picture.pixels), picture.thumbnail
    # the border may lie in shadow
    all_tones = counts if thumbnail is picture.pixels else tones.histogram(thumbnail)
    background = int(max(tones.median(tones.border_histogram(thumbnail)), tones.median(all_tones)))
    ink = cv2.subtract(np.full_like(picture.pixels, background), picture.pixels)
    lighter_count = counts[background:].sum(keepdims=True)
    threshold = tones.otsu_threshold(np.concatenate((lighter_count, counts[:background][::-1])))
    is_ink = background - threshold > tones.LEVELS
    background_mean, noise = tones.mean_and_deviation(counts * ~is_ink)
    contrast = background_mean - tones.mean_and_deviation(counts * is_ink)[0]
    min_ratio = MIN_CONTRAST_TO_NOISE_INVERTED if picture.is_polarity_retry else MIN_CONTRAST_TO_NOISE
    if not counts[is_ink].any() or contrast < max(MIN_CONTRAST, min_ratio * noise):
        msg = "Nothing is written on the picture: no ink stands out from the background. Send a digit."
        raise NoInk(msg)
    _, mask = cv2.threshold(ink, threshold, 1, cv2.THRESH_BINARY)
    picture = dataclasses.replace(picture, pixels=ink, threshold=threshold, mask=mask)
    return add_caution(picture, "low_contrast") if contrast < LOW_CONTRAST else picture


def isolate_digit(picture: WorkingPicture) -> WorkingPicture:
    """Keep the digit, and drop specks, other digits, and frames and shadows along the border.

    The digit is the largest connected component that does not run along the border, together with smaller
    ones nearby that a skipping pen has separated.
    """
    picture = _crop_around_ink(picture)
    labels, components = _find_components(picture.mask)
    if len(components) > 1:  # most drawings have one
        picture = _drop_other_components(picture, labels, components)
    box = cv2.boundingRect(picture.mask)
    soft_ink = extract_soft_ink(picture, picture.mask, length=max(box[2:]))
    picture = dataclasses.replace(picture, pixels=soft_ink, box=box)
    if _touches_border(box, picture.pixels):
        picture = add_caution(picture, "touches_border")
    return add_caution(picture, "tiny") if max(box[2:]) < TINY_LENGTH else picture


def _drop_other_components(
    picture: WorkingPicture, labels: NDArray[np.int32], components: NDArray[np.int32]
) -> WorkingPicture:
    """Keep the components of the digit; add a caution if there is another digit."""
    areas = components[:, cv2.CC_STAT_AREA]
    inner_areas = np.where(find_border_components(labels, components), 0, areas)
    main = int(np.argmax(inner_areas if inner_areas.any() else areas))
    is_large = inner_areas >= MAX_SPECK_AREA * areas[main]
    is_near = measure_gaps(components, components[main]) <= MAX_PART_GAP * components[main, 2:4].max()
    is_other_digit = _find_other_digits(components, components[main])
    is_kept = is_large & is_near & ~is_other_digit
    is_kept[main] = True
    picture = dataclasses.replace(picture, mask=mask_components(labels, is_kept))
    return add_caution(picture, "several_digits") if (is_large & is_other_digit).any() else picture


def _crop_around_ink(picture: WorkingPicture) -> WorkingPicture:
    """Crop to the ink, its soft edge, and a pixel that shows whether it touches the border."""
    left, top, width, height = cv2.boundingRect(picture.mask)
    margin = 1 + _estimate_edge_width(max(width, height))
    return crop_to_edges(picture, (left - margin, top - margin, left + width + margin, top + height + margin))


def crop_to_ink(picture: WorkingPicture) -> WorkingPicture:
    """Crop to the ink and its soft edge."""
    return dataclasses.replace(picture, pixels=_crop_tightly(picture.pixels))


def thicken_strokes(picture: WorkingPicture) -> WorkingPicture:
    """Thicken strokes that would be thinner than MNIST's once the digit is 20 pixels long."""
    scale = max(picture.pixels.shape) / INK_SIDE
    ink = (picture.pixels > picture.threshold).astype(np.uint8)
    distance = cv2.distanceTransform(cv2.copyMakeBorder(ink, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    # in a stroke of constant width, the mean distance to its edge is (width + 2) / 4
    width = 4 * cv2.mean(distance, (distance > 0).astype(np.uint8))[0] - 2
    missing_width = round(MIN_STROKE_WIDTH * scale - width)
    if missing_width < 1:
        return picture
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing_width + 1, missing_width + 1))
    margin = missing_width // 2 + 1
    padded = cv2.copyMakeBorder(picture.pixels, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    return dataclasses.replace(picture, pixels=_crop_tightly(cv2.dilate(padded, pen)))


def scale_to_size(picture: WorkingPicture) -> WorkingPicture:
    """Scale the ink so that its longer side is 20 pixels."""
    ink = picture.pixels
    while max(ink.shape) != INK_SIDE:  # repeated if scaling has rounded the faint ends to 0
        scale = INK_SIDE / max(ink.shape)
        size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        ink = _crop_tightly(cv2.resize(ink, size, interpolation=interpolation))
    return dataclasses.replace(picture, pixels=ink)


def stretch_contrast(picture: WorkingPicture) -> WorkingPicture:
    """Stretch pale ink to the full range, as in MNIST."""
    peak = int(picture.pixels.max())
    if peak >= MIN_PEAK:
        return picture
    return dataclasses.replace(picture, pixels=cv2.multiply(picture.pixels, 255 / peak))


def centre(picture: WorkingPicture) -> WorkingPicture:
    """Place the ink in 28×28 with its centre of mass in the middle."""
    return dataclasses.replace(picture, pixels=_place_by_mass(picture.pixels))


PAPER_STEPS: Final[tuple[Step, ...]] = (normalise_polarity, even_light, extract_ink)
INK_STEPS: Final[tuple[Step, ...]] = (
    isolate_digit,
    crop_to_ink,
    thicken_strokes,
    scale_to_size,
    stretch_contrast,
    centre,
)
STEPS: Final = (remove_dead_pixels, remove_bands, *PAPER_STEPS, *INK_STEPS)
# On a plain background these change nothing; `is_plain` takes a tenth of the time that they would.
SKIPPED_ON_PLAIN_BACKGROUND: Final = frozenset({remove_bands, even_light})


def canonicalise(
    grey: GreyPicture, *, steps: Sequence[Step] = STEPS, try_small: bool = True
) -> CanonicalForm:
    """Bring a grey picture of any size and polarity into canonical form.

    Args:
        grey: uint8 (height, width), each at least 1.
        steps: see `trace_steps`.
        try_small: see `trace_steps`.

    Raises:
        NoInk: nothing stands out from the background.
    """
    recognised = recognise_canonical(grey)
    if recognised:
        return recognised
    *_, (_, picture) = trace_steps(grey, steps=steps, try_small=try_small)
    return _to_canonical_form(picture)


def canonicalise_copy(
    grey: GreyPicture, *, steps: Sequence[Step] = STEPS, is_inverted: bool = False
) -> CanonicalForm:
    """Bring a small copy of a picture into canonical form, in the likelier polarity or in the other one.

    Raises:
        NoInk: nothing stands out from the background.
    """
    copy = shrink(grey, SMALL_COPY_SIDE)
    scale = max(grey.shape) / max(copy.shape)
    picture = WorkingPicture(pixels=copy, scale=scale, is_polarity_retry=is_inverted)
    *_, (_, picture) = _run_steps(picture, steps)
    return _to_canonical_form(picture)


def _to_canonical_form(picture: WorkingPicture) -> CanonicalForm:
    (x, y), (left, top, width, height) = picture.offset, picture.box
    box = scale_box((x + left, y + top, width, height), picture.scale, picture.scale)
    return CanonicalForm(picture.pixels, picture.polarity, box, picture.cautions)


def canonicalise_part(grey: GreyPicture, box: Box) -> CanonicalForm:
    """Bring the digit in a box into canonical form, without what is beside it.

    Args:
        grey: uint8 (height, width), each at least 1.
        box: around the digit, within the picture.

    Raises:
        NoInk: nothing stands out from the background.
    """
    *_, (_, picture) = trace_part(grey, box)
    return _to_canonical_form(picture)


def trace_part(grey: GreyPicture, box: Box) -> Iterator[tuple[str, WorkingPicture]]:
    """Cut a digit out, and yield the name of each step and the picture after it, as `trace_steps` does.

    Bands and dead pixels are not looked for: the finder has seen a digit between or below them.
    """
    left, top, width, height = box
    margin, rim = math.ceil(PART_MARGIN * height), math.ceil(PART_RIM * height)
    x, y = max(0, left - margin), max(0, top - margin)
    part = np.ascontiguousarray(grey[y : top + height + margin, x : left + width + margin])
    rows = slice(max(0, top - y - rim), top - y + height + rim)
    columns = slice(max(0, left - x - rim), left - x + width + rim)

    def drop_neighbours(picture: WorkingPicture) -> WorkingPicture:
        return dataclasses.replace(picture, mask=_keep_window(picture.mask, rows, columns))

    picture = WorkingPicture(pixels=part, offset=(x, y))
    yield from _run_in_either_polarity(picture, (*PAPER_STEPS, drop_neighbours, *INK_STEPS))


def _keep_window(mask: Mask, rows: slice, columns: slice) -> Mask:
    """Keep the ink in a window, without components that lie mostly outside of it.

    Raises:
        NoInk: none is left.
    """
    labels, stats = label_components(mask)
    inside = np.bincount(labels[rows, columns].ravel(), minlength=len(stats))[1:]
    window = np.zeros_like(mask)
    window[rows, columns] = mask_components(labels, inside > stats[1:, cv2.CC_STAT_AREA] / 2)[rows, columns]
    if not window.any():  # a chain of digits that are joined
        window[rows, columns] = mask[rows, columns]
    if not window.any():
        msg = "Nothing is written on this part of the picture: no ink stands out from the background."
        raise NoInk(msg)
    return window


def trace_steps(
    grey: GreyPicture, *, steps: Sequence[Step] = STEPS, try_small: bool = True
) -> Iterator[tuple[str, WorkingPicture]]:
    """Yield the name of each step and the picture after it; the last one is canonical.

    A small copy is tried first: a digit that is long enough there is read as well as from the whole picture,
    at a fraction of the cost. If the whole picture shows no ink, the polarity may have been guessed wrong, as
    uneven light can look like strokes: then the other one is tried.

    Args:
        grey: uint8 (height, width), each at least 1.
        steps: the steps to run, in this order.
        try_small: whether to try a small copy first.

    Raises:
        NoInk: nothing stands out from the background.
    """
    picture = WorkingPicture(pixels=grey)
    for small in _yield_small_copies(picture) if try_small else ():
        results = _try_steps(WorkingPicture(pixels=small, scale=max(grey.shape) / max(small.shape)), steps)
        if results and max(results[-1][1].box[2:]) >= MIN_DIGIT_LENGTH_ON_COPY:
            yield from results
            return
    yield from _run_in_either_polarity(picture, steps)


def _run_in_either_polarity(
    picture: WorkingPicture, steps: Sequence[Step]
) -> Iterable[tuple[str, WorkingPicture]]:
    """Run the steps, and once more for the less likely polarity if the likelier one shows no ink."""
    return _try_steps(picture, steps) or _run_steps(
        dataclasses.replace(picture, is_polarity_retry=True), steps
    )


def _yield_small_copies(picture: WorkingPicture) -> Iterator[GreyPicture]:
    """Yield the copies to try first: photographs need larger ones than drawings."""
    longest_side = max(picture.pixels.shape)
    if longest_side > MIN_SHRINK_FACTOR * THUMBNAIL_SIDE and (
        is_evenly_lit(picture.thumbnail) or is_evenly_lit(255 - picture.thumbnail)
    ):
        yield picture.thumbnail
    if longest_side > MIN_SHRINK_FACTOR * SMALL_COPY_SIDE:
        yield picture.small_copy


def _try_steps(picture: WorkingPicture, steps: Sequence[Step]) -> list[tuple[str, WorkingPicture]]:
    try:
        return list(_run_steps(picture, steps))
    except NoInk:
        return []


def _run_steps(picture: WorkingPicture, steps: Sequence[Step]) -> Iterator[tuple[str, WorkingPicture]]:
    is_background_plain = is_plain(picture)
    for step in steps:
        if not (is_background_plain and step in SKIPPED_ON_PLAIN_BACKGROUND):
            picture = step(picture)
        yield step.__name__, picture


def recognise_canonical(grey: GreyPicture) -> CanonicalForm | None:
    """Return a picture that is canonical already, but perhaps dark on light; None if it is not."""
    if grey.shape != (SIDE, SIDE):
        return None
    return _recognise_canonical(grey, "light_on_dark") or _recognise_canonical(255 - grey, "dark_on_light")


def is_canonical(picture: GreyPicture) -> bool:
    """Tell whether `picture` is canonical: its size, the length of its ink, its centre of mass."""
    return _recognise_canonical(picture, "light_on_dark") is not None


def needs_search(grey: GreyPicture) -> bool:
    """Tell whether there may be more on a picture than a digit on a plain background."""
    return max(grey.shape) > MIN_SEARCHED_SIDE and not is_plain(WorkingPicture(pixels=grey))


def is_quick(pictures: Sequence[GreyPicture]) -> bool:
    """Tell whether pictures take about a millisecond at most, all together.

    Those on a plain background, as most drawings are, do. Noise does not, and the finder takes several
    milliseconds for a photograph.
    """
    if any(map(needs_search, pictures)):
        return False
    small = [picture for picture in pictures if max(picture.shape) <= MIN_SEARCHED_SIDE]
    if sum(picture.size for picture in small) <= MAX_QUICK_PIXELS:
        return True
    slow = [
        picture
        for picture in small
        if not (is_plain(WorkingPicture(pixels=picture)) or is_canonical(picture))
    ]
    return sum(picture.size for picture in slow) <= MAX_QUICK_PIXELS


def _recognise_canonical(picture: GreyPicture, polarity: Polarity) -> CanonicalForm | None:
    if picture.shape != (SIDE, SIDE):
        return None
    box = left, top, width, height = cv2.boundingRect(picture)
    if max(width, height) != INK_SIDE:
        return None
    if _find_corner(picture[top : top + height, left : left + width]) != (left, top):
        return None
    return CanonicalForm(picture, polarity, box)


def _find_components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return labels and statistics of connected components; a dashed stroke counts as one."""
    labels, stats = label_components(mask)
    components = stats[1:]
    if len(components) == 1:
        return labels, components
    is_inner = ~find_border_components(labels, components)
    areas = components[:, cv2.CC_STAT_AREA]
    is_inner &= areas >= MAX_SPECK_AREA * areas[is_inner].max(initial=0)
    if is_inner.sum() <= 1:
        return labels, components
    left, top, right, bottom = find_outer_edges(components[is_inner])
    reach = max(1, round(MAX_PEN_SKIP * max(right - left, bottom - top) / 2))
    inner_ink = mask_components(labels, is_inner)
    _, groups = cv2.connectedComponents(cv2.dilate(inner_ink, np.ones((2 * reach + 1,) * 2, np.uint8)))
    group_ids = np.arange(len(stats))  # components of one group get one number, from 1
    ink_pixels = np.flatnonzero(inner_ink)
    group_ids[labels.flat[ink_pixels]] = groups.flat[ink_pixels] + len(stats)
    _, group_ids = np.unique(group_ids, return_inverse=True)
    return group_ids.astype(np.int32)[labels], _merge_components(components, group_ids[1:] - 1)


def _merge_components(components: NDArray[np.int32], groups: NDArray[np.intp]) -> NDArray[np.int32]:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sorted_components = components[order]
    corners = np.minimum.reduceat(sorted_components[:, :2], starts)
    far_corners = np.maximum.reduceat(sorted_components[:, :2] + sorted_components[:, 2:4], starts)
    areas = np.add.reduceat(sorted_components[:, cv2.CC_STAT_AREA], starts)
    return np.column_stack([corners, far_corners - corners, areas]).astype(np.int32)


def _find_other_digits(components: NDArray[np.int32], main: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which components stand beside the main one and are tall enough to be digits themselves."""
    left, width, height = components[:, 0], components[:, 2], components[:, 3]
    gap = MIN_DIGIT_GAP * main[3]
    is_beside = (left >= main[0] + main[2] + gap) | (left + width <= main[0] - gap)
    is_other_digit: NDArray[np.bool_] = is_beside & (height >= MIN_OTHER_DIGIT_HEIGHT * main[3])
    return is_other_digit


def extract_soft_ink(picture: WorkingPicture, mask: Mask, *, length: int) -> GreyPicture:
    """Return the ink of `mask` with its anti-aliased edge, black elsewhere.

    In a small digit the faintest pixels are part of the stroke, in a large one they are blur.
    """
    edge = _estimate_edge_width(length)
    neighbourhood = cv2.dilate(mask, np.ones((2 * edge + 1,) * 2, np.uint8))
    floor = picture.threshold / 2 if edge > 1 else 0
    _, ink = cv2.threshold(picture.pixels, floor, 0, cv2.THRESH_TOZERO)
    return np.asarray(cv2.copyTo(ink, neighbourhood), np.uint8)


def _estimate_edge_width(length: int) -> int:
    return 1 + length // 128


def _touches_border(box: Box, pixels: GreyPicture) -> bool:
    left, top, width, height = box
    return left == 0 or top == 0 or left + width == pixels.shape[1] or top + height == pixels.shape[0]


def _crop_tightly(ink: GreyPicture) -> GreyPicture:
    left, top, width, height = cv2.boundingRect(ink)
    return ink[top : top + height, left : left + width]


def _place_by_mass(ink: GreyPicture) -> CanonicalPicture:
    left, top = _find_corner(ink)
    height, width = ink.shape
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[top : top + height, left : left + width] = ink
    return picture


def _find_corner(ink: GreyPicture) -> tuple[int, int]:
    """Return the left and top that put the ink's centre of mass at 14.0, as far as 28×28 pixels allow."""
    moments = cv2.moments(ink)
    height, width = ink.shape
    left = round(CENTRE - moments["m10"] / moments["m00"])
    top = round(CENTRE - moments["m01"] / moments["m00"])
    return min(max(left, 0), SIDE - width), min(max(top, 0), SIDE - height)
