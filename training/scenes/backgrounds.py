"""What numbers are written on, and what light and camera make of it: grey levels, float32 (height, width).

`unit` is the height of the writing in pixels: pens, lines and blur keep their proportion to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import GreyPicture
from training.scenes.chance import Rng, draw_log_uniform, happens, pick, pick_weighted
from training.scenes.pens import FRACTION_BITS

Grey: TypeAlias = NDArray[np.floating[Any]]  # (height, width), grey levels, or shares
Size: TypeAlias = tuple[int, int]  # height and width, pixels
DrawGround: TypeAlias = Callable[[Size, Rng], Grey]

DARKEST_BASE: Final = 24.0  # grey level: below, no ink can be told from the ground
EMPTY_BASE: Final = 200.0  # grey level of a ground without a pixel: any will do
MIN_CONTRAST: Final = (
    25.0  # grey levels between ink and ground: with less, blur and noise leave nothing to read
)
_LIGHT_SIDE: Final = 128  # pixels: light changes slowly, so that a small picture of it is enlarged
_PRINTED_WORDS: Final = (
    "PESOS",
    "BANCO",
    "$",
    "CHF",
    "BANK",
    "0000",
    "ooooo",
    "SANTANDER",
    "ESTADO",
    "***",
    "1234",
)
_PRINT_FACES: Final = (0, 2, 3, 4, 7)  # OpenCV's Hershey fonts
_PIXEL: Final = 1 << FRACTION_BITS


def draw_cloud(size: Size, rng: Rng, *, grain: float) -> Grey:
    """Return smooth noise, its grains about `grain` pixels, of mean 0 and a deviation below 1."""
    coarse = rng.standard_normal([max(2, int(side / grain) + 2) for side in size], np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


@lru_cache(maxsize=256)
def list_pixels(size: Size) -> tuple[Grey, Grey]:
    """Return the row and the column of every pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return rows, columns


def draw_cheque(size: Size, rng: Rng) -> Grey:
    """Return a printed ground: waves, hatching, arcs, dots, guilloches, words, one over the other."""
    base = rng.uniform(120, 235)
    ground = np.full(size, base, np.float32)
    strength = base * draw_log_uniform(rng, 0.04, 0.26)
    for _ in range(pick(rng, (1, 2, 2, 3))):
        ground -= strength * pick_weighted(rng, _PRINTS)(size, rng)
    if happens(rng, 0.4):
        ground += draw_cloud(size, rng, grain=rng.uniform(6, 60)) * base * rng.uniform(0.01, 0.06)
    if happens(rng, 0.5):
        ground += draw_cloud(size, rng, grain=1.6) * base * rng.uniform(0.005, 0.05)
    return ground


def draw_paper(size: Size, rng: Rng, *, unit: float, ruled: float = 0.3) -> Grey:
    """Return plain paper, a share `ruled` of it ruled or squared."""
    base = rng.uniform(150, 255) if happens(rng, 0.9) else rng.uniform(90, 150)
    if happens(rng, 0.12):
        base = 255.0
    paper = np.full(size, base, np.float32)
    if base < 254 and happens(rng, 0.7):
        paper += draw_cloud(size, rng, grain=1.5) * rng.uniform(0, 5)
        paper += draw_cloud(size, rng, grain=rng.uniform(10, 60)) * rng.uniform(0, 6)
    if happens(rng, ruled):
        paper = blend(paper, _draw_rules(size, rng, unit=unit), base * rng.uniform(0.35, 0.93))
    return paper


