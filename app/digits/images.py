"""Bytes of an upload → grey picture: format, limits, orientation, transparency, colour, depth.

`identify` reads the header alone and refuses what is too large before a pixel is decoded; `decode`
does the work. Pillow alone decodes, and only the five allowed formats are ever tried.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from app.digits import colours, tones
from app.digits.contract import GreyPicture
from app.digits.errors import ImageTooLarge, ImageTooSmall, UnreadableImage, UnsupportedFormat
from app.digits.scaling import fitted, shrunk, whole_times

MIN_SIDE: Final = 4  # pixels: nothing smaller holds a digit
MAX_PIXELS: Final = 40_000_000  # 40 megapixels: the largest sensors of common phones, reduced modes aside
WORKING_SIDE: Final = 1024  # pixels: a digit of 3 % of a photo's width still has 30
# The allow-list; no other format's parser ever runs. Named through the plugins, so that they are
# loaded with this module and not, as Pillow would, within the first request that needs them.
FORMATS: Final = (
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    GifImagePlugin.GifImageFile.format,
    MpoImagePlugin.MpoImageFile.format,  # phones' JPEG with a second picture behind the first
)

Box: TypeAlias = tuple[int, int, int, int]  # x, y, width, height in pixels

Image.MAX_IMAGE_PIXELS = None  # `identify` checks the header against a limit of its own

# Compressed texts of a PNG: 61 KB of them unpack to 60 MB, and nobody reads them here.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * 1024 * 1024  # bytes, of all texts of a file together

_MAX_SCANS: Final = 100  # of a JPEG; encoders make about ten, and each costs a walk over all pixels
_MAX_PIECES: Final = 100_000  # reads of a file; 10 MB of PNG in chunks of 4 KiB take 10,000
_SIGNATURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_JPEG: Final = b"\xff\xd8\xff"
_SCAN: Final = b"\xff\xda"  # in entropy-coded data an FF is always followed by 00
_DAMAGED: Final = "The picture's file is truncated or corrupt. Save it again and send the whole of it."
# What Pillow's decoders raise on damaged files of the allowed formats (seen under fuzzing).
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
)
_COLOURED: Final = frozenset({"P", "YCbCr", "LAB", "HSV", "RGBX"})  # modes with more than a tone
_HALF: Final = 128  # of 255
_FULLY_OPAQUE: Final = 255
_OPAQUE: Final = 128  # of 255: from here on a pixel counts as drawn
_ONE_TONE: Final = 40  # grey levels: drawn pixels that differ by less are ink alone

# EXIF orientation → what turns the stored picture upright (EXIF 2.32, tag 0x0112).
_UPRIGHT: Final[Mapping[int, Callable[[GreyPicture], GreyPicture]]] = {
    2: np.fliplr,
    3: lambda grey: np.rot90(grey, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: np.rot90(grey, 2).T,
    8: np.rot90,
}
_ORIENTED: Final = frozenset(
    {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
)  # where Pillow looks
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # width and height change places


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded upload: `grey` at working size, `width` and `height` of the upright original."""

    grey: GreyPicture
    width: int
    height: int

    def in_original(self, box: Box) -> Box:
        """Map a box in `grey`'s pixels to the upright original's pixels."""
        rows, columns = self.grey.shape
        return scaled(box, self.width / columns, self.height / rows)


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload whose header has been read and found to be within the limits."""

    data: bytes
    image: Image.Image
    size: tuple[int, int]  # width and height, before it is turned upright

    @property
    def pixels(self) -> int:
        """How many pixels decoding makes at most."""
        return self.size[0] * self.size[1]


def scaled(box: Box, across: float, down: float) -> Box:
    """Map a box to a picture that is so many times as wide and as high; it stays at least a pixel."""
    left, top = round(box[0] * across), round(box[1] * down)
    right, bottom = round((box[0] + box[2]) * across), round((box[1] + box[3]) * down)
    return left, top, max(right - left, 1), max(bottom - top, 1)


def identify(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Upload:
    """Read the header of an encoded picture.

    Raises:
        UnsupportedFormat: the bytes are no PNG, JPEG, WebP, BMP or GIF.
        UnreadableImage: they begin like one and break off, or are corrupt.
        ImageTooLarge: width × height is above `max_pixels`.
        ImageTooSmall: a side is below 4 pixels.
    """
    if not data:
        msg = "The picture is empty: it has 0 bytes. Send the bytes of a PNG, JPEG, WebP, BMP or GIF file."
        raise UnreadableImage(msg)
    image = _open(data)
    if data.startswith(_JPEG) and data.count(_SCAN) > _MAX_SCANS:
        msg = (
            f"The JPEG has more than {_MAX_SCANS} scans, as no camera makes it. Save it again and resend it."
        )
        raise UnreadableImage(msg)
    width, height = image.size
    if width * height > max_pixels:
        msg = (
            f"The picture has {width}x{height} = {width * height} pixels, at most {max_pixels} are allowed. "
            "Send it smaller: the digit needs no more than a few hundred pixels."
        )
        raise ImageTooLarge(msg, limit=max_pixels)
    if min(width, height) < MIN_SIDE:
        msg = f"The picture has {width}x{height} pixels, each side needs at least {MIN_SIDE}."
        raise ImageTooSmall(msg, limit=MIN_SIDE)
    return Upload(data, image, image.size)


def decode(upload: Upload, *, side: int = WORKING_SIDE) -> Picture:
    """Decode an upload into an upright grey picture, its longest side at most `side` pixels.

    A JPEG is decoded no larger than that needs, so a second time if more is wanted after all. Of an
    animated picture the first frame counts. Transparent pixels become ground: for a drawing on a
    transparent canvas one that the ink stands out from, else the picture's own.

    Raises:
        UnreadableImage: the file is truncated or corrupt.
    """
    width, height = upload.size
    image = upload.image if upload.image.size == upload.size else _open(upload.data)
    try:
        image.draft(None, _enough(width, height, side))  # a JPEG decodes at a half, a quarter or an eighth
        image.load()
        grey = shrunk(_grey(image, side), side)
    except _DAMAGE as error:
        raise UnreadableImage(_DAMAGED) from error
    orientation = _orientation(image)  # after loading: a PNG's EXIF may follow its pixels
    if orientation in _UPRIGHT:
        grey = _UPRIGHT[orientation](grey)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Picture(np.ascontiguousarray(grey), width, height)


class _Pieces(io.BytesIO):
    """Bytes that can be read in so many pieces only: Pillow walks over chunks and markers in Python."""

    _left = _MAX_PIECES

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a piece.

        Raises:
            OSError: there have been too many.
        """
        self._left -= 1
        if self._left < 0:
            msg = "too many pieces"
            raise OSError(msg)
        return super().read(size)


