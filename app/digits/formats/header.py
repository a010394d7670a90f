"""What is known about a picture before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from ..errors import UnreadableImage

Format: TypeAlias = Literal["AVIF", "BMP", "GIF", "HEIC", "JPEG", "PNG", "TIFF", "WEBP"]

FORMAT_NAMES: Final = "PNG, JPEG, WebP, HEIC, AVIF, BMP, GIF or TIFF"

DAMAGED_FILE: Final = "The picture's file is truncated or corrupt. Save it again and send the whole of it."
MAX_PARTS: Final = 25_000  # chunks, markers or blocks of a file: 10 MB of PNG in chunks of 400 bytes


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A picture of one or several tiles, each a file of its own."""

    columns: int
    tile_size: tuple[int, int]  # width and height
    tiles: tuple[bytes, ...]  # row by row
    size: tuple[int, int]  # of all together; the last tiles may be larger than what is left for them
    box: tuple[int, int, int, int]  # left, top, right and bottom of what is shown of it


class Header(NamedTuple):
    """What a file says about its picture.

    `stripped_file` is the file without everything that its pixels do not depend on: metadata, previews, all
    frames but the first. Nothing else is decoded: no text is unpacked, no library parses EXIF, and an
    animation costs no more than its first frame.
    """

    format: Format
    description: str  # for people: "progressive JPEG with 10 scans"
    size: tuple[int, int]  # width and height, as they are stored
    stripped_file: bytes
    cost: float  # milliseconds of a processor core that decoding takes at most
    orientation: int = 1  # as EXIF counts, 1 to 8; 1 is upright
    is_complete: bool = True  # False only for a JPEG without its end marker
    is_run_length_encoded: bool = False  # whether the file is a BMP compressed by run lengths
    is_small_grey_png: bool = False  # a complete PNG of 8-bit grey pixels, as MNIST's are
    mosaic: Mosaic | None = None  # of HEIC and AVIF, whose `stripped_file` is empty
    alpha: Mosaic | None = None  # their transparency, if there is any


def check_parts(count: int) -> None:
    """Refuse a file with too many parts, because Python takes a microsecond for each.

    Raises:
        UnreadableImage: there are more than MAX_PARTS.
    """
    if count > MAX_PARTS:
        msg = f"The picture's file has more than {MAX_PARTS} parts. Save it again with another program."
        raise UnreadableImage(msg, limit=MAX_PARTS)