def draw_desk(size: Size, rng: Rng) -> Grey:
    """Return what lies under cards and notes: dark and plain, grainy, or wood."""
    desk = np.full(size, rng.uniform(15, 150), np.float32)
    kind = rng.integers(3)
    if kind == 0:
        desk += draw_cloud(size, rng, grain=rng.uniform(1.2, 4)) * rng.uniform(2, 18)
    elif kind == 1:
        along = list_pixels(size)[int(rng.integers(2))]
        rings = np.sin(along * rng.uniform(0.2, 1.2) + 2 * draw_cloud(size, rng, grain=60)) * 0.5
        fibres = rng.normal(0, 1, (size[0], max(2, size[1] // 40))).astype(np.float32)
        desk += (rings + cv2.resize(fibres, size[::-1])) * rng.uniform(2, 10)
    return desk + draw_cloud(size, rng, grain=70) * rng.uniform(0, 8)


def draw_light(size: Size, rng: Rng) -> Grey:
    """Return the share of the light that falls on each pixel: a slope, a vignette, a shadow, glare."""
    shrink = min(1.0, _LIGHT_SIDE / max(size))
    small = max(8, round(size[0] * shrink)), max(8, round(size[1] * shrink))
    rows, columns = list_pixels(small)
    down, across = rows / small[0] * 2 - 1, columns / small[1] * 2 - 1
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 - rng.uniform(0, 0.3) * ((across * np.cos(angle) + down * np.sin(angle)) / 2 + 0.5)
    if happens(rng, 0.2):
        light *= 1 - rng.uniform(0.05, 0.35) * (across**2 + down**2) / 2
    if happens(rng, 0.3):
        light *= 1 - rng.uniform(0.1, 0.55) * _draw_shadow(across, down, rng)
    if happens(rng, 0.06):
        x, y, radius = *rng.uniform(-1, 1, 2), rng.uniform(0.15, 0.6)
        light += rng.uniform(0.2, 0.8) * np.exp(-((across - x) ** 2 + (down - y) ** 2) / radius**2)
    return cv2.resize(light.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)


def take_picture(scene: Grey, rng: Rng, *, unit: float) -> GreyPicture:
    """Blur a scene, add noise, and compress it, each mostly and as much as cameras and scanners do."""
    if happens(rng, 0.8):
        radius = unit / 30 * draw_log_uniform(rng, 0.25, 1.0)
        scene = cv2.GaussianBlur(scene, (0, 0), radius) if radius > 0.25 else scene
    if happens(rng, 0.65):
        scene = scene + rng.standard_normal(scene.shape, np.float32) * rng.uniform(0.5, 7)
    picture = np.clip(scene, 0, 255).astype(np.uint8)
    if happens(rng, 0.55):
        _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))))
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return picture


class Ink(NamedTuple):
    """A grey level, and how much of the ground it hides."""

    tone: float
    opacity: float = 1.0


def draw_dark_ink(ground: Grey, rng: Rng) -> Ink:
    """Return ink darker than the ground, pale at times, that people can still see on its pattern."""
    base = max(float(ground.mean()), DARKEST_BASE) if ground.size else EMPTY_BASE
    tone = rng.uniform(5, 0.5 * base) if happens(rng, 0.88) else rng.uniform(0.45, 0.68) * base
    opacity = rng.uniform(0.7, 1.0)
    contrast = min(3 * float(ground.std()) + MIN_CONTRAST, 0.8 * base) if ground.size else MIN_CONTRAST
    if (base - tone) * opacity < contrast:
        return Ink(max(3.0, base - contrast * 1.15))
    return Ink(tone, opacity)


def blend(ground: Grey, cover: GreyPicture, tone: float, *, opacity: float = 1.0) -> Grey:
    """Return the ground with `tone` where `cover`, uint8, is 255."""
    share = cover.astype(np.float32) * np.float32(opacity / 255)
    return ground + share * (np.float32(tone) - ground)


def darken(ground: Grey, cover: GreyPicture, tone: float, *, opacity: float = 1.0) -> Grey:
    """Return the ground with `tone` where `cover` is 255, but nothing lighter than it was."""
    share = cover.astype(np.float32) * np.float32(opacity / 255)
    return ground + share * (np.minimum(tone, ground) - ground)


def draw_lines(cover: GreyPicture, ends: list[tuple[float, float, float, float]], thickness: int) -> None:
    """Draw straight lines, x and y of both ends, on a cover."""
    for ends_of_one in ends:
        x, y, other_x, other_y = (round(value * _PIXEL) for value in ends_of_one)
        cv2.line(cover, (x, y), (other_x, other_y), 255, thickness, cv2.LINE_AA, FRACTION_BITS)


def _draw_rules(size: Size, rng: Rng, *, unit: float) -> GreyPicture:
    height, width = size
    pitch = max(5.0, unit * draw_log_uniform(rng, 0.45, 2.2))
    lean, thickness = rng.normal(0, 0.025), 1 if happens(rng, 0.75) or unit < 20 else 2
    rules = np.zeros(size, np.uint8)
    rows = np.arange(rng.uniform(-pitch, 0), height + pitch, pitch)
    draw_lines(rules, [(0, y, width, y + lean * width) for y in rows], thickness)
    if happens(rng, 0.4):
        columns = np.arange(rng.uniform(-pitch, 0), width + pitch, pitch)
        draw_lines(rules, [(x, 0, x - lean * height, height) for x in columns], thickness)
    elif happens(rng, 0.15):
        margin = rng.uniform(0, width)
        draw_lines(rules, [(margin, 0, margin, height)], thickness)
    return rules


def _draw_shadow(across: Grey, down: Grey, rng: Rng) -> Grey:
    """Return the edge of a shadow, sharp or soft, or a band of it as a blind throws."""
    angle, steep = rng.uniform(0, 2 * np.pi), draw_log_uniform(rng, 3.3, 245)
    edge = across * np.cos(angle) + down * np.sin(angle) + rng.uniform(-0.8, 0.8)
    edge += 0.12 * rng.random() * np.sin(3 * (across - down))
    shadow = _sigmoid(edge * steep)
    if happens(rng, 0.25):
        shadow = np.abs(shadow - _sigmoid((edge + rng.uniform(0.15, 0.7)) * steep))
    return shadow


