"""JPEG (ITU-T T.81); of a phone's file with several pictures (MPO), only the first is read."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from ..errors import UnreadableImage
from .exif import read_orientation
from .header import DAMAGED_FILE, Header, check_parts

SIGNATURE: Final = b"\xff\xd8\xff"
END: Final = b"\xff\xd9"
# Appended to a file that lacks its end marker: if the picture depends on these bytes, pixels are missing.
# They have no pattern, so that a decoder does not turn them into what it makes of a missing block.
FILLER: Final = bytes.fromhex("5ac369961e87b44bd22df00f3c0aa5e1") * 8

# In entropy-coded data FF is followed by 00, or by a restart marker, D0 to D7; FF FF is a fill byte.
# TEM (01) and SOI (D8) have neither length nor meaning there.
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_END, _SCAN, _EXIF_OR_XMP = 0xD9, 0xDA, 0xE1
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = frozenset({0xC0, 0xC1, _PROGRESSIVE})
# lossless, hierarchical, arithmetic
_UNSUPPORTED_FRAMES: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Comments and application segments; but those of JFIF (0) and Adobe (14) say what the colours mean.
_DROPPED_SEGMENTS: Final = (frozenset(range(0xE0, 0xF0)) - {0xE0, 0xEE}) | {0xFE}
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_SAMPLING_FACTOR: Final = 4  # of a component, in each direction
_SAMPLE_BITS: Final = 8
_MAX_SCANS: Final = 100  # encoders make about ten

# Costs in nanoseconds of a processor core of 2026, libjpeg-turbo 3. A block is 8x8 pixels of a component.
_BLOCK_COST: Final = 35.0  # in a file with a single scan, as is the byte
_BYTE_COST: Final = 8.0
_BUFFERED_BLOCK_COST: Final = 120.0  # to output it after several scans, smoothed if they are incomplete
_SCANNED_BLOCK_COST: Final = 38.0  # each time that one of several scans passes it, with or without data
_SCANNED_BYTE_COST: Final = 13.0


@dataclass(slots=True)
class _Parts:
    essential: list[bytes] = field(default_factory=list)  # the segments before the first scan
    first_scan: int = 0  # offset in the file
    scans: list[bytes] = field(default_factory=list)  # the header of each scan
    end: int | None = None  # offset in the file, after the end marker
    frame_marker: int = 0
    frame: bytes = b""
    exif: list[bytes] = field(default_factory=list)
    xmp: bytes | None = None


def read_header(data: bytes) -> Header:
    """Read what a JPEG says about its picture, and drop what its pixels do not depend on.

    Raises:
        UnreadableImage: it has no frame, no scan or too many segments, or its coding is not supported.
    """
    parts = _sort_segments(data)
    if not parts.scans or len(parts.frame) < 6:  # noqa: PLR2004  bytes before the components
        raise UnreadableImage(DAMAGED_FILE)
    bits, height, width, _ = struct.unpack_from(">BHHB", parts.frame)
    if len(parts.scans) > _MAX_SCANS:
        msg = f"The JPEG has more than {_MAX_SCANS} scans. Save it again as an ordinary JPEG."
        raise UnreadableImage(msg, limit=_MAX_SCANS)
    if bits != _SAMPLE_BITS:
        msg = f"The JPEG has {bits} bits per sample, not {_SAMPLE_BITS}. Save it again as an ordinary JPEG."
        raise UnreadableImage(msg)
    coded = memoryview(data)[parts.first_scan : parts.end]
    if parts.end is None and data.endswith(b"\xff"):
        coded = coded[:-1]  # half of the end marker
    return Header(
        format="JPEG",
        description=_describe(parts),
        size=(width, height),
        stripped_file=b"".join((b"\xff\xd8", *parts.essential, coded)),
        cost=_estimate_cost(parts, width, height, len(coded)),
        orientation=read_orientation(b"".join(parts.exif), parts.xmp),
        is_complete=parts.end is not None,
    )


def _sort_segments(data: bytes) -> _Parts:
    parts, offset, count = _Parts(), 2, 0
    while match := _MARKER.search(data, offset):
        check_parts(count := count + 1)
        start, marker = match.start(), data[match.end() - 1]
        if marker == _END:
            parts.end = start + 2
            break
        offset = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        _sort_segment(parts, marker, data[start:offset], start)
    return parts


def _sort_segment(parts: _Parts, marker: int, segment: bytes, start: int) -> None:
    body = segment[4:]
    if marker == _SCAN:
        parts.first_scan = parts.first_scan or start
        parts.scans.append(body)
        return
    if marker in _UNSUPPORTED_FRAMES:
        msg = "The JPEG is lossless, hierarchical or arithmetic-coded. Save it again as an ordinary JPEG."
        raise UnreadableImage(msg)
    if marker in _FRAMES:
        parts.frame_marker, parts.frame = marker, body
    elif marker == _EXIF_OR_XMP and body.startswith(_EXIF):
        parts.exif.append(body[len(_EXIF) :])
    elif marker == _EXIF_OR_XMP and body.startswith(_XMP):
        parts.xmp = body[len(_XMP) :]
    if not parts.first_scan and marker not in _DROPPED_SEGMENTS:
        parts.essential.append(segment)


def _describe(parts: _Parts) -> str:
    kind = "progressive JPEG" if parts.frame_marker == _PROGRESSIVE else "JPEG"
    return f"{kind} with {len(parts.scans)} scans" if len(parts.scans) > 1 else kind


def _estimate_cost(parts: _Parts, width: int, height: int, size: int) -> float:
    blocks = _count_blocks(parts.frame, width, height)
    total = sum(blocks.values())
    if len(parts.scans) == 1 and parts.frame_marker != _PROGRESSIVE:
        return (total * _BLOCK_COST + size * _BYTE_COST) / 1e6
    # a scan of a component that the frame does not have is an error, but libjpeg reports it late
    most_blocks = max(blocks.values())
    scanned = sum(blocks.get(name, most_blocks) for scan in parts.scans for name in _list_components(scan))
    return (total * _BUFFERED_BLOCK_COST + scanned * _SCANNED_BLOCK_COST + size * _SCANNED_BYTE_COST) / 1e6


def _list_components(scan: bytes) -> bytes:
    return scan[1 : 1 + 2 * min(scan[0], 4) : 2] if scan else b""


def _count_blocks(frame: bytes, width: int, height: int) -> dict[int, int]:
    """Return the number of blocks of each component by its name; subsampled components have fewer."""
    factors = {frame[offset]: divmod(frame[offset + 1], 16) for offset in range(6, len(frame) - 2, 3)}
    if not factors or not all(
        1 <= factor <= _MAX_SAMPLING_FACTOR for pair in factors.values() for factor in pair
    ):
        raise UnreadableImage(DAMAGED_FILE)
    across = -(-width // (8 * max(factor for factor, _ in factors.values())))
    down = -(-height // (8 * max(factor for _, factor in factors.values())))
    return {name: across * horizontal * down * vertical for name, (horizontal, vertical) in factors.items()}
