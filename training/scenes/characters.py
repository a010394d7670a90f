"""Single characters on their way into a line: pen paths or pixels, their box, and how far they reach.

Everything is drawn for digits `DIGIT_HEIGHT` pixels high; x begins at 0 on the left, y is 0 on the line that
digits stand on and grows downwards.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.digits.contract import CHARACTERS, OTHER_WRITING, CanonicalPicture
from training.data import fonts
from training.scenes.chance import Rng
from training.scenes.pens import Canvas, Path, Pen, resample

Profile: TypeAlias = NDArray[np.float64]  # (BANDS,), x in each band of heights
Bounds: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom

DIGIT_HEIGHT: Final = 64  # pixels: larger than any is shown, so that nothing is enlarged
BANDS: Final = 27  # in which neighbours are kept apart: a tenth of a digit's height each,
BAND_HEIGHT: Final = DIGIT_HEIGHT / 10  # pixels
TOP_BAND: Final = -1.7 * DIGIT_HEIGHT  # pixels: from above the tallest parenthesis to below the lowest comma
FAR: Final = 1e5  # pixels: where a band is empty
POINT_DISTANCE: Final = 3.0  # pixels between the points of a path
VISIBLE: Final = 60  # of 255: ink that people see
_DARK: Final = 100  # of 255: ink that keeps neighbours apart
_FONT_SAMPLE: Final = 100  # points: at which a font's 8 is measured
_SEGMENTS: Final = {
    "0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc",
    "8": "abcdefg", "9": "abcdfg",
}  # fmt: skip


@dataclass(frozen=True)
class Character(ABC):
    """A character, and where it has been moved to."""

    label: int  # index in `CHARACTERS`
    left: Profile
    right: Profile
    box: Bounds  # before it was moved
    x: float = 0.0
    y: float = 0.0

    def move(self, x: float, y: float = 0.0) -> Self:
        """Return it, moved further."""
        return dataclasses.replace(self, x=self.x + x, y=self.y + y)

    @property
    def bounds(self) -> Bounds:
        """Return the box where it stands now."""
        left, top, right, bottom = self.box
        return left + self.x, top + self.y, right + self.x, bottom + self.y

    @property
    def ends(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Where the pen begins and leaves it; None if no pen wrote it."""
        return None

    @abstractmethod
    def paint(self, canvas: Canvas, origin: tuple[float, float], pen: Pen, rng: Rng) -> None:
        """Draw it on a canvas on which (0, 0) lies at `origin`."""


@dataclass(frozen=True)
class PenCharacter(Character):
    """Written by a pen."""

    paths: tuple[Path, ...] = ()

    @property
    def ends(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the pen begins and leaves it."""
        at = np.array([self.x, self.y], np.float32)
        return self.paths[0][0] + at, self.paths[-1][-1] + at

    def paint(self, canvas: Canvas, origin: tuple[float, float], pen: Pen, rng: Rng) -> None:
        """Draw its paths."""
        offset = np.array([self.x + origin[0], self.y + origin[1]], np.float32)
        for path in self.paths:
            pen.draw(canvas, path + offset, rng)


@dataclass(frozen=True)
class RasterCharacter(Character):
    """Taken from a picture or a font."""

    raster: Canvas = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def paint(self, canvas: Canvas, origin: tuple[float, float], pen: Pen, rng: Rng) -> None:  # noqa: ARG002  the pen was another
        """Lay its pixels on the canvas."""
        lay(canvas, self.raster, round(self.x + origin[0]), round(self.box[1] + self.y + origin[1]))


def find_label(character: str) -> int:
    """Return a character's class: its own, or that of other writing."""
    found = CHARACTERS.find(character)
    return OTHER_WRITING if found < 0 else found


def from_paths(character: str, paths: tuple[Path, ...], *, pen_width: float) -> PenCharacter:
    """Return what a pen wrote, moved to begin at x = 0."""
    xs, ys = np.concatenate(paths).T
    shift = np.array([xs.min(), 0], np.float32)
    xs, rim = xs - xs.min(), pen_width / 2
    left, right = _measure_profile(xs, ys, rim)
    box = (-rim, float(ys.min()) - rim, float(xs.max()) + rim, float(ys.max()) + rim)
    return PenCharacter(find_label(character), left, right, box, paths=tuple(path - shift for path in paths))


def from_raster(character: str, raster: Canvas, *, top: float) -> RasterCharacter | None:
    """Return a character of pixels whose first row lies at `top`; None if it has no ink."""
    x, y, width, height = cv2.boundingRect((raster > VISIBLE).astype(np.uint8))
    ys, xs = np.nonzero(raster[y : y + height : 2, x : x + width : 2] > _DARK)
    if not len(ys):
        return None
    left, right = _measure_profile(xs * 2.0, ys * 2 + top + y, 0.0)
    box = (0.0, top + y, float(width), top + y + height)
    cropped = raster[y : y + height, x : x + width]
    return RasterCharacter(find_label(character), left, right, box, raster=cropped)


def slant_raster(
    raster: Canvas, slant: float, *, scale_x: float = 1.0, scale_y: float = 1.0, flags: int = cv2.INTER_LINEAR
) -> Canvas:
    """Scale and shear a raster; its foot stays where it is."""
    height, width = raster.shape
    size = max(2, round(width * scale_x)), max(2, round(height * scale_y))
    lean = abs(slant) * size[1]
    across, down = size[0] / width, size[1] / height
    shear = np.array([[across, -slant * down, lean / 2 + slant * size[1] / 2], [0, down, 0]], np.float32)
    return cv2.warpAffine(raster, shear, (size[0] + round(lean) + 1, size[1]), flags=flags)


def enlarge_digit(
    picture: CanonicalPicture, *, height: float, aspect: float, slant: float, thin: float
) -> Canvas:
    """Enlarge an MNIST digit; `thin` moves the edge into its grey rim, which then is a pen's edge."""
    x, y, width, tall = cv2.boundingRect(picture)
    ink = cv2.copyMakeBorder(picture[y : y + tall, x : x + width], 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    scale = height / max(tall, width * 0.75)  # MNIST shrinks wide digits until they are 20 wide
    large = slant_raster(ink, slant, scale_x=scale * aspect, scale_y=scale, flags=cv2.INTER_CUBIC)
    level = 255 * (0.4 + 0.25 * thin)
    return np.clip((large.astype(np.float32) - level) * scale / 1.5 + 127, 0, 255).astype(np.uint8)


@lru_cache(maxsize=20_000)
def typeset(character: str, font_file: str) -> tuple[Canvas, int] | None:
    """Return a font's character and the row of its top; None if the font has none to draw at this size."""
    font = _load_font(font_file)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(character, anchor="ls"))
    width, height = right - left, bottom - top
    if not (2 <= width <= 4 * DIGIT_HEIGHT and 2 <= height <= 3 * DIGIT_HEIGHT):
        return None
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).text((-left, -top), character, font=font, fill=255, anchor="ls")
    return np.array(picture), top


