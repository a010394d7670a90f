"""Bytes of an upload → grey picture: format, limits, orientation, transparency, colour, depth.

`identify` reads only the header, with `app.digits.formats`, and refuses a picture that is too large or too
costly before any pixel is decoded. `decode` does the work. Only the allowed formats are ever tried.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from . import colours, mosaics, tones
from .contract import GreyPicture
from .errors import (
    DigitsError,
    ImageTooLarge,
    ImageTooSmall,
    OutOfMemory,
    UnreadableImage,
    UnsupportedFormat,
)
from .formats import bmp, foreign, gif, heif, jpeg, png, tiff, webp
from .formats.exif import UPRIGHT
from .formats.header import DAMAGED_FILE, FORMAT_NAMES, Format, Header
from .scaling import find_whole_factor, fit_size, shrink

MIN_SIDE: Final = 4  # pixels: nothing smaller holds a digit
MAX_PIXELS: Final = 40_000_000  # 40 megapixels: phones save 12 to 24 by default
MAX_COST: Final = 600.0  # milliseconds of a core; reading a number takes another 400, a second in all
WORKING_SIDE: Final = 1024  # pixels: a digit as wide as 3 % of a photo still has 30
# Called directly, not through `Image.open`: no other format's parser ever runs, and the first request need
# not import any.
_PLUGINS: Final[Mapping[Format, Callable[[io.BytesIO], ImageFile]]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}

Box: TypeAlias = tuple[int, int, int, int]  # x, y, width, height in pixels

_HEADER_READERS: Final[Mapping[bytes, Callable[[bytes], Header]]] = {
    png.SIGNATURE: png.read_header,
    jpeg.SIGNATURE: jpeg.read_header,
    **dict.fromkeys(gif.SIGNATURES, gif.read_header),
    bmp.SIGNATURE: bmp.read_header,
    **dict.fromkeys(tiff.SIGNATURES, tiff.read_header),
}
_DRAFT_FACTORS: Final = (8, 4, 2, 1)  # libjpeg can shrink a picture by these while it decodes
_DRAFT_PIXEL_COST: Final = (
    15.0  # nanoseconds for each pixel that libjpeg returns, conversion to grey included
)
_MIN_TIMED_COST: Final = 50.0  # milliseconds: a costlier picture is timed, as the estimate may be too low
_MAX_SECONDS: Final = 0.7  # of processor time for decoding one picture, whatever was estimated
_CLOCKS: Final = (time.thread_time,)
# libde265 works in a thread of its own, whose time nobody can ask for. It is no more than what the
# process has spent meanwhile, and no more than what has passed.
_CLOCKS_OF_ANY_THREAD: Final = (time.process_time, time.monotonic)
_TIMED_BLOCK: Final = 4096  # bytes of a file between two checks of the clock: at most 4 MB of pixels, 25 ms
_STRIP_PIXELS: Final = 1 << 20  # pixels converted at a time: a copy of the whole picture is too large
_EXTRA_BYTES_PER_PIXEL: Final = 8  # that decoding needs at most besides the picture: a JPEG's coefficients
_COLOUR_MODES: Final = frozenset({"P", "YCbCr", "LAB", "HSV", "RGBX"})  # modes with colour
_MID_GREY: Final = 128  # of 255
_FULLY_OPAQUE: Final = 255
_MIN_DRAWN_ALPHA: Final = 128  # of 255: a pixel with at least this alpha counts as drawn
_MAX_INK_SPREAD: Final = 40  # grey levels: if the drawn pixels differ by less, all of them are ink

# EXIF orientation → what turns the stored picture upright (EXIF 2.32, tag 0x0112).
_TURN_UPRIGHT: Final[Mapping[int, Callable[[GreyPicture], GreyPicture]]] = {
    2: np.fliplr,
    3: lambda grey: np.rot90(grey, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: np.rot90(grey, 2).T,
    8: np.rot90,
}
_SIDEWAYS_ORIENTATIONS: Final = frozenset({5, 6, 7, 8})  # width and height are swapped


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded upload: `grey` at working size, `width` and `height` of the upright original."""

    grey: GreyPicture
    width: int
    height: int

    def map_to_original(self, box: Box) -> Box:
        """Map a box in `grey`'s pixels to the upright original's pixels; it is cut at the picture's edges."""
        rows, columns = self.grey.shape
        clipped = clip_box(box, self.grey.shape)
        if (columns, rows) == (self.width, self.height):
            return clipped
        return scale_box(clipped, self.width / columns, self.height / rows)


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload whose header has been read and found to be within the limits."""

    header: Header
    cost: float  # milliseconds of processor time that decoding takes at most, all attempts included

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, before it is turned upright."""
        return self.header.size

    @property
    def pixels(self) -> int:
        """Width times height: the most pixels that decoding can yield."""
        return self.size[0] * self.size[1]