def _sigmoid(values: Grey) -> Grey:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))


def _sharpen_wave(phase: Grey, size: Size, rng: Rng) -> Grey:
    """Return thin or broad lines where the phase is a multiple of 2π, in patches or all over."""
    wave = np.cos(phase)
    sharpness = rng.uniform(0, 0.85)
    wave = np.clip((wave - sharpness) / (1 - sharpness), 0, 1) if sharpness > 0.3 else (wave + 1) / 2
    if happens(rng, 0.3):
        wave *= np.clip(draw_cloud(size, rng, grain=max(size[0], 20)) * 0.5 + 0.6, 0, 1)
    return wave


def _draw_level_waves(size: Size, rng: Rng) -> Grey:
    rows, columns = list_pixels(size)
    swing = np.sin(columns * (2 * np.pi / rng.uniform(15, 90)) + rng.uniform(0, 2 * np.pi))
    phase = rows + rng.uniform(0.3, 5) * swing + columns * rng.normal(0, 0.12)
    return _sharpen_wave(phase * (2 * np.pi / rng.uniform(2.5, 9)), size, rng)


def _draw_hatching(size: Size, rng: Rng) -> Grey:
    rows, columns = list_pixels(size)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(2.5, 12)
    return _sharpen_wave((columns * np.cos(angle) + rows * np.sin(angle)) * (2 * np.pi / pitch), size, rng)


def _draw_arcs(size: Size, rng: Rng) -> Grey:
    rows, columns = list_pixels(size)
    x, y = rng.uniform(-0.3, 1.3) * size[1], rng.uniform(-3, 4) * size[0]
    radius = np.hypot(columns - np.float32(x), rows - np.float32(y))
    return _sharpen_wave(radius * (2 * np.pi / rng.uniform(2.5, 9)), size, rng)


def _draw_tiles(size: Size, rng: Rng) -> Grey:
    """Repeat a small pattern of dots, mirrored mostly, as rosettes are."""
    side = int(rng.integers(4, 12))
    tile = (rng.random((side, side)) < rng.uniform(0.15, 0.5)).astype(np.float32)
    for mirrored in (tile[:, ::-1], tile[::-1]):
        tile = np.maximum(tile, mirrored) if happens(rng, 0.5) else tile
    top, left = rng.integers(side, size=2)
    tiled = np.tile(tile, (size[0] // side + 2, size[1] // side + 2))
    shown = np.ascontiguousarray(tiled[top : top + size[0], left : left + size[1]])
    return cv2.GaussianBlur(shown, (0, 0), rng.uniform(0.4, 0.9)) * 1.6


def _draw_guilloche(size: Size, rng: Rng) -> Grey:
    """Draw a sheaf of sines across."""
    height, width = size
    sheaf = np.zeros(size, np.uint8)
    columns = np.arange(0, width + 6, 6, dtype=np.float32)
    swing, period = rng.uniform(0.2, 1.0) * height, rng.uniform(0.6, 4) * height
    for number in range(rng.integers(6, 22)):
        phase = columns * 2 * np.pi / period + number * rng.uniform(0.1, 0.5)
        rows = height * rng.uniform(0.2, 0.8) + swing * np.sin(phase) * np.cos(number * 0.3)
        points = np.rint(np.stack([columns, rows], axis=1) * _PIXEL).astype(np.int32)
        cv2.polylines(sheaf, [points], False, 255, 1, cv2.LINE_AA, FRACTION_BITS)  # noqa: FBT003
    return sheaf * np.float32(rng.uniform(0.6, 1.3) / 255)


def _draw_words(size: Size, rng: Rng) -> Grey:
    """Print a word large and pale."""
    height, width = size
    words = np.zeros(size, np.uint8)
    word = pick(rng, _PRINTED_WORDS)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(-20, width)), int(rng.integers(5, height + 8))
        face, scale, thickness = pick(rng, _PRINT_FACES), rng.uniform(0.25, 1.5), int(rng.integers(1, 4))
        cv2.putText(words, word, at, face, scale, 255, thickness, cv2.LINE_AA)
    return words * np.float32(rng.uniform(0.4, 1.0) / 255)


_PRINTS: Final[tuple[tuple[float, DrawGround], ...]] = (
    (0.3, _draw_level_waves), (0.22, _draw_hatching), (0.14, _draw_arcs), (0.14, _draw_tiles), (0.1, _draw_guilloche),
    (0.1, _draw_words),
)  # fmt: skip
