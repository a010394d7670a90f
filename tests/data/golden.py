"""Makes the golden pictures: uploads of many kinds, and the canonical picture of each.

    python -m tests.data.golden            draws the uploads and writes their canonical pictures

`golden/DIGIT-NAME.EXT` is an upload, `golden/DIGIT-NAME.EXT.canonical.png` what preprocessing makes of it if it
is processed as a whole. On photographs of paper, the finder decides which part is; they have no such picture.
Run it after the version in CONTRACT_VERSIONS has been raised, look at what changed, and commit it with the change.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from tests.data import heif
from tests.data.strokes import ink

FOLDER: Final = Path(__file__).parent / "golden"
NUMBERS: Final = Path(__file__).parent / "numbers"
CANONICAL: Final = ".canonical.png"
Grey = NDArray[np.uint8]


def main() -> None:
    """Write all uploads and their canonical pictures."""
    name, data = number("4071")
    NUMBERS.mkdir(exist_ok=True)
    (NUMBERS / name).write_bytes(data)
    name, data = small_number("2907")
    (NUMBERS / name).write_bytes(data)
    for name, data in uploads():
        (FOLDER / name).write_bytes(data)
    for name, data in whole_uploads():
        found = canonicalise_upload(images.identify(data)).canonical
        Image.fromarray(found.picture).save(FOLDER / f"{name}{CANONICAL}", optimize=True)


def number(text: str) -> tuple[str, bytes]:
    """Return name and bytes of a photo of a whole number, its digits at uneven distances."""
    sheet = np.zeros((300, 900), np.uint8)
    for place, digit in enumerate(text):
        box = (110 + 170 * place, 70 + 12 * (place % 3), 90 + 10 * (place % 2), 150)
        sheet = np.maximum(sheet, ink(int(digit), (900, 300), box=box, pen=9, slant=0.1))
    return f"{text}.jpg", encode(draw_on_paper(sheet, seed=int(text)), "JPEG", quality=80)


def small_number(text: str) -> tuple[str, bytes]:
    """Return name and bytes of a whole number in black and white, small enough to stand in a document."""
    sheet = np.zeros((60, 180), np.uint8)
    for place, digit in enumerate(text):
        sheet = np.maximum(sheet, ink(int(digit), (180, 60), box=(16 + 40 * place, 12, 22, 36), pen=4))
    return f"{text}.png", encode(Image.fromarray(255 - sheet).convert("1"), "PNG", optimize=True)


def uploads() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every upload."""
    yield from whole_uploads()
    for make in (_photos, _papers):
        yield from make()


