"""Steps that correct light and background: after them, ink is dark on evenly lit paper."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import cv2
import numpy as np

from . import tones
from .components import label_components
from .contract import GreyPicture
from .working_picture import (
    SMALL_COPY_SIDE,
    SPANNING_SHARE,
    UNIFORM_SPREAD,
    Mask,
    WorkingPicture,
    is_uniform,
)

MIN_BAND_CONTRAST: Final = 96  # grey levels between two backgrounds in one picture
MIN_VISIBLE_EDGE: Final = 0.75  # of a band's edge: ink may cover the rest
MIN_MATCHING_COLUMNS: Final = 0.9  # of the columns that have the same background at the top and the bottom
PAPER_LEVEL: Final = 224  # grey level of paper after `even_light`: leaves room for grain that is lighter
MIN_DETAILED_SIDE: Final = 64  # pixels: in a smaller picture, a stroke may be a tenth of the width
MAX_PLAIN_INK: Final = 0.25  # of the picture: more is not ink but a sheet on a desk
MIN_DEAD_PIXEL_CONTRAST: Final = 64  # grey levels between a dead pixel and the median of its surroundings
MAX_DOT_AREA: Final = 5  # connected pixels: a larger component is a stroke
MIN_DEAD_PIXEL_SHARE: Final = 0.02  # of all pixels: fewer are dust
STRONG_CONTRAST: Final = 64  # grey levels: the gradient of the light matters only for paler ink
MIN_SEPARABILITY: Final = 0.8  # share of variance between dark and light (Otsu); 1 is black on white
MIN_TWO_TONE_SEPARABILITY: Final = 0.95  # share of variance: a drawing, or a scan in two tones
MAX_STROKE_WIDTH: Final = 0.33  # of the longer side
MIN_WIDTH_RATIO: Final = 1.5  # width of the background, in stroke widths
CLEARLY_UNIFORM_SHARE: Final = 0.75  # of the border that has one tone: a corner may be lit differently
MIN_POLARITY_SCORE: Final = 0.3  # of 1, either sign: the ink is clearly lighter or darker
MIN_THIN_POLARITY_SCORE: Final = 0.15  # of 1: lower, because it is the mean of two scores


def is_plain(picture: WorkingPicture) -> bool:
    """Tell whether strong ink lies on a uniform background, away from the border, as in most drawings.

    Such a picture has no bands, desk, shadows or ruled lines.
    """
    small = picture.thumbnail
    border = np.flatnonzero(tones.border_histogram(small, width=1))
    darkest, lightest = int(border[0]), int(border[-1])
    if lightest - darkest > UNIFORM_SPREAD:
        return False
    low, high, *_ = cv2.minMaxLoc(small)
    if max(darkest - low, high - lightest) < STRONG_CONTRAST:
        return False
    background = cv2.inRange(small, darkest, lightest)
    _, _, width, height = cv2.boundingRect(255 - background)
    ink_share = 1 - cv2.countNonZero(background) / background.size
    return bool(
        ink_share < MAX_PLAIN_INK and max(width / small.shape[1], height / small.shape[0]) < SPANNING_SHARE
    )


def remove_dead_pixels(picture: WorkingPicture) -> WorkingPicture:
    """Remove salt-and-pepper noise from a small picture, as noisy transmission and faulty sensors leave it.

    In a larger picture, shrinking averages it out, or its dots are too small to pass for part of the digit.
    """
    pixels = picture.pixels
    if max(pixels.shape) > SMALL_COPY_SIDE:
        return picture
    filtered = cv2.medianBlur(pixels, 3)
    outliers = (cv2.absdiff(pixels, filtered) > MIN_DEAD_PIXEL_CONTRAST).view(np.uint8)
    if cv2.countNonZero(outliers) < MIN_DEAD_PIXEL_SHARE * outliers.size:
        return picture
    labels, stats = label_components(outliers)
    is_dot = (stats[:, cv2.CC_STAT_AREA] <= MAX_DOT_AREA)[labels]
    top, left = (math.ceil(side / 4) for side in pixels.shape)
    corners = (is_dot[rows, columns] for rows in np.s_[:top, -top:] for columns in np.s_[:left, -left:])
    if is_dot.mean() < MIN_DEAD_PIXEL_SHARE or not all(corner.any() for corner in corners):
        return picture  # dust, or a digit made of dots
    return dataclasses.replace(picture, pixels=np.where(is_dot, filtered, pixels))


def remove_bands(picture: WorkingPicture) -> WorkingPicture:
    """Even out bands with a different background that run across the whole picture, as in bad scans."""
    pixels = _subtract_bands(picture.pixels)
    if pixels is None:
        pixels = _subtract_bands(picture.pixels.T)
        pixels = None if pixels is None else np.ascontiguousarray(pixels.T)
    return picture if pixels is None else dataclasses.replace(picture, pixels=pixels)


def normalise_polarity(picture: WorkingPicture) -> WorkingPicture:
    """Invert a picture whose ink is lighter than its background.

    Ink deviates strongly from the background in few places: cubing the deviations lets a few strong ones
    outweigh many weak ones.
    """
    small = picture.thumbnail
    border = tones.border_histogram(small, width=max(1, min(small.shape) // 8))  # wider than a printed frame
    is_border_uniform = is_uniform(border, share=CLEARLY_UNIFORM_SHARE) or (
        is_uniform(border) and _split_tones(small)[0] > MIN_TWO_TONE_SEPARABILITY
    )
    if is_border_uniform:
        polarity_score = _measure_polarity(small, background=tones.median(border))
    else:
        polarity_score = _measure_stroke_polarity(small) or _measure_local_polarity(small)
    is_ink_lighter = polarity_score > 0
    if is_ink_lighter == picture.is_polarity_retry:  # a retry takes the other polarity
        return picture
    return dataclasses.replace(picture, pixels=255 - picture.pixels, polarity="light_on_dark")


def even_light(picture: WorkingPicture) -> WorkingPicture:
    """Divide by the light on the paper, estimated by a morphological closing that removes the strokes.

    A closing fills whatever is narrower than its kernel, and does not move the edge of a shadow.
    """
    small = picture.small_copy
    if is_evenly_lit(small):
        return picture  # a scan or a drawing, however bold its ink
    illumination = _close_strokes(cv2.blur(picture.thumbnail, (3, 3)))
    if max(small.shape) < MIN_DETAILED_SIDE:
        illumination = cv2.blur(illumination, (9, 9))  # at this size, noise is as strong as shadows
    else:
        # leaves a light halo around shadows instead of a dark rim
        illumination = cv2.erode(illumination, np.ones((3, 3), np.uint8))
    illumination = cv2.resize(illumination, picture.pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return dataclasses.replace(picture, pixels=cv2.divide(picture.pixels, illumination, scale=PAPER_LEVEL))


def _subtract_bands(pixels: GreyPicture) -> GreyPicture | None:
    """Subtract the background at the two ends of each column, if it differs strongly between columns."""
    top, bottom = pixels[0].astype(np.float32), pixels[-1].astype(np.float32)
    background = (top + bottom) / 2
    if (
        np.ptp(background) < MIN_BAND_CONTRAST
        or (np.abs(top - bottom) <= MIN_BAND_CONTRAST / 4).mean() < MIN_MATCHING_COLUMNS
    ):
        return None
    edges = np.flatnonzero(np.abs(np.diff(background)) >= MIN_BAND_CONTRAST / 2)
    has_edge = np.abs(np.diff(pixels.astype(np.int16), axis=1)[:, edges]) >= MIN_BAND_CONTRAST / 4
    # without such edges, this is ink that ends at the border, or a lighting gradient
    if not edges.size or has_edge.mean(axis=0).min() < MIN_VISIBLE_EDGE:
        return None
    ink = cv2.absdiff(pixels, np.tile(np.rint(background).astype(np.uint8), (pixels.shape[0], 1)))
    # without other ink, the band is itself the ink: a bold 1
    return 255 - ink if ink.max() >= MIN_BAND_CONTRAST else None


def _measure_polarity(small: GreyPicture, *, background: float) -> float:
    """Return the polarity score: from -1, all ink is darker than the background, to 1, all is lighter."""
    deviations = tones.LEVELS - background
    cubes = tones.histogram(small) * deviations * deviations * deviations  # `** 3` takes 20 times as long
    return float(cubes.sum() / max(float(np.abs(cubes).sum()), 1.0))


def _weigh_light_against_dark(light: GreyPicture, dark: GreyPicture) -> float:
    light_weight, dark_weight = (float(tones.histogram(part) @ tones.CUBES) for part in (light, dark))
    return (light_weight - dark_weight) / max(light_weight + dark_weight, 1.0)


def _measure_stroke_polarity(small: GreyPicture) -> float:
    """Return -1 if the darker of two clear tones lies in strokes, 1 if the lighter one does, else 0.

    However bold, strokes are narrower than their background. A shadow has a tone of its own, too, but is
    wide.
    """
    separability, light = _split_tones(cv2.blur(small, (3, 3)))
    if separability < MIN_SEPARABILITY:
        return 0.0
    light_width, dark_width = (
        2 * float(cv2.distanceTransform(tone, cv2.DIST_L2, 5).max()) for tone in (light, 1 - light)
    )
    narrow, wide = sorted((light_width, dark_width))
    if narrow <= MAX_STROKE_WIDTH * max(small.shape) and wide >= MIN_WIDTH_RATIO * narrow:
        return 1.0 if light_width < dark_width else -1.0
    separability, light = _split_tones(small)
    return _measure_corner_polarity(light) if separability > MIN_TWO_TONE_SEPARABILITY else 0.0


def _measure_corner_polarity(light: Mask) -> float:
    """Return 1 for three or more dark corners, -1 for light ones: a digit rarely covers the corners."""
    height, width = (max(1, length // 12) for length in light.shape)
    corners = [
        light[rows, columns].mean() for rows in np.s_[:height, -height:] for columns in np.s_[:width, -width:]
    ]
    light_corners = sum(corner > 0.5 for corner in corners)  # noqa: PLR2004  # more light than dark
    return {0: 1.0, 1: 1.0, 3: -1.0, 4: -1.0}.get(light_corners, 0.0)


def _split_tones(small: GreyPicture) -> tuple[float, Mask]:
    """Return the share of variance that Otsu's threshold explains, and the light pixels."""
    _, light = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, spread = cv2.meanStdDev(small)
    contrast = cv2.mean(small, light)[0] - cv2.mean(small, 1 - light)[0]
    share = cv2.countNonZero(light) / light.size
    return share * (1 - share) * contrast**2 / max(spread.item() ** 2, 1e-6), np.asarray(light, np.uint8)


