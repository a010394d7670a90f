"""Corrupts test pictures the way that scanners, cameras, compression and drawing tools do.

Strengths are about those of MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337) where it has the corruption, and
else about the middle of the five levels of Hendrycks and Dietterich (2019, arXiv:1903.12261), scaled to 28
pixels. Fog and blurs are weaker, so that people can still read every picture, and an error is the service's.
The code and the pictures are our own: do not compare the figures with those measured on MNIST-C itself.

Each corruption takes pictures, uint8 (n, 28, 28), light on dark, and a random generator, and returns pictures
of the same shape; equal generators give equal pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import SIDE, CanonicalPicture, DigitBatch

Corruption: TypeAlias = Callable[[DigitBatch, np.random.Generator], DigitBatch]

WHITE: Final = 255
CENTRE: Final = (SIDE - 1) / 2  # pixels: the point about which pictures are rotated, sheared and scaled


def shot_noise(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Count few photons, as a sensor does in the dark: 3 for a white pixel."""
    photons = 3
    return _to_grey(rng.poisson(pictures / WHITE * photons) / photons * WHITE)


def gaussian_noise(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Add an amplifier's noise, 18 % of full white in standard deviation."""
    return _to_grey(pictures + rng.normal(0, 0.18 * WHITE, pictures.shape))


def impulse_noise(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Turn 17 % of the pixels black or white: dead cells, lost bits."""
    share = 0.17
    is_hit = rng.random(pictures.shape) < share
    return np.where(is_hit, rng.choice(np.array([0, WHITE], np.uint8), pictures.shape), pictures)


def gaussian_blur(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Blur by 1.3 to 1.7 pixels: two thirds of a stroke's width, so that loops stay open."""
    return _stack(cv2.GaussianBlur(one, (0, 0), sd) for one, sd in _pair_with_levels(pictures, rng, 1.3, 1.7))


def defocus_blur(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Spread each point over a disk 4 to 5 pixels wide, as a lens out of focus does."""
    return _stack(
        cv2.filter2D(one, -1, _build_disk_kernel(radius))
        for one, radius in _pair_with_levels(pictures, rng, 2.0, 2.5)
    )


def glass_blur(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Look through frosted glass: blur, replace every pixel by a random neighbour, and blur again."""
    blurred = _stack(cv2.GaussianBlur(one, (0, 0), 0.7) for one in pictures)
    steps = rng.integers(-1, 2, (len(pictures), 2, SIDE, SIDE)).swapaxes(0, 1)
    rows, columns = np.indices((SIDE, SIDE))[:, None] + steps
    indices = np.arange(len(pictures))[:, None, None]
    moved = blurred[indices, rows.clip(0, SIDE - 1), columns.clip(0, SIDE - 1)]
    return _stack(cv2.GaussianBlur(one, (0, 0), 0.7) for one in moved)


def motion_blur(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Move the camera by 5 pixels, within 45 degrees of the horizontal."""
    angles = _pair_with_levels(pictures, rng, -np.pi / 4, np.pi / 4)
    return _stack(cv2.filter2D(one, -1, _build_motion_kernel(angle, length=5)) for one, angle in angles)


def stripes(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Invert the outer quarters, left and right or above and below: a banner behind the digit."""
    striped = pictures.copy()
    directions = rng.integers(0, 2, len(pictures))
    for one, standing in zip(striped, directions, strict=True):
        view = one if standing else one.T
        view[:, : SIDE // 4] = WHITE - view[:, : SIDE // 4]
        view[:, -SIDE // 4 :] = WHITE - view[:, -SIDE // 4 :]
    return striped


def scratches(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Scratch off the ink along two lines, one pixel wide, that pass within 5 pixels of the middle."""
    angle, aside = rng.uniform(0, np.pi, (len(pictures), 2)), rng.uniform(-5, 5, (len(pictures), 2))
    along = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    nearest = CENTRE + aside[..., None] * along[..., ::-1] * (-1, 1)
    ends = np.stack([nearest - SIDE * along, nearest + SIDE * along], axis=2)
    return _stack(_draw_lines(one, lines, tone=0) for one, lines in zip(pictures, ends, strict=True))


def fog(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Lay clouds over the picture, up to twice as bright as the ink, then reduce the exposure."""
    weight = 2.0
    return _to_grey((pictures + weight * WHITE * _draw_clouds(len(pictures), rng)) / (1 + weight))


def dotted_line(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Print a dotted line across, as on forms: a dot every 4 pixels."""
    return _stack(_draw_dots(one, _draw_across(rng), every=4) for one in pictures)


def zigzag(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Draw a thin zigzag across: 2 pixels to either side, a turn every 8."""
    return _stack(_draw_lines(one, _build_zigzag(_draw_across(rng)), tone=WHITE) for one in pictures)


def dashes(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Let the pen skip: leave out one diagonal in four, with a random offset."""
    phase = rng.integers(0, 4, (len(pictures), 1, 1))
    is_skipped = (np.indices((SIDE, SIDE)).sum(axis=0) + phase) % 4 == 0
    return np.where(is_skipped, 0, pictures).astype(np.uint8)


def brightness(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Overexpose: add 40 to 50 % of full white."""
    return _to_grey(pictures + rng.uniform(0.4, 0.5, (len(pictures), 1, 1)) * WHITE)


def pale_ink(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Write with a hard pencil: a fifth of the contrast, on a background of a random grey."""
    background = rng.uniform(0, 0.8, (len(pictures), 1, 1)) * WHITE
    return _to_grey(background + 0.2 * pictures)


def shear(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Slant by a tangent of 0.3 to 0.5 to either side."""
    slant = rng.uniform(0.3, 0.5, len(pictures)) * _draw_signs(len(pictures), rng)
    return _warp(pictures, [((1, tangent), (0, 1)) for tangent in slant])


def scale(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Shrink to 60 to 75 %: a digit of 12 to 15 pixels."""
    factors = rng.uniform(0.6, 0.75, len(pictures))
    return _warp(pictures, [((factor, 0), (0, factor)) for factor in factors])


def rotation(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Rotate by 18 to 26 degrees to either side: a sheet laid down carelessly."""
    angles = np.radians(rng.uniform(18, 26, len(pictures))) * _draw_signs(len(pictures), rng)
    return _warp(pictures, [((np.cos(a), -np.sin(a)), (np.sin(a), np.cos(a))) for a in angles])


def translation(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Move by 3 to 4 pixels both ways, to where MNIST's widest digits touch the border."""
    shifts = rng.uniform(3, 4, (len(pictures), 2)) * _draw_signs((len(pictures), 2), rng)
    return _warp(pictures, [np.eye(2)] * len(pictures), shifts=shifts)


def spatter(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Splash drops of dark mud over a tenth of the picture."""
    drops = _stack(cv2.GaussianBlur(one, (0, 0), 1.2) for one in rng.random(pictures.shape))
    is_muddy = drops > np.quantile(drops, 0.9, axis=(1, 2), keepdims=True)
    return np.where(is_muddy, WHITE // 4, pictures).astype(np.uint8)


def jpeg(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Compress as JPEG at a quality of 10 to 18 of 100."""
    return _stack(_compress(one, round(quality)) for one, quality in _pair_with_levels(pictures, rng, 10, 18))


def pixelation(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Enlarge from 12 to 14 pixels a side without smoothing."""
    return _stack(_pixelate(one, round(side)) for one, side in _pair_with_levels(pictures, rng, 12, 14))


def outline(pictures: DigitBatch, rng: np.random.Generator) -> DigitBatch:
    """Keep only the edges of strokes, as found by Canny's detector: hollow letters."""
    levels = _pair_with_levels(pictures, rng, 64, 192)  # threshold of a stroke, in grey levels
    return _stack(cv2.Canny(cv2.threshold(one, level, WHITE, 0)[1], 100, 200) for one, level in levels)


CORRUPTIONS: Final[Mapping[str, Corruption]] = {
    corruption.__name__: corruption
    for corruption in (
        shot_noise, gaussian_noise, impulse_noise, gaussian_blur, defocus_blur, glass_blur,
        motion_blur, stripes, scratches, fog, dotted_line, zigzag, dashes, brightness, pale_ink,
        shear, scale, rotation, translation, spatter, jpeg, pixelation, outline,
    )
}  # fmt: skip


def _stack(pictures: Iterable[NDArray[Any]]) -> NDArray[Any]:
    return np.stack(list(pictures))


def _to_grey(levels: NDArray[np.float64]) -> DigitBatch:
    return np.rint(levels).clip(0, WHITE).astype(np.uint8)


def _pair_with_levels(
    pictures: DigitBatch, rng: np.random.Generator, low: float, high: float
) -> Iterable[tuple[CanonicalPicture, float]]:
    return zip(pictures, rng.uniform(low, high, len(pictures)).tolist(), strict=True)


def _draw_signs(shape: int | tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.choice(np.array([-1, 1]), shape)


def _build_disk_kernel(radius: float) -> NDArray[np.float64]:
    y, x = np.mgrid[-3:4, -3:4]
    disk = (radius + 0.5 - np.hypot(x, y)).clip(0, 1)  # a soft edge
    return disk / disk.sum()


def _build_motion_kernel(angle: float, *, length: int) -> NDArray[np.float64]:
    side = length + 3 | 1
    half = np.array([np.cos(angle), np.sin(angle)]) * (length / 2)
    ends = np.stack([side // 2 - half, side // 2 + half])
    track = _draw_lines(np.zeros((side, side), np.uint8), [ends], tone=WHITE)
    return track / track.sum(dtype=float)


def _draw_lines(
    picture: NDArray[np.uint8], lines: Iterable[NDArray[np.float64]], *, tone: int
) -> NDArray[np.uint8]:
    """Draw lines one pixel wide; each is (2, 2), its start and end as x, y."""
    drawn = picture.copy()
    for line in lines:
        ends = [tuple(round(value * 16) for value in point) for point in line.tolist()]
        cv2.line(drawn, *ends, tone, 1, cv2.LINE_AA, 4)  # 4 bits of fraction: sixteenths of a pixel
    return drawn


def _draw_dots(picture: CanonicalPicture, line: NDArray[np.float64], *, every: int) -> CanonicalPicture:
    """Draw dots of 2x2 pixels along a line, (2, 2): start and end as x, y."""
    dotted = picture.copy()
    count = int(np.hypot(*(line[1] - line[0])) / every)
    for x, y in np.linspace(line[0], line[1], count).astype(int):
        dotted[max(y, 0) : y + 2, max(x, 0) : x + 2] = WHITE
    return dotted


def _draw_across(rng: np.random.Generator) -> NDArray[np.float64]:
    left, right = rng.uniform(4, SIDE - 4, 2)
    return np.array([[0, left], [SIDE - 1, right]])


def _build_zigzag(line: NDArray[np.float64]) -> NDArray[np.float64]:
    knots = np.linspace(line[0], line[1], 1 + SIDE // 4)
    knots[:, 1] += np.where(np.arange(len(knots)) % 2, 2, -2)
    return np.stack([knots[:-1], knots[1:]], axis=1)


def _draw_clouds(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise from 0 to 1, (count, 28, 28), summed over finer grids, each half as strong."""
    clouds = np.zeros((count, SIDE, SIDE))
    for octave in range(4):
        cells = rng.random((count, 2 << octave, 2 << octave))
        clouds += _stack(
            cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / 2**octave for one in cells
        )
    low, high = clouds.min(axis=(1, 2), keepdims=True), clouds.max(axis=(1, 2), keepdims=True)
    return (clouds - low) / (high - low)


def _warp(
    pictures: DigitBatch, matrices: Iterable[Any], *, shifts: NDArray[np.float64] | None = None
) -> DigitBatch:
    """Transform every picture about its centre by its (2, 2) matrix, then shift it by x, y pixels."""
    linear = np.array(list(matrices), float)
    middle = np.full(2, CENTRE)
    offsets = middle - linear @ middle + (0 if shifts is None else shifts)
    maps = np.concatenate([linear, offsets[..., None]], axis=2)
    return _stack(cv2.warpAffine(one, map_, (SIDE, SIDE)) for one, map_ in zip(pictures, maps, strict=True))


def _compress(picture: CanonicalPicture, quality: int) -> CanonicalPicture:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def _pixelate(picture: CanonicalPicture, side: int) -> CanonicalPicture:
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
