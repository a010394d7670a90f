"""GIF (87a and 89a); of an animation the first frame counts."""

from __future__ import annotations

import struct
from typing import Final

from app.digits.errors import UnreadableImage
from app.digits.formats.header import DAMAGED_FILE, Header, check_parts

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_SCREEN: Final = 13  # bytes: signature, width, height, flags, background, aspect ratio
_FRAME: Final = struct.Struct("<4HB")  # left, top, width, height, flags
_HAS_PALETTE, _PALETTE_SIZE = 0x80, 0x07  # of the flags
_EXTENSION, _IMAGE, _TRAILER = b"!", b",", b";"
_CONTROL: Final = 0xF9  # the extension that tells which colour is transparent

# Nanoseconds of a core of 2026.
_PIXEL: Final = 6.0  # of the frame: LZW at its worst
_CANVAS_PIXEL: Final = 5.0  # it is converted through the palette before it is averaged
_FILE_BYTE: Final = 5.0


def read_header(data: bytes) -> Header:
    """Read what a GIF says about its first frame, and leave out what stands before it.

    Raises:
        UnreadableImage: it breaks off before the frame, or has too many blocks.
    """
    if len(data) < _SCREEN:
        raise UnreadableImage(DAMAGED_FILE)
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = _SCREEN + _palette_size(flags)
    controls, frame = _find_frame(data, start)
    left, top, frame_width, frame_height, _ = _FRAME.unpack_from(data, frame + 1)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    size = len(data) - frame
    cost = frame_width * frame_height * _PIXEL + width * height * _CANVAS_PIXEL + size * _FILE_BYTE
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
        if kind != _EXTENSION:  # as other decoders do, what is between blocks is passed over
            offset += 1
            continue
        start, offset = offset, offset + 2
        while offset < len(data) and data[offset]:
            check_parts(count := count + 1)
            offset += 1 + data[offset]
        offset += 1
        if data[start + 1 : start + 2] == bytes([_CONTROL]):
            controls.append(data[start:offset])
    raise UnreadableImage(DAMAGED_FILE)


def _palette_size(flags: int) -> int:
    return 3 << (flags & _PALETTE_SIZE) + 1 if flags & _HAS_PALETTE else 0