def _measure_local_polarity(small: GreyPicture) -> float:
    """Compare pixels with their surroundings, for uneven light: thin ink first, then bold ink."""
    thin = (
        _measure_polarity_around(small, reach=max(small.shape) // 6) + _measure_top_hat_polarity(small)
    ) / 2
    if abs(thin) > MIN_THIN_POLARITY_SCORE:
        return thin
    bold = _measure_polarity_around(small, reach=max(small.shape) // 2)
    if abs(bold) > MIN_POLARITY_SCORE:
        return bold
    overall = _measure_polarity(small, background=tones.median(tones.histogram(small)))
    return overall if abs(overall) > MIN_POLARITY_SCORE else -1.0  # most people write dark on light


def _measure_polarity_around(small: GreyPicture, *, reach: int) -> float:
    background = cv2.medianBlur(small, reach | 1)  # a shadow's sharp edge stays
    return _weigh_light_against_dark(cv2.subtract(small, background), cv2.subtract(background, small))


def _measure_top_hat_polarity(small: GreyPicture) -> float:
    """Weigh light, narrow details against dark ones; the edges of shadows are neither."""
    reach = max(3, max(small.shape) // 8 | 1)
    padded = cv2.copyMakeBorder(cv2.blur(small, (3, 3)), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    square = np.ones((reach, reach), np.uint8)
    light, dark = (
        cv2.morphologyEx(padded, operation, square) for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    )
    return _weigh_light_against_dark(light, dark)


def _close_strokes(small: GreyPicture) -> GreyPicture:
    """Fill what is dark and narrower than a quarter of the picture; a desk along the border stays."""
    reach = max(small.shape) // 4 | 1
    padded = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    return np.asarray(closed[reach:-reach, reach:-reach], np.uint8)


def is_evenly_lit(small: GreyPicture) -> bool:
    """Tell whether the border has one tone, and the ink is strong or the picture too small to judge that."""
    border = tones.border_histogram(small)
    is_strong = int(tones.median(border)) - int(small.min()) >= STRONG_CONTRAST
    return is_uniform(border) and (is_strong or max(small.shape) < MIN_DETAILED_SIDE)