def clip_box(box: Box, shape: tuple[int, ...]) -> Box:
    """Return the part of a box within a picture of (height, width), at least a pixel wide and high."""
    left, top, width, height = box
    if 0 <= left < left + width <= shape[1] and 0 <= top < top + height <= shape[0]:
        return box
    left, top = min(max(box[0], 0), shape[1] - 1), min(max(box[1], 0), shape[0] - 1)
    right, bottom = min(box[0] + box[2], shape[1]), min(box[1] + box[3], shape[0])
    return left, top, max(right - left, 1), max(bottom - top, 1)


def scale_box(box: Box, x_factor: float, y_factor: float) -> Box:
    """Multiply a box by a factor for each direction; it stays at least a pixel wide and high."""
    left, top = round(box[0] * x_factor), round(box[1] * y_factor)
    right, bottom = round((box[0] + box[2]) * x_factor), round((box[1] + box[3]) * y_factor)
    return left, top, max(right - left, 1), max(bottom - top, 1)


def identify(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Upload:
    """Read the header of an encoded picture.

    Args:
        data: the file.
        max_pixels: the limit on width x height. Above MAX_PIXELS, the limit on the cost rises with it.

    Raises:
        UnsupportedFormat: the format is not one of FORMAT_NAMES, or a kind of it that is not supported.
        UnreadableImage: the file is truncated or corrupt.
        ImageTooLarge: there are more than `max_pixels`, or decoding would cost more than MAX_COST.
        ImageTooSmall: a side is below 4 pixels.
    """
    with _ErrorTranslator(pixels=0):
        header = _read_header(data)
    width, height = header.size
    if width * height > max_pixels:
        msg = (
            f"The picture has {width}x{height} = {width * height} pixels; at most {max_pixels} are allowed. "
            "Send a smaller picture: the digit needs no more than a few hundred pixels."
        )
        raise ImageTooLarge(msg, limit=max_pixels)
    if min(width, height) < MIN_SIDE:
        if not width or not height:
            raise UnreadableImage(DAMAGED_FILE)
        msg = f"The picture has {width}x{height} pixels; each side needs at least {MIN_SIDE}."
        raise ImageTooSmall(msg, limit=MIN_SIDE)
    upload = Upload(header, _estimate_cost(header))
    _check_cost(upload, limit=MAX_COST * max(1.0, max_pixels / MAX_PIXELS))
    return upload


def decode(upload: Upload, *, side: int = WORKING_SIDE) -> Picture:
    """Decode an upload into an upright grey picture, its longest side at most `side` pixels.

    Of an animation, the first frame is decoded. Transparent pixels become background.

    Raises:
        UnreadableImage: the file is truncated or corrupt.
        OutOfMemory: the machine has too little memory left.
    """
    header = upload.header
    if header.is_small_grey_png and header.orientation == UPRIGHT and max(header.size) <= side:
        with _ErrorTranslator(pixels=upload.pixels):
            return Picture(_decode_small_grey_png(header), *header.size)
    return Decoder(upload).decode(side=side)


class Decoder:
    """Decodes one upload, at one size or several.

    A decoded picture is kept for the next size. A JPEG is decoded no larger than needed, and again if that
    was too small. A failed attempt is not kept: Pillow would take its missing pixels for black.
    """

    def __init__(self, upload: Upload) -> None:
        self._header = upload.header
        self._image: Image.Image | None = None
        self._draft = 0
        self._time_limit = _TimeLimit(_MAX_SECONDS, _choose_clocks(upload.header))

    def decode(self, *, side: int) -> Picture:
        """Decode as the function `decode` does."""
        width, height = self._header.size
        with _ErrorTranslator(pixels=width * height), self._time_limit:
            grey = shrink(self._decode(side), side)
        orientation = self._header.orientation
        if orientation in _TURN_UPRIGHT:
            grey = _TURN_UPRIGHT[orientation](grey)
        if orientation in _SIDEWAYS_ORIENTATIONS:
            width, height = height, width
        return Picture(np.ascontiguousarray(grey), width, height)

    def _decode(self, side: int) -> GreyPicture:
        if self._header.is_small_grey_png:
            return _decode_small_grey_png(self._header)
        return _to_grey(self._load(side), side, self._time_limit)

    def _load(self, side: int) -> Image.Image:
        draft = _choose_draft(self._header, side)
        if self._image is None or draft != self._draft:
            self._image = None  # frees its memory before the next one is allocated
            self._image, self._draft = _load_image(self._header, side, self._time_limit), draft
        return self._image


class _TimeLimit:
    """Limits the processor time spent on decoding one picture, at all sizes together."""

    def __init__(self, seconds: float, clocks: Sequence[Callable[[], float]]) -> None:
        """Limit the time by these clocks; without one, there is no limit."""
        self._clocks = clocks
        self._remaining = [seconds] * len(clocks)
        self._ends = [0.0] * len(clocks)

    def __enter__(self) -> None:
        if self._clocks:
            self._ends = [clock() + left for clock, left in zip(self._clocks, self._remaining, strict=True)]

    def __exit__(self, *_: object) -> None:
        if self._clocks:
            self._remaining = [end - clock() for clock, end in zip(self._clocks, self._ends, strict=True)]

    def check(self) -> None:
        """Raise `ImageTooLarge` when the time is up."""
        if self._clocks and all(clock() > end for clock, end in zip(self._clocks, self._ends, strict=True)):
            msg = (
                f"Decoding the picture takes more than {_MAX_SECONDS * 1e3:.0f} ms of processor time. "
                "Send a smaller picture, or an ordinary JPEG."
            )
            raise ImageTooLarge(msg, limit=round(_MAX_SECONDS * 1e3))


class _TimedFile(io.BytesIO):
    """A file that checks the time limit whenever Pillow has decoded one piece and reads the next."""

    def __init__(self, file: bytes, time_limit: _TimeLimit) -> None:
        super().__init__(file)
        self._time_limit = time_limit

    def read(self, size: int | None = -1, /) -> bytes:
        self._time_limit.check()
        return super().read(size)


class _ErrorTranslator:
    """Turns every exception of a decoder into an error of the picture, or of memory.

    Decoders read bytes that anybody may have sent, and raise all kinds of exceptions on damaged ones: fuzzing
    has seen 13 types, `AssertionError` and `struct.error` among them. A bug of ours would look like a corrupt
    file, so nothing but decoding happens within. libjpeg and libwebp report a lack of memory as they report a
    corrupt file, so memory is checked here.
    """

    __slots__ = ("_pixels",)

    def __init__(self, *, pixels: int) -> None:
        self._pixels = pixels

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, DigitsError):
            return
        if isinstance(error, MemoryError) or not _has_memory_for(self._pixels):
            msg = "The service has too little memory left for this picture. Try again in a second."
            raise OutOfMemory(msg) from error
        raise UnreadableImage(DAMAGED_FILE) from error


