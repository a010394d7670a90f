"""BMP, as Windows and OS/2 write it."""

from __future__ import annotations

import struct
from typing import Final

from ..errors import UnreadableImage
from .header import DAMAGED_FILE, Header

SIGNATURE: Final = b"BM"
_FILE_HEADER_BYTES: Final = 14
_OS2_HEADER_BYTES: Final = 12  # of the header after the file header
_MIN_WINDOWS_HEADER_BYTES: Final = 40  # the shortest of Windows' several versions
_RUN_LENGTHS: Final = {1: "RLE8", 2: "RLE4"}  # compressions that Pillow decodes in Python, byte by byte
_MAX_COLOURS: Final = 256  # of a palette
_MAX_PALETTE_BITS: Final = 8  # bits per pixel: with more, a pixel is a colour instead of an index

# Costs in nanoseconds of a processor core of 2026.
_PIXEL_COST: Final = 8.0
_RUN_LENGTH_PIXEL_COST: Final = 12.0
_FILE_BYTE_COST: Final = 2.0
_ROW_COST: Final = 60.0


def read_header(data: bytes) -> Header:
    """Read what a BMP says about its picture.

    Raises:
        UnreadableImage: it breaks off, or has a palette of more than 256 colours.
    """
    width, height, bits, compression, colours = _read_fields(data[_FILE_HEADER_BYTES:])
    if bits <= _MAX_PALETTE_BITS and colours > _MAX_COLOURS:
        raise UnreadableImage(DAMAGED_FILE)
    run_length = _RUN_LENGTHS.get(compression)
    pixel_cost = _RUN_LENGTH_PIXEL_COST if run_length else _PIXEL_COST
    return Header(
        format="BMP",
        description=f"BMP ({run_length or f'{bits}-bit'})",
        size=(width, height),
        stripped_file=data,
        cost=(width * height * pixel_cost + height * _ROW_COST + len(data) * _FILE_BYTE_COST) / 1e6,
        is_run_length_encoded=run_length is not None,
    )


def _read_fields(header: bytes) -> tuple[int, int, int, int, int]:
    """Return width, height, bits per pixel, compression, and the number of colours in the palette."""
    length = int.from_bytes(header[:4], "little")
    if len(header) < length or (length != _OS2_HEADER_BYTES and length < _MIN_WINDOWS_HEADER_BYTES):
        raise UnreadableImage(DAMAGED_FILE)
    if length == _OS2_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<4H", header, 4)
        return width, height, bits, 0, 0
    width, height, _, bits, compression = struct.unpack_from("<IIHHI", header, 4)
    (colours,) = struct.unpack_from("<I", header, 32)
    if header[11] == 0xFF:  # noqa: PLR2004  the height is negative: rows from top to bottom
        height = 2**32 - height
    return width, height, bits, compression, colours
