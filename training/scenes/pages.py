"""Draws pictures as people upload them: photographs of paper, scans of forms, drawings on a canvas.

A scene is a glyph on a background, uint8 (height, width, 3). `read_scene` turns it into the canonical picture
through the service's own code, so the network learns from the pictures that it will see, flaws included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.colours import ColourPicture, to_grey
from app.digits.contract import CanonicalPicture
from app.digits.errors import NoInk
from app.digits.preprocessing import canonicalise
from training.scenes import symbols
from training.scenes.chance import draw_log_uniform
from training.scenes.symbols import Glyph

Rng: TypeAlias = np.random.Generator
Layer: TypeAlias = NDArray[np.floating[Any]]  # (height, width) or (height, width, 3), grey levels or shares

MIN_LENGTH: Final = 9  # pixels: people can't read smaller digits
STROKE_SHARE_RANGE: Final = (0.025, 0.2)  # of the digit's length: from a fine liner to a thick marker
THICK_STROKE_SHARE: Final = 0.28  # of the digit's length: a pen that is thick for a small drawing
NARROW_SHARE: Final = 0.15  # of the drawings are drawn tall and narrow,
NARROWNESS_RANGE: Final = (0.35, 0.8)  # this much narrower than written
MIN_COLOUR_DISTANCE: Final = 90.0  # between ink and background in RGB, 0 to 441: pale, but visible


def read_scene(scene: ColourPicture) -> CanonicalPicture | None:
    """Return the canonical picture of a scene, or None if it has no ink."""
    try:
        return canonicalise(to_grey(scene)).picture
    except NoInk:
        return None


def draw_photograph(glyph: Glyph, *, rng: Rng) -> ColourPicture:
    """Draw a photograph of a glyph on paper or on a blackboard."""
    side = int(rng.integers(96, 300))
    size = (round(side * rng.uniform(0.6, 1.2)), side)
    length = max(MIN_LENGTH + 7, round(min(size) * np.exp(rng.uniform(np.log(0.12), np.log(0.9)))))
    ink = _place_on_canvas(_scale_glyph(glyph, length, rng=rng), size, rng=rng, cut=0.02)
    board = _happens(rng, 0.08)
    paper = _draw_colour(rng, *((20, 90) if board else (150, 255)), tint=14)
    pen = _draw_colour(rng, *((180, 255) if board else (0, 110)), tint=45)
    opacity = rng.uniform(0.45, 1.0)
    layers: Layer = paper * _draw_texture(size, rng)[..., None]
    if not board and _happens(rng, 0.4):
        layers = _draw_ruled_lines(layers, length, rng=rng)
    if _happens(rng, 0.15):
        ink = np.maximum(ink, _draw_neighbour(ink, length, rng=rng))
    cover = (cv2.GaussianBlur(ink, (0, 0), 0.6).astype(np.float32) / 255 * opacity)[..., None]
    picture = layers * (1 - cover) + pen * cover
    picture = picture * _draw_light(size, rng)[..., None]
    if _happens(rng, 0.08):
        picture = _draw_desk(picture, rng)
    return _simulate_camera(picture, length, rng=rng)


def draw_scan(glyph: Glyph, *, rng: Rng) -> ColourPicture:
    """Draw a scan of a form, an envelope or a cheque, with remnants of lines, print, or only two tones."""
    length = int(rng.integers(14, 90))
    room = rng.uniform(1.05, 1.8, 2)
    ink = _scale_glyph(glyph, length, rng=rng)
    height = round(max(ink.shape[0] * room[0], ink.shape[0] + 2))
    size = (height, round(max(ink.shape[1], length * 0.6) * room[1]) + 2)
    ink = _place_on_canvas(ink, size, rng=rng, cut=0.0)
    paper, pen = rng.uniform(190, 255), rng.uniform(0, 90)
    ground = np.full(size, paper, np.float32) - _draw_print(size, rng)
    if _happens(rng, 0.4):
        ground = np.minimum(ground, _draw_cell(size, pen, rng=rng))
    cover = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.3, 0.9)).astype(np.float32) / 255
    picture = ground * (1 - cover) + pen * cover + rng.normal(0, rng.uniform(0, 8), size)
    if _happens(rng, 0.3):
        picture = np.where(picture > (paper + pen) / 2, 255.0, 0.0)
        picture = np.where(rng.random(size) < rng.choice([0, 0.004]), 255 - picture, picture)
    if _happens(rng, 0.1):
        picture = 255 - picture
    return _to_colour(picture)


def draw_drawing(glyph: Glyph, *, rng: Rng) -> ColourPicture:
    """Draw a glyph on a canvas, in any colours and with any pen, smooth or jagged, sometimes cut off."""
    side = int(np.exp(rng.uniform(np.log(16), np.log(300))))
    size = (side, side if _happens(rng, 0.6) else max(12, round(side * rng.uniform(0.6, 1.4))))
    fills_canvas = _happens(rng, 0.2)
    length = max(MIN_LENGTH, round(min(size) * (1.0 if fills_canvas else rng.uniform(0.3, 0.95))))
    if _happens(rng, NARROW_SHARE):
        narrow = max(2, round(glyph.shape[1] * rng.uniform(*NARROWNESS_RANGE)))
        glyph = cv2.resize(glyph, (narrow, len(glyph)), interpolation=cv2.INTER_AREA)
    ink = _scale_glyph(glyph, length, rng=rng, thickest=THICK_STROKE_SHARE)
    cut = 0.08 if _happens(rng, 0.15) else 0.0
    ink = _place_on_canvas(ink, size, rng=rng, cut=cut)
    if _happens(rng, 0.4):
        ink = np.where(ink > 127, 255, 0).astype(np.uint8)
    ground, pen = _draw_two_colours(rng)
    cover = ink.astype(np.float32)[..., None] / 255
    picture = ground * (1 - cover) + pen * cover
    if _happens(rng, 0.25):
        picture += rng.normal(0, rng.uniform(1, 9), picture.shape)
    drawing = np.clip(picture, 0, 255).astype(np.uint8)
    return _compress(drawing, rng) if _happens(rng, 0.2) else drawing


def draw_boxed(glyph: Glyph, *, rng: Rng) -> ColourPicture:
    """Stretch a glyph to fill a box of few pixels, as form readers and old data sets do."""
    height = int(rng.integers(12, 36))
    aspect = glyph.shape[1] / glyph.shape[0] * np.exp(rng.uniform(-0.1, 0.7))
    width = round(height * np.clip(aspect, 0.15, 1.1))
    rim = int(rng.integers(0, 5))
    small = cv2.resize(glyph, (max(3, width), height), interpolation=cv2.INTER_AREA).astype(np.float32)
    if _happens(rng, 0.7):
        small = np.where(small > rng.uniform(40, 150), 255.0, 0.0)
    if _happens(rng, 0.5):
        # up to where loops close, sometimes up to where a 1 is a block
        pen = round(rng.uniform(2, max(2.0, height / (3 if _happens(rng, 0.15) else 6))))
        small = cv2.dilate(np.pad(small, pen), np.ones((pen, pen)))
    ink = np.pad(small, rim) + rng.normal(0, 4, 1)
    return _to_colour(255 - ink if _happens(rng, 0.5) else ink)


def draw_worn(picture: CanonicalPicture, *, rng: Rng) -> ColourPicture:
    """Damage an MNIST picture, at its own size or a little larger, as scanners, faxes and dirt do."""
    times = int(rng.integers(1, 4))
    ink = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    for wear in rng.choice(np.array(_WEAR, object), rng.integers(1, 3), replace=False):
        ink = wear(ink, rng)
    worn_ink = np.clip(ink, 0, 255)
    return _to_colour(255 - worn_ink if _happens(rng, 0.4) else worn_ink)


def draw_background(rng: Rng) -> ColourPicture:
    """Draw a picture without writing: noise, blots, or light on paper."""
    size = (int(rng.integers(28, 200)), int(rng.integers(28, 200)))
    noise = _draw_cloud(size, rng, rough=float(rng.choice([1, 2, 4, 8, 16, 32])))
    kind = rng.integers(3)
    if kind == 0:
        picture = 128 + noise * rng.uniform(20, 120)
    elif kind == 1:
        picture = np.where(noise > rng.normal(0.8, 0.5), 30.0, 220.0) + rng.normal(0, 6, size)
    else:
        picture = 200 * _draw_light(size, rng) + rng.normal(0, rng.uniform(2, 30), size)
    return _to_colour(picture)


def _happens(rng: Rng, share: float) -> bool:
    return bool(rng.random() < share)


def _scale_glyph(glyph: Glyph, length: int, *, rng: Rng, thickest: float = STROKE_SHARE_RANGE[1]) -> Glyph:
    """Scale a glyph to a length in pixels; sometimes redraw it with another pen, or break its strokes."""
    scale = length / max(glyph.shape)
    size = (max(1, round(glyph.shape[1] * scale)), max(1, round(glyph.shape[0] * scale)))
    small = cv2.resize(glyph, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if _happens(rng, 0.4):
        share = draw_log_uniform(rng, STROKE_SHARE_RANGE[0], thickest)
        pen = 1 if _happens(rng, 0.25) else max(1, round(length * share))
        redrawn = symbols.redraw_with_pen(small, pen)
        small = redrawn if redrawn.size else small
    if _happens(rng, 0.12):
        small = _break_strokes(small, rng)
    return small


def _break_strokes(ink: Glyph, rng: Rng) -> Glyph:
    """Break strokes: wipe grains out of the ink, as with a dry pen, or thin lines."""
    height, width = ink.shape
    broken = ink.copy()
    if _happens(rng, 0.5):
        grain = _draw_cloud(ink.shape, rng, rough=max(1.0, max(ink.shape) / 40))
        broken[grain > rng.uniform(0.6, 1.6)] = 0
    else:
        for _ in range(rng.integers(1, 4)):
            (x, y), lean = rng.uniform((0, 0), (width, height)), rng.uniform(-1, 1)
            ends = (round(x - width), round(y - width * lean)), (round(x + width), round(y + width * lean))
            cv2.line(broken, *ends, 0, max(1, round(max(ink.shape) * rng.uniform(0.01, 0.05))))
    return broken if np.count_nonzero(broken) > 0.6 * np.count_nonzero(ink) else ink


def _place_on_canvas(ink: Glyph, size: tuple[int, int], *, rng: Rng, cut: float) -> Glyph:
    """Place ink at random on a canvas of `size`; up to a share `cut` of it may lie beyond an edge."""
    canvas = np.zeros(size, np.uint8)
    shrink = min(1.0, size[0] / ink.shape[0], size[1] / ink.shape[1])
    if shrink < 1:
        ink = cv2.resize(ink, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        ink = ink[: size[0], : size[1]]
    corner = []
    for room, length in zip(size, ink.shape, strict=True):
        overhang = round(cut * length)
        corner.append(int(rng.integers(-overhang, max(room - length, 0) + overhang + 1)))
    top, left = corner
    rows = slice(max(top, 0), min(top + ink.shape[0], size[0]))
    columns = slice(max(left, 0), min(left + ink.shape[1], size[1]))
    canvas[rows, columns] = ink[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return canvas


def _draw_colour(rng: Rng, low: float, high: float, *, tint: float) -> Layer:
    return np.clip(rng.uniform(low, high) + rng.uniform(-tint, tint, 3), 0, 255).astype(np.float32)


def _draw_two_colours(rng: Rng) -> tuple[Layer, Layer]:
    """Return colours for background and pen: mostly black and white, else any two that people can tell apart."""
    white, black = np.full(3, 255, np.float32), np.zeros(3, np.float32)
    chance = rng.random()
    if chance < 0.4:
        return white, _draw_colour(rng, 0, 60, tint=30) if _happens(rng, 0.4) else black
    if chance < 0.65:
        return black, _draw_colour(rng, 190, 255, tint=60) if _happens(rng, 0.4) else white
    ground = white if _happens(rng, 0.4) else rng.uniform(0, 255, 3).astype(np.float32)
    pen = rng.uniform(0, 255, 3).astype(np.float32)
    return (ground, pen) if np.linalg.norm(ground - pen) > MIN_COLOUR_DISTANCE else _draw_two_colours(rng)


def _draw_cloud(size: tuple[int, ...], rng: Rng, *, rough: float) -> Layer:
    """Return smooth noise of mean 0 and standard deviation 1, with grains of about `rough` pixels."""
    coarse = [max(2, round(length / rough)) for length in size[:2]]
    grains = rng.normal(0, 1, coarse).astype(np.float32)
    noise = cv2.resize(grains, size[1::-1], interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / max(float(noise.std()), 1e-6)


def _draw_texture(size: tuple[int, int], rng: Rng) -> Layer:
    fine = _draw_cloud(size, rng, rough=1.5) * rng.uniform(0, 0.025)
    coarse = _draw_cloud(size, rng, rough=float(rng.uniform(8, 40))) * rng.uniform(0, 0.03)
    return 1 + fine + coarse


def _draw_light(size: tuple[int, int], rng: Rng) -> Layer:
    """Return the light on the paper, 1 where it is brightest: a gradient, a vignette, the edge of a shadow."""
    height, width = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    light = 1 - rng.uniform(0, 0.3) * (along + 1) / 2
    if _happens(rng, 0.25):
        light *= 1 - rng.uniform(0.05, 0.35) * (x**2 + y**2) / 2
    if _happens(rng, 0.35):
        turn = rng.uniform(0, 2 * np.pi)
        wave = 0.15 * np.sin(3 * (x - y)) * rng.random()
        edge = x * np.cos(turn) + y * np.sin(turn) + wave + rng.uniform(-0.8, 0.8)
        light *= 1 - rng.uniform(0.1, 0.5) / (1 + np.exp(-edge * np.exp(rng.uniform(1.0, 4.0))))
    return light


def _draw_ruled_lines(paper: Layer, length: int, *, rng: Rng) -> Layer:
    height, width = paper.shape[:2]
    lines = np.zeros((height, width), np.uint8)
    gap = max(6.0, length * rng.uniform(0.35, 1.6))
    thickness = max(1, round(length * rng.uniform(0.005, 0.025)))
    lean = rng.normal(0, 0.02)
    squared = _happens(rng, 0.5)
    for at in np.arange(rng.uniform(0, gap) - gap, height + gap, gap):
        cv2.line(lines, (0, round(at)), (width, round(at + lean * width)), 255, thickness, cv2.LINE_AA)
    if squared:
        for at in np.arange(rng.uniform(0, gap) - gap, width + gap, gap):
            cv2.line(lines, (round(at), 0), (round(at - lean * height), height), 255, thickness, cv2.LINE_AA)
    tone = _draw_colour(rng, 70, 200, tint=50)
    cover = (lines.astype(np.float32) / 255 * rng.uniform(0.15, 0.6))[..., None]
    return paper * (1 - cover) + np.minimum(tone, paper) * cover


def _draw_neighbour(ink: Glyph, length: int, *, rng: Rng) -> Glyph:
    """Write another, smaller digit beside the digit, if there is room."""
    height, width = ink.shape
    left, _, across, _ = cv2.boundingRect(ink)
    room = max(left, width - left - across)
    other = np.zeros_like(ink)
    if room < length * 0.35:
        return other
    scale = min(length * rng.uniform(0.3, 0.6), room * 0.8) / symbols.SIZE
    small = cv2.resize(symbols.typeset_digit(rng)[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows, columns = small.shape
    at = 0 if left == room else width - columns
    top = int(rng.integers(0, max(1, height - rows)))
    other[top : top + rows, at : at + columns] = small[: height - top]
    return other


def _draw_desk(picture: Layer, rng: Rng) -> Layer:
    height, width = picture.shape[:2]
    tone = _draw_colour(rng, 10, 90, tint=25)
    share = rng.uniform(0.03, 0.1)
    mask = np.zeros((height, width), np.uint8)
    lean, edge = round(height * rng.uniform(-0.03, 0.03)), round(width * share)
    corners = np.array([(0, 0), (edge + lean, 0), (edge - lean, height), (0, height)])
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA)
    turned = mask if _happens(rng, 0.5) else mask[:, ::-1]
    cover = (turned.astype(np.float32) / 255)[..., None]
    return picture * (1 - cover) + tone * cover


def _simulate_camera(picture: Layer, length: int, *, rng: Rng) -> ColourPicture:
    height, width = picture.shape[:2]
    near = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    far = near + rng.normal(0, 0.02, (4, 2)).astype(np.float32) * (width, height)
    warp = cv2.getPerspectiveTransform(near, far.astype(np.float32))
    picture = cv2.warpPerspective(
        picture.astype(np.float32), warp, (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    picture = cv2.GaussianBlur(picture, (0, 0), max(0.3, length * rng.uniform(0.0, 0.03)))
    if _happens(rng, 0.5):
        picture = picture * rng.uniform(0.6, 1.0)
    noise = rng.normal(0, rng.uniform(0, 7), (height, width)).astype(np.float32)
    return _compress(np.clip(picture + noise[..., None], 0, 255).astype(np.uint8), rng)


def _compress(picture: ColourPicture, rng: Rng) -> ColourPicture:
    _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _draw_print(size: tuple[int, int], rng: Rng) -> Layer:
    """Return how much print darkens the background: waves as on cheques, grain as on envelopes, or none."""
    kind = rng.integers(4)
    if kind == 0:
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(3, 14)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle) + 2 * np.sin(y / 7)) * 2 * np.pi / pitch)
        return (wave + 1) * rng.uniform(2, 22)
    if kind == 1:
        return np.abs(_draw_cloud(size, rng, rough=float(rng.uniform(1, 12)))) * rng.uniform(2, 20)
    return np.zeros(size, np.float32)


def _draw_cell(size: tuple[int, int], tone: float, *, rng: Rng) -> Layer:
    height, width = size
    cell = np.full(size, 255, np.float32)
    thickness = int(rng.integers(1, 3))
    tone = tone if _happens(rng, 0.5) else rng.uniform(tone, 180)
    inset = int(rng.integers(0, max(1, min(size) // 14) + 1))
    sides = rng.random(4) < 0.5
    for row in np.array([inset, height - inset - thickness])[sides[:2]]:
        cell[row : row + thickness, :] = tone
    for column in np.array([inset, width - inset - thickness])[sides[2:]]:
        cell[:, column : column + thickness] = tone
    return cell


def _to_colour(picture: Layer) -> ColourPicture:
    return cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _add_noise(ink: Layer, rng: Rng) -> Layer:
    return ink + rng.normal(0, rng.uniform(5, 45), ink.shape)


def _add_impulses(ink: Layer, rng: Rng) -> Layer:
    chance, share = rng.random(ink.shape), rng.uniform(0.005, 0.12)
    return np.where(chance < share / 2, 0, np.where(chance > 1 - share / 2, 255, ink))


def _blur(ink: Layer, rng: Rng) -> Layer:
    return cv2.GaussianBlur(ink.astype(np.float32), (0, 0), rng.uniform(0.6, 1.3) * ink.shape[0] / 28)


def _add_streaks(ink: Layer, rng: Rng) -> Layer:
    """Draw or wipe out a few straight lines."""
    side = ink.shape[0]
    lines = np.ascontiguousarray(ink, np.float32)
    for _ in range(rng.integers(1, 5)):
        start, end = rng.uniform(-0.2, 1.2, (2, 2)) * side
        tone = float(rng.choice([0, rng.uniform(60, 255)]))
        ends = tuple(map(round, start)), tuple(map(round, end))
        cv2.line(lines, *ends, tone, max(1, side // 28), cv2.LINE_AA)
    return lines


def _strike_through(ink: Layer, rng: Rng) -> Layer:
    side, knots = ink.shape[0], int(rng.integers(3, 12))
    start, end = rng.uniform(0.1, 0.9, 2)
    swing = np.where(np.arange(knots) % 2, 1, -1) * rng.uniform(0, 0.15, knots)
    points = np.stack([np.linspace(0, 1, knots), np.linspace(start, end, knots) + swing], axis=-1) * side
    if _happens(rng, 0.2):
        points = points[:, ::-1]
    scrawled = np.ascontiguousarray(ink, np.float32)
    path, tone, pen = [np.rint(points).astype(np.int32)], rng.uniform(100, 255), max(1, side // 28)
    cv2.polylines(scrawled, path, False, tone, pen, cv2.LINE_AA)  # noqa: FBT003  OpenCV's isClosed
    return scrawled


def _add_dotted_line(ink: Layer, rng: Rng) -> Layer:
    """Print a dotted line across, as on forms."""
    side, count = ink.shape[0], int(rng.integers(5, 15))
    start, end = rng.uniform(0, 1, 2)
    dot = max(1, round(rng.uniform(0.03, 0.09) * side))
    dotted = ink.copy()
    for x, y in zip(np.linspace(0, side, count), np.linspace(start, end, count) * side, strict=True):
        dotted[round(y) : round(y) + dot, round(x) : round(x) + dot] = rng.uniform(120, 255)
    return dotted


def _add_fog(ink: Layer, rng: Rng) -> Layer:
    fog = _draw_cloud(ink.shape, rng, rough=ink.shape[0] / 4) * rng.uniform(10, 45) + rng.uniform(20, 110)
    return ink * rng.uniform(0.5, 0.9) + np.maximum(fog, 0)


def _spatter(ink: Layer, rng: Rng) -> Layer:
    cloud = _draw_cloud(ink.shape, rng, rough=ink.shape[0] / rng.uniform(6, 16))
    return np.where(cloud > rng.uniform(1.7, 2.6), rng.choice([0, 255]), ink)


def _dim(ink: Layer, rng: Rng) -> Layer:
    return ink * rng.uniform(0.25, 0.8) + rng.uniform(0, 90)


def _invert_bands(ink: Layer, rng: Rng) -> Layer:
    bands = ink.copy()
    across = bands.T if _happens(rng, 0.3) else bands
    for _ in range(rng.integers(1, 3)):
        start, width = round(rng.uniform(0, 0.8) * len(ink)), round(rng.uniform(0.1, 0.3) * len(ink))
        across[:, start : start + width] = 255 - across[:, start : start + width]
    return bands


def _outline(ink: Layer, rng: Rng) -> Layer:
    strokes = np.clip(ink, 0, 255).astype(np.uint8)
    pen = np.ones((3, 3) if _happens(rng, 0.7) else (2, 2), np.uint8)
    return cv2.morphologyEx(strokes, cv2.MORPH_GRADIENT, pen).astype(np.float32)


def _dash(ink: Layer, rng: Rng) -> Layer:
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]]
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(3, 6) * ink.shape[0] / 28
    wave = (x * np.cos(angle) + y * np.sin(angle)) / pitch % 1
    return np.where(wave < rng.uniform(0.2, 0.45), 0, ink)


def _add_grain(ink: Layer, rng: Rng) -> Layer:
    """Count few photons: noise that grows with brightness."""
    photons = rng.uniform(2, 20)
    return rng.poisson(np.clip(ink, 0, 255) / 255 * photons + rng.uniform(0, 1)) * 255 / photons


_WEAR: Final[tuple[Callable[[Layer, Rng], Layer], ...]] = (
    _add_noise, _add_impulses, _blur, _add_streaks, _strike_through, _add_dotted_line, _add_fog, _spatter, _dim, _invert_bands,
    _outline, _dash, _add_grain,
)  # fmt: skip