def _choose_clocks(header: Header) -> Sequence[Callable[[], float]]:
    if header.cost <= _MIN_TIMED_COST:
        return ()
    return _CLOCKS_OF_ANY_THREAD if header.format == "HEIC" else _CLOCKS


def _has_memory_for(pixels: int) -> bool:
    try:
        np.empty(pixels * _EXTRA_BYTES_PER_PIXEL, np.uint8)  # never written to, so it takes no memory itself
    except MemoryError:
        return False
    return True


def _read_header(data: bytes) -> Header:
    if not data:
        msg = f"The picture is empty: it has 0 bytes. Send the bytes of a {FORMAT_NAMES} file."
        raise UnreadableImage(msg)
    for signature, read_header in _HEADER_READERS.items():
        if data.startswith(signature):
            return read_header(data)
    if webp.has_signature(data):
        return webp.read_header(data)
    if heif.has_signature(data):
        return heif.read_header(data)
    if any(signature.startswith(data) for signature in _HEADER_READERS):
        raise UnreadableImage(DAMAGED_FILE)
    raise UnsupportedFormat(foreign.describe(data))


def _estimate_cost(header: Header) -> float:
    """Return the milliseconds that decoding takes at most, perhaps for a small copy and then a larger one."""
    if header.format != "JPEG":
        return header.cost
    width, height = header.size
    draft = _choose_draft(header, WORKING_SIDE)
    passes = (1 if draft == _DRAFT_FACTORS[0] else 2) * (1 if header.is_complete else 2)
    return passes * (header.cost + width * height / draft**2 * _DRAFT_PIXEL_COST / 1e6)