def whole_uploads() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the uploads that have a canonical picture."""
    for make in (_canvases, _formats, _places):
        yield from make()


ROWS_PER_STRIP: Final = 278  # a tag of TIFF


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(
    digit: int, size: tuple[int, int], box: tuple[float, float, float, float], *, seed: int
) -> Image.Image:
    """Take a photo of one digit."""
    return draw_on_paper(ink(digit, size, box=box, pen=max(2, round(box[3] / 22)), slant=0.12), seed=seed)


def draw_on_paper(strokes: Grey, *, seed: int, lines: Grey | None = None) -> Image.Image:
    """Draw a blue pen on paper, lit from one side, slightly blurred and noisy, as a phone sees it.

    Args:
        strokes: where the pen went, 255 on 0.
        seed: of the noise.
        lines: printed on the paper before, 255 on 0, paler than the pen.
    """
    rng = np.random.default_rng(seed)
    height, width = strokes.shape
    stroke = strokes / 255.0
    stroke = cv2.GaussianBlur(stroke, (0, 0), 1.2)[..., None]
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    light = (0.95 - 0.4 * x - 0.15 * y)[..., None]
    grain = cv2.GaussianBlur(rng.normal(0, 5, (height, width, 1)), (0, 0), 1.5)[..., None]
    paper, pen = np.array([238, 234, 222]), np.array([52, 60, 120])
    if lines is not None:
        paper = paper - np.array([90, 60, 40]) * (lines / 255.0)[..., None]
    scene = (paper * (1 - stroke) + pen * stroke) * light + grain + rng.normal(0, 2.5, (height, width, 3))
    return Image.fromarray(np.clip(np.rint(scene), 0, 255).astype(np.uint8))


def _canvases() -> Iterator[tuple[str, bytes]]:
    """Drawings, as pages in browsers and paint programs send them."""
    square = (280, 280)
    drawn = ink(3, square, box=(80, 50, 120, 180), pen=16)
    yield "3-canvas-black-on-white.png", encode(Image.fromarray(255 - drawn), "PNG", optimize=True)
    yield "3-canvas-white-on-black.png", encode(Image.fromarray(drawn), "PNG", optimize=True)
    yield "3-canvas-black-on-clear.png", encode(_on_clear(drawn, tone=0), "PNG", optimize=True)
    yield "3-canvas-white-on-clear.png", encode(_on_clear(drawn, tone=255), "PNG", optimize=True)
    hair = ink(8, square, box=(90, 40, 100, 200), pen=1, smooth=False)
    yield "8-canvas-hairline.png", encode(Image.fromarray(255 - hair), "PNG", optimize=True)
    bold = ink(2, square, box=(80, 60, 120, 160), pen=44)
    yield "2-canvas-bold.png", encode(Image.fromarray(255 - bold), "PNG", optimize=True)
    red_on_green = np.where(
        ink(5, square, box=(90, 50, 100, 180), pen=14)[..., None] > 127, (170, 20, 20), (160, 230, 160)
    )
    yield (
        "5-canvas-red-on-green.png",
        encode(Image.fromarray(red_on_green.astype(np.uint8)), "PNG", optimize=True),
    )


def _photos() -> Iterator[tuple[str, bytes]]:
    """Pen on paper."""
    upright = photo(7, (640, 480), (260, 110, 130, 230), seed=7)
    yield "7-photo.jpg", encode(upright, "JPEG", quality=85)
    for orientation, turn in _STORED.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        stored = photo(4, (240, 180), (90, 40, 60, 100), seed=4).transpose(turn)
        yield f"4-photo-exif-{orientation}.jpg", encode(stored, "JPEG", quality=85, exif=exif)
    yield (
        "6-photo-small-in-large.jpg",
        encode(photo(6, (1600, 1200), (1050, 300, 70, 110), seed=6), "JPEG", quality=60),
    )


def _papers() -> Iterator[tuple[str, bytes]]:
    """Ruled and squared paper, a desk beside it and below it."""
    size = (480, 360)
    for digit, name, squared in ((3, "ruled", False), (8, "squared", True)):
        strokes = ink(digit, size, box=(190, 90, 90, 160), pen=8, slant=0.1)
        lines = np.zeros_like(strokes)
        for at in range(12, 480, 34):
            cv2.line(lines, (0, at), (480, at + 8), 255, 2, cv2.LINE_AA)
            if squared:
                cv2.line(lines, (at, 0), (at - 6, 360), 255, 2, cv2.LINE_AA)
        scene = draw_on_paper(strokes, seed=digit, lines=lines)
        yield f"{digit}-photo-{name}-paper.jpg", encode(scene, "JPEG", quality=80)
    desk = np.asarray(draw_on_paper(ink(2, size, box=(200, 100, 80, 140), pen=7), seed=2)).copy()
    desk[:, 440:] = (48, 36, 30)
    yield "2-photo-desk.jpg", encode(Image.fromarray(desk), "JPEG", quality=80)
    sheet = np.asarray(draw_on_paper(ink(4, (300, 260), box=(110, 70, 80, 120), pen=6), seed=4))
    turn = cv2.getRotationMatrix2D((150, 130), 5, 1)
    turn[:, 2] += (160, 90)
    lying = cv2.warpAffine(sheet, turn, (620, 460), borderValue=(64, 48, 38))
    yield "4-photo-sheet-on-desk.jpg", encode(Image.fromarray(lying), "JPEG", quality=80)
    cell = 255 - ink(4, (64, 60), box=(18, 12, 26, 40), pen=5)
    cell[2:4], cell[:, 58:60] = 0, 0
    yield "4-cell-with-its-border.png", encode(Image.fromarray(cell), "PNG", optimize=True)


def _formats() -> Iterator[tuple[str, bytes]]:
    """The same 9 in every format, mode and depth that is read."""
    grey = Image.fromarray(255 - ink(9, (120, 140), box=(35, 25, 50, 90), pen=9))
    yield "9-grey.png", encode(grey, "PNG", optimize=True)
    yield "9-one-bit.png", encode(grey.convert("1"), "PNG", optimize=True)
    deep = np.asarray(grey).astype(np.uint16) * 128 + 8000
    yield "9-sixteen-bit.png", encode(Image.fromarray(deep), "PNG", optimize=True)
    yield (
        "9-palette.png",
        encode(grey.convert("P", palette=Image.Palette.ADAPTIVE, colors=8), "PNG", optimize=True),
    )
    yield "9-grey-alpha.png", encode(grey.convert("LA"), "PNG", optimize=True)
    yield "9-palette.gif", encode(grey, "GIF")
    yield "9-lossless.webp", encode(grey.convert("RGB"), "WEBP", lossless=True)
    yield "9-lossy.webp", encode(grey.convert("RGB"), "WEBP", quality=60)
    yield "9-grey.bmp", encode(grey.resize((60, 70)), "BMP")
    yield "9-cmyk.jpg", encode(grey.convert("RGB").convert("CMYK"), "JPEG", quality=90)
    yield "9-progressive.jpg", encode(grey, "JPEG", quality=80, progressive=True)
    yield "9-fax.tif", encode(grey.convert("1"), "TIFF", compression="group4", dpi=(204, 196))
    yield "9-strips.tif", encode(grey, "TIFF", compression="tiff_lzw", tiffinfo={ROWS_PER_STRIP: 16})
    pages = [Image.new("RGB", grey.size, "white")]
    yield (
        "9-pages.tif",
        encode(grey.convert("RGB"), "TIFF", compression="jpeg", save_all=True, append_images=pages),
    )
    frames = [grey.convert("RGB"), Image.new("RGB", grey.size, "white")]
    yield "9-animated.webp", encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    for name in ("alpha", "grey", "ten-bits", "turned", "whole-chroma"):
        yield f"9-{name}.heic", (heif.HEVC / f"9-{name}.heic").read_bytes()
    tiles = [heif.load_hevc(f"9-tile-{index}") for index in range(6)]
    yield "9-tiles.heic", heif.build_grid(tiles, 2, grey.size)
    yield "9-lossy.avif", encode(frames[0], "AVIF", quality=60)
    yield "9-alpha.avif", encode(_on_clear(255 - np.asarray(grey), tone=0), "AVIF", quality=60)
    yield "9-animated.avif", encode(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=60)
    yield "9-two-pictures.jpg", encode(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=80)


def _places() -> Iterator[tuple[str, bytes]]:
    """Digits where they are hard to find."""
    corner = ink(0, (300, 200), box=(8, 6, 40, 56), pen=5)
    yield "0-corner.png", encode(Image.fromarray(255 - corner), "PNG", optimize=True)
    large = ink(5, (64, 90), box=(6, 6, 52, 78), pen=9)
    yield "5-fills-the-picture.png", encode(Image.fromarray(255 - large), "PNG", optimize=True)
    small = cv2.resize(ink(1, (96, 96), box=(30, 14, 36, 68), pen=12), (8, 8), interpolation=cv2.INTER_AREA)
    yield "1-eight-pixels.png", encode(Image.fromarray(255 - small), "PNG", optimize=True)
    pink_on_olive = np.where(
        ink(6, (160, 160), box=(50, 30, 60, 100), pen=9)[..., None] > 127, (255, 120, 180), (160, 175, 120)
    )
    drawing = Image.fromarray(pink_on_olive.astype(np.uint8))
    yield "6-canvas-equal-brightness.png", encode(drawing, "PNG", optimize=True)
    band = 255 - ink(5, (80, 80), box=(24, 14, 30, 52), pen=6)
    band[:, :30] = 255 - band[:, :30]
    yield "5-inverted-band.png", encode(Image.fromarray(band), "PNG", optimize=True)
    framed = 255 - ink(2, (200, 200), box=(65, 45, 70, 110), pen=10)
    cv2.rectangle(framed, (0, 0), (199, 199), 0, 6)
    yield "2-framed.png", encode(Image.fromarray(framed), "PNG", optimize=True)
    shadow = 255 - ink(6, (220, 220), box=(80, 50, 70, 120), pen=9)
    shadow = np.minimum(shadow, np.where(np.arange(220) > 200, 60, 255).astype(np.uint8))
    yield "6-dark-edge.png", encode(Image.fromarray(shadow), "PNG", optimize=True)
    dusty = 255 - ink(8, (220, 220), box=(70, 40, 80, 140), pen=10)
    for x, y in np.random.default_rng(8).integers(5, 215, (25, 2)):
        dusty[y : y + 2, x : x + 2] = 90
    yield "8-specks.png", encode(Image.fromarray(dusty), "PNG", optimize=True)
    struck = ink(3, (60, 60), box=(16, 10, 28, 40), pen=5)
    chance = np.random.default_rng(3).random(struck.shape)
    struck[chance < 0.08], struck[chance > 0.92] = 0, 255
    yield "3-dead-pixels.png", encode(Image.fromarray(struck), "PNG", optimize=True)


def _on_clear(drawn: Grey, *, tone: int) -> Image.Image:
    rgb = np.full((*drawn.shape, 3), tone, np.uint8)
    return Image.fromarray(np.dstack([rgb, drawn]))


# EXIF orientation → how a picture has to be stored so that a viewer turns it upright.
_STORED: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

if __name__ == "__main__":
    main()
