"""GIF (87a and 89a); of an animation, only the first frame is read."""

from __future__ import annotations

import struct
from typing import Final

from ..errors import UnreadableImage
from .header import DAMAGED_FILE, Header, check_parts

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_SCREEN_BYTES: Final = 13  # signature, width, height, flags, background, aspect ratio
_FRAME: Final = struct.Struct("<4HB")  # left, top, width, height, flags
_HAS_PALETTE, _PALETTE_SIZE = 0x80, 0x07  # bits of the flags
_EXTENSION, _IMAGE, _TRAILER = b"!", b",", b";"
_GRAPHIC_CONTROL: Final = 0xF9  # the extension that says which colour is transparent

# Costs in nanoseconds of a processor core of 2026.
_FRAME_PIXEL_COST: Final = 6.0  # LZW at its worst
_CANVAS_PIXEL_COST: Final = 5.0  # a pixel is converted through the palette before it is averaged
_FILE_BYTE_COST: Final = 5.0


def read_header(data: bytes) -> Header:
    """Read what a GIF says about its first frame, and drop the extensions before it.

    Raises:
        UnreadableImage: it breaks off before the frame, or has too many blocks.
    """
    if len(data) < _SCREEN_BYTES:
        raise UnreadableImage(DAMAGED_FILE)
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = _SCREEN_BYTES + _count_palette_bytes(flags)
    controls, frame = _find_frame(data, start)
    left, top, frame_width, frame_height, _ = _FRAME.unpack_from(data, frame + 1)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    size = len(data) - frame
    frame_cost = frame_width * frame_height * _FRAME_PIXEL_COST
    cost = frame_cost + width * height * _CANVAS_PIXEL_COST + size * _FILE_BYTE_COST
    return Header(
        format="GIF",
        description="GIF",
        size=(width, height),
        stripped_file=b"".join((data[:start], *controls, data[frame:])),
        cost=cost / 1e6,
    )


def _find_frame(data: bytes, offset: int) -> tuple[list[bytes], int]:
    controls: list[bytes] = []
    count = 0
    while (kind := data[offset : offset + 1]) not in {b"", _TRAILER}:
        check_parts(count := count + 1)
        if kind == _IMAGE and offset + 1 + _FRAME.size <= len(data):
            return controls, offset
        if kind != _EXTENSION:  # bytes between blocks are skipped, as other decoders do
            offset += 1
            continue
        start, offset = offset, offset + 2
        while offset < len(data) and data[offset]:
            check_parts(count := count + 1)
            offset += 1 + data[offset]
        offset += 1
        if data[start + 1 : start + 2] == bytes([_GRAPHIC_CONTROL]):
            controls.append(data[start:offset])
    raise UnreadableImage(DAMAGED_FILE)


def _count_palette_bytes(flags: int) -> int:
    return 3 << (flags & _PALETTE_SIZE) + 1 if flags & _HAS_PALETTE else 0
