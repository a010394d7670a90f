"""EXIF and XMP → which way up a picture is."""

from __future__ import annotations

import re
import struct
from typing import Final

UPRIGHT: Final = 1
_PREFIX: Final = re.compile(rb"(?:Exif\0\0){0,2}")
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_ORIENTATION: Final = 0x0112  # EXIF 2.32, section 4.6.4
_FIELD_TYPES: Final = {3: "H", 4: "L"}  # SHORT, as the standard has it, and LONG, as some writers do
_ENTRY: Final = 12  # bytes
MAX_ENTRIES: Final = 512  # of a directory; cameras write about twenty
_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_MAX_XMP: Final = 1 << 20  # bytes that are searched; XMP has a few kilobytes


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation that EXIF gives, else XMP's; 1 (upright) where both are silent or damaged."""
    orientation = _read_exif_orientation(exif) if exif else None
    if orientation is None and xmp:
        match = _XMP.search(xmp, 0, _MAX_XMP)
        orientation = int(match[1]) if match else None
    return UPRIGHT if orientation is None else orientation


def _read_exif_orientation(exif: bytes) -> int | None:
    """Read the tag from the first directory alone; its values are never followed anywhere."""
    prefix = _PREFIX.match(exif)
    start = prefix.end() if prefix else 0
    order = _ORDERS.get(exif[start : start + 2])
    if order is None:
        return None
    try:
        (offset,) = struct.unpack_from(f"{order}L", exif, start + 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start + offset)
        for index in range(min(entries, MAX_ENTRIES)):
            position = start + offset + 2 + index * _ENTRY
            tag, field_type, count = struct.unpack_from(f"{order}HHL", exif, position)
            if tag == _ORIENTATION and field_type in _FIELD_TYPES and count == 1:
                (value,) = struct.unpack_from(order + _FIELD_TYPES[field_type], exif, position + 8)
                return int(value)
    except struct.error:
        return None
    return None
