"""EXIF and XMP → which way up a picture is."""

from __future__ import annotations

import re
import struct
from typing import Final

UPRIGHT: Final = 1
_PREFIX: Final = re.compile(rb"(?:Exif\0\0){0,2}")
_BYTE_ORDERS: Final = {b"II": "<", b"MM": ">"}
_ORIENTATION_TAG: Final = 0x0112  # EXIF 2.32, section 4.6.4
_FIELD_TYPES: Final = {3: "H", 4: "L"}  # SHORT, as the standard requires, and LONG, which some programs write
_ENTRY_BYTES: Final = 12
MAX_ENTRIES: Final = 512  # of a directory; cameras write about twenty
_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_MAX_XMP_BYTES: Final = 1 << 20  # to search; XMP has a few kilobytes


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation from EXIF, else from XMP; 1 (upright) if it is missing or damaged in both."""
    orientation = _read_exif_orientation(exif) if exif else None
    if orientation is None and xmp:
        match = _XMP_ORIENTATION.search(xmp, 0, _MAX_XMP_BYTES)
        orientation = int(match[1]) if match else None
    return UPRIGHT if orientation is None else orientation


def _read_exif_orientation(exif: bytes) -> int | None:
    """Read the tag from the first directory alone; no offset in a value is followed."""
    prefix = _PREFIX.match(exif)
    start = prefix.end() if prefix else 0
    order = _BYTE_ORDERS.get(exif[start : start + 2])
    if order is None:
        return None
    try:
        (offset,) = struct.unpack_from(f"{order}L", exif, start + 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start + offset)
        for index in range(min(entries, MAX_ENTRIES)):
            position = start + offset + 2 + index * _ENTRY_BYTES
            tag, field_type, count = struct.unpack_from(f"{order}HHL", exif, position)
            if tag == _ORIENTATION_TAG and field_type in _FIELD_TYPES and count == 1:
                (value,) = struct.unpack_from(order + _FIELD_TYPES[field_type], exif, position + 8)
                return int(value)
    except struct.error:
        return None
    return None