def _check_cost(upload: Upload, *, limit: float) -> None:
    if upload.cost > limit:
        width, height = upload.size
        msg = (
            f"Decoding this {upload.header.description} of {width}x{height} pixels may take "
            f"{upload.cost:.0f} ms of processor time; at most {limit:.0f} ms are allowed. "
            "Send a smaller picture, or an ordinary JPEG."
        )
        raise ImageTooLarge(msg, limit=round(limit))


def _choose_draft(header: Header, side: int) -> int:
    """Return the factor by which libjpeg shrinks a picture while it decodes it; 1 for other formats."""
    if header.format != "JPEG":
        return 1
    width, height = header.size
    min_width, min_height = _find_min_draft_size(width, height, side)
    factor = min(width // min_width, height // min_height)
    return next(draft for draft in _DRAFT_FACTORS if draft <= max(factor, 1))


def _load_image(header: Header, side: int, time_limit: _TimeLimit) -> Image.Image:
    if header.is_run_length_encoded:
        return _load_run_length_encoded(header)
    if header.mosaic is not None:
        return mosaics.load(header, time_limit.check)
    if header.is_complete:
        return _load_file(header, header.stripped_file, side, time_limit)
    # A JPEG without its end marker: it is decoded twice, with different filler at the end. If the results
    # differ, some pixels are missing.
    image, other = (
        _load_file(header, header.stripped_file + filler + jpeg.END, side, time_limit)
        for filler in (b"", jpeg.FILLER)
    )
    if image.tobytes() != other.tobytes():
        raise UnreadableImage(DAMAGED_FILE)
    return image


def _load_file(header: Header, file: bytes, side: int, time_limit: _TimeLimit) -> Image.Image:
    is_timed = header.cost > _MIN_TIMED_COST
    source = _TimedFile(file, time_limit) if is_timed else io.BytesIO(file)
    image = _PLUGINS[header.format](source)
    if image.size != header.size:  # the limits were checked against another size
        raise UnreadableImage(DAMAGED_FILE)
    if is_timed:
        image.decodermaxblock = _TIMED_BLOCK
    image.draft(None, _find_min_draft_size(*header.size, side))
    image.load()
    return image


def _decode_small_grey_png(header: Header) -> GreyPicture:
    """Decode a PNG with OpenCV, in an eighth of the time that Pillow takes to open one."""
    pixels = cv2.imdecode(np.frombuffer(header.stripped_file, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnreadableImage(DAMAGED_FILE)
    return np.asarray(pixels, np.uint8)


def _load_run_length_encoded(header: Header) -> Image.Image:
    """Decode a BMP with OpenCV: Pillow's decoder is written in Python, and holds the GIL."""
    pixels = cv2.imdecode(np.frombuffer(header.stripped_file, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None or pixels.shape[1::-1] != header.size:
        raise UnreadableImage(DAMAGED_FILE)
    return Image.frombuffer("RGB", header.size, pixels, "raw", "BGR", 0, 1)


def _find_min_draft_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the smallest size that libjpeg may shrink to.

    It is a quarter below the working size, which saves decoding and resizing a much larger picture.
    """
    fitted_width, fitted_height = fit_size(width, height, side)
    return max(1, fitted_width * 3 // 4), max(1, fitted_height * 3 // 4)


def _to_grey(image: Image.Image, side: int, time_limit: _TimeLimit) -> GreyPicture:
    if image.mode.startswith("I"):
        return np.asarray(_reduce(image, side, _to_eight_bits, time_limit))
    if image.has_transparency_data:
        return _flatten_transparency(_reduce(image, side, _add_alpha, time_limit), image.format)
    small = _reduce(image, side, _normalise_mode, time_limit)
    if small.mode == "L":
        return np.asarray(small)
    return colours.to_grey(np.asarray(small if small.mode == "RGB" else small.convert("RGB")))


def _to_eight_bits(image: Image.Image) -> Image.Image:
    sixteen_bits = np.clip(np.asarray(image), 0, 65535)
    return Image.fromarray((sixteen_bits // 257).astype(np.uint8))


def _add_alpha(image: Image.Image) -> Image.Image:
    return image if image.mode in {"LA", "RGBA"} else image.convert("RGBA")


def _normalise_mode(image: Image.Image) -> Image.Image:
    if image.mode in {"L", "RGB", "CMYK"}:
        return image
    return image.convert("RGB" if image.mode in _COLOUR_MODES else "L")


def _reduce(
    image: Image.Image, side: int, convert: Callable[[Image.Image], Image.Image], time_limit: _TimeLimit
) -> Image.Image:
    """Convert a picture, and shrink it by a whole number to less than twice `side`.

    It works in strips, because a copy of 40 megapixels takes 160 MB.
    """
    width, height = image.size
    factor = find_whole_factor(width, height, side)
    if factor == 1:
        return convert(image)
    rows = max(1, _STRIP_PIXELS // (width * factor)) * factor
    reduced: Image.Image | None = None
    for top in range(0, height, rows):
        time_limit.check()
        strip = convert(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        if reduced is None:
            reduced = Image.new(strip.mode, (strip.width, -(-height // factor)))
        reduced.paste(strip, (0, top // factor))
    assert reduced is not None  # noqa: S101  # a picture has rows
    return reduced


def _flatten_transparency(image: Image.Image, file_format: str | None) -> GreyPicture:
    channels = np.asarray(image)
    alpha = np.ascontiguousarray(channels[..., -1])
    if image.mode == "LA":
        return _composite(np.ascontiguousarray(channels[..., 0]), alpha)
    has_no_alpha = file_format == "BMP" and not alpha.any()  # old BMPs have an unused fourth byte
    if has_no_alpha or alpha.min() == _FULLY_OPAQUE:
        return colours.to_grey(np.asarray(cv2.cvtColor(channels, cv2.COLOR_RGBA2RGB), np.uint8))
    return _composite(np.asarray(cv2.cvtColor(channels, cv2.COLOR_RGBA2GRAY), np.uint8), alpha)


def _composite(grey: GreyPicture, alpha: GreyPicture) -> GreyPicture:
    """Put a partly transparent picture on a background.

    A drawing on a transparent canvas shows only ink: its drawn pixels have one tone, or are few. Its
    background becomes black or white, whichever is farther from the ink. Other pictures, such as a photo with
    cut corners, contain their own paper, and the median of their drawn pixels is the background.
    """
    if alpha.min() == _FULLY_OPAQUE:
        return grey
    drawn_histogram = tones.histogram(grey, mask=cv2.inRange(alpha, _MIN_DRAWN_ALPHA, _FULLY_OPAQUE))
    if not drawn_histogram.any():
        return np.full_like(grey, 255)
    low, high = (tones.percentile(drawn_histogram, percent) for percent in (5, 95))
    if high - low < _MAX_INK_SPREAD or drawn_histogram.sum() < grey.size // 2:
        background = 0 if tones.mean_and_deviation(drawn_histogram)[0] > _MID_GREY else 255
    else:
        background = round(tones.median(drawn_histogram))
    canvas = np.full_like(grey, background)
    lighter, darker = (
        cv2.multiply(ink, alpha, scale=1 / 255)
        for ink in (cv2.subtract(grey, canvas), cv2.subtract(canvas, grey))
    )
    return np.asarray(cv2.subtract(cv2.add(canvas, lighter), darker), np.uint8)