def _open(data: bytes) -> Image.Image:
    file = io.BytesIO if len(data) < _MAX_PIECES else _Pieces  # fewer bytes can't hold so many
    try:
        return Image.open(file(data), formats=FORMATS)
    except _DAMAGE as error:
        if _begins_like_a_picture(data):
            raise UnreadableImage(_DAMAGED) from error
        msg = (
            "The file is no PNG, JPEG, WebP, BMP or GIF picture, whatever its name says. "
            "Convert it to one of these."
        )
        raise UnsupportedFormat(msg) from error


def _begins_like_a_picture(data: bytes) -> bool:
    if data.startswith(b"RIFF"):  # a container: WebP, but sound and video too
        return b"WEBP".startswith(data[8:12])
    return any(data.startswith(signature) or signature.startswith(data) for signature in _SIGNATURES)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 (upright) where the EXIF block is damaged or silent."""
    if _ORIENTED.isdisjoint(image.info):
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _enough(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the size below which a JPEG must not be drafted: a little less saves a halving by hand."""
    across, down = fitted(width, height, side)
    return max(1, across * 3 // 4), max(1, down * 3 // 4)


def _grey(image: Image.Image, side: int) -> GreyPicture:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion to 8 clips at 255
        deep = np.clip(np.asarray(image), 0, 65535)
        image = Image.fromarray((deep // 257).astype(np.uint8))
    if image.has_transparency_data:
        whole = image if image.mode in {"LA", "RGBA"} else image.convert("RGBA")
        return _drawing(_reduced(whole, side), image.format)
    if image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("RGB" if image.mode in _COLOURED else "L")
    # reduced before it is converted: a copy of 40 megapixels in colour takes 160 MB
    small = _reduced(image, side)
    if small.mode == "L":
        return np.asarray(small)
    return colours.grey(np.asarray(small if small.mode == "RGB" else small.convert("RGB")))


def _drawing(drawing: Image.Image, form: str | None) -> GreyPicture:
    """Put a picture with transparency on a ground that its ink stands out from."""
    channels = np.asarray(drawing)
    alpha = np.ascontiguousarray(channels[..., -1])
    if drawing.mode == "LA":
        return _on_ground(np.ascontiguousarray(channels[..., 0]), alpha)
    no_alpha = form == "BMP" and not alpha.any()  # but a fourth byte, as old BMPs have it
    if no_alpha or alpha.min() == _FULLY_OPAQUE:
        return colours.grey(np.asarray(cv2.cvtColor(channels, cv2.COLOR_RGBA2RGB), np.uint8))
    return _on_ground(np.asarray(cv2.cvtColor(channels, cv2.COLOR_RGBA2GRAY), np.uint8), alpha)


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """Make a large picture a whole number of times smaller; less than twice of `side` is left."""
    times = whole_times(*image.size, side)
    return image.reduce(times) if times > 1 else image


def _on_ground(grey: GreyPicture, alpha: GreyPicture) -> GreyPicture:
    """Put a drawing that is transparent in places on a ground.

    A drawing on a transparent canvas shows ink alone: one tone, or little of the canvas. It gets
    the ground, black or white, that is farther from its ink. Otherwise the drawn pixels hold their
    own paper, as in a photo with cut corners, and their median is the ground.
    """
    if alpha.min() == _FULLY_OPAQUE:
        return grey
    drawn = tones.histogram(grey, mask=cv2.inRange(alpha, _OPAQUE, _FULLY_OPAQUE))
    if not drawn.any():
        return np.full_like(grey, 255)
    low, high = (tones.percentile(drawn, percent) for percent in (5, 95))
    if high - low < _ONE_TONE or drawn.sum() < grey.size // 2:
        ground = 0 if tones.mean_and_deviation(drawn)[0] > _HALF else 255
    else:
        ground = round(tones.median(drawn))
    paper = np.full_like(grey, ground)
    lighter, darker = (
        cv2.multiply(ink, alpha, scale=1 / 255)
        for ink in (cv2.subtract(grey, paper), cv2.subtract(paper, grey))
    )
    return np.asarray(cv2.subtract(cv2.add(paper, lighter), darker), np.uint8)