@lru_cache(maxsize=64)
def draw_segments(digit: str, thickness: int, gap: int, *, ghost: int = 0) -> Canvas:
    """Draw a digit of seven segments; the others are seen faintly, `ghost` of 255, on some displays."""
    shapes = _place_segments(thickness, gap)
    canvas = np.zeros((DIGIT_HEIGHT, round(0.56 * DIGIT_HEIGHT)), np.uint8)
    for name, corners in shapes.items():
        if ghost or name in _SEGMENTS[digit]:
            cv2.fillPoly(canvas, [corners], 255 if name in _SEGMENTS[digit] else ghost, cv2.LINE_AA)
    return canvas


def lay(canvas: NDArray[Any], piece: NDArray[Any], x: int, y: int) -> None:
    """Lay a piece of ink on a canvas, cut off at its edges; where both have ink the darker stays."""
    rows = slice(max(y, 0), min(y + piece.shape[0], canvas.shape[0]))
    columns = slice(max(x, 0), min(x + piece.shape[1], canvas.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        view = canvas[rows, columns]
        part = piece[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        np.maximum(view, part, out=view)


def resample_paths(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return paths, in pixels, with points as near as they are drawn."""
    return tuple(resample(path, POINT_DISTANCE) for path in paths)


def list_print_fonts() -> list[str]:
    """Return the files of the fonts of print."""
    return [str(fonts.find_file(name)) for name in fonts.PRINT]


def list_hand_fonts() -> list[str]:
    """Return the files of the fonts of handwriting."""
    return [str(fonts.find_file(name)) for name in fonts.HANDWRITING]


def _measure_profile(
    xs: NDArray[np.floating], ys: NDArray[np.floating], rim: float
) -> tuple[Profile, Profile]:
    left, right = np.full(BANDS, FAR), np.full(BANDS, -FAR)
    bands = np.clip(((ys - TOP_BAND) / BAND_HEIGHT).astype(np.intp), 0, BANDS - 1)
    np.minimum.at(left, bands, xs - rim)
    np.maximum.at(right, bands, xs + rim)
    return left, right


@lru_cache(maxsize=200)
def _load_font(file: str) -> ImageFont.FreeTypeFont:
    """Load a font in the size at which its 8 is as high as a digit."""
    _, top, _, bottom = ImageFont.truetype(file, _FONT_SAMPLE).getbbox("8", anchor="ls")
    return ImageFont.truetype(file, max(20, round(_FONT_SAMPLE * DIGIT_HEIGHT / max(bottom - top, 20))))


def _place_segments(thickness: int, gap: int) -> dict[str, NDArray[np.int32]]:
    """Return the corners of the seven segments, by their usual letters."""
    right, bottom, half = round(0.56 * DIGIT_HEIGHT) - 1, DIGIT_HEIGHT - 1, thickness // 2
    middle = DIGIT_HEIGHT // 2
    bars = {"a": half, "g": middle, "d": bottom - half}
    posts = {
        "f": (half, 0, middle), "b": (right - half, 0, middle), "e": (half, middle, bottom),
        "c": (right - half, middle, bottom),
    }  # fmt: skip
    corners = {name: _place_bar(y, gap, right - gap, half) for name, y in bars.items()}
    for name, (x, top, foot) in posts.items():
        corners[name] = _place_bar(x, top + gap, foot - gap, half)[:, ::-1]
    return {name: np.ascontiguousarray(shape, np.int32) for name, shape in corners.items()}


def _place_bar(y: int, start: int, end: int, half: int) -> NDArray[np.int32]:
    points = [(start, y), (start + half, y - half), (end - half, y - half), (end, y), (end - half, y + half),
              (start + half, y + half)]  # fmt: skip
    return np.array(points, np.int32)
