"""What is known of a picture before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from app.digits.errors import UnreadableImage

Format: TypeAlias = Literal["BMP", "GIF", "JPEG", "PNG", "WEBP"]

DAMAGED_FILE: Final = "The picture's file is truncated or corrupt. Save it again and send the whole of it."
MAX_PARTS: Final = 25_000  # chunks, markers or blocks of a file: 10 MB of PNG in chunks of 400 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says about its picture.

    `stripped_file` is the file without what no pixel depends on: metadata, previews, all frames but the
    first. Pillow gets nothing else. So texts are not unpacked, no library parses EXIF, and an animation costs
    no more than its first frame.
    """

    format: Format
    description: str  # for people: "progressive JPEG with 10 scans"
    size: tuple[int, int]  # width and height, as they are stored
    stripped_file: bytes
    cost: float  # milliseconds of a processor core that decoding takes at most
    orientation: int = 1  # as EXIF counts, 1 to 8; 1 is upright
    is_complete: bool = True  # whether a JPEG's end marker is there
    is_run_length: bool = False  # whether a BMP is compressed by run lengths
    is_plain: bool = False  # whether it is a small, whole PNG of 8-bit grey pixels, as MNIST's are


def check_parts(count: int) -> None:
    """Refuse a file of too many parts, which are walked over in Python at a microsecond each.

    Raises:
        UnreadableImage: there are more than MAX_PARTS.
    """
    if count > MAX_PARTS:
        msg = f"The picture's file has more than {MAX_PARTS} parts. Save it again with another program."
        raise UnreadableImage(msg, limit=MAX_PARTS)
