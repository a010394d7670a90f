"""JPEG (ITU-T T.81); of a phone's file with several pictures (MPO) the first counts."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from app.digits.errors import UnreadableImage
from app.digits.formats.exif import read_orientation
from app.digits.formats.header import DAMAGED_FILE, Header, check_parts

SIGNATURE: Final = b"\xff\xd8\xff"
END: Final = b"\xff\xd9"
# What may follow a file that lacks its end marker: if the picture depends on it, pixels are missing. Bits
# without a pattern, of which no decoder makes the nothing that it makes of a missing block.
FILLER: Final = bytes.fromhex("5ac369961e87b44bd22df00f3c0aa5e1") * 8

# In entropy-coded data FF is followed by 00, or by a restart marker, D0 to D7; FF FF is a filling byte.
# TEM (01) and SOI (D8) have neither length nor meaning there.
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_END, _SCAN, _EXIF_OR_XMP = 0xD9, 0xDA, 0xE1
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = frozenset({0xC0, 0xC1, _PROGRESSIVE})
_OTHER_FRAMES: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}  # lossless, hierarchical, arithmetic
# Of the applications' segments JFIF's (0) and Adobe's (14) say what the colours mean.
_DROPPED_SEGMENTS: Final = (frozenset(range(0xE0, 0xF0)) - {0xE0, 0xEE}) | {0xFE}
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_FACTOR: Final = 4  # of a component's sampling
_BITS: Final = 8  # a sample
_MAX_SCANS: Final = 100  # encoders make about ten

# Nanoseconds of a core of 2026, libjpeg-turbo 3.
_BLOCK: Final = 35.0  # 8x8 pixels of a component, decoded and put out at once, and a byte of the file then
_BYTE: Final = 8.0
_BUFFERED_BLOCK: Final = 120.0  # put out after several scans, smoothed where they left something out
_SCANNED_BLOCK: Final = 38.0  # each time that a scan passes over it, with or without data
_SCANNED_BYTE: Final = 13.0


@dataclass(slots=True)
class _Parts:
    essential: list[bytes] = field(default_factory=list)  # the segments in front of the first scan
    scan: int = 0  # where the first begins
    scans: list[bytes] = field(default_factory=list)  # their heads
    end: int | None = None  # behind the end marker
    marker: int = 0  # of the frame
    frame: bytes = b""
    exif: list[bytes] = field(default_factory=list)
    xmp: bytes | None = None


def read_header(data: bytes) -> Header:
    """Read what a JPEG says about its picture, and leave out what its pixels do not depend on.

    Raises:
        UnreadableImage: it has no frame, no scan or too many segments, or another coding than is read here.
    """
    parts = _sort_segments(data)
    if not parts.scans or len(parts.frame) < 6:  # noqa: PLR2004  bytes in front of the components
        raise UnreadableImage(DAMAGED_FILE)
    bits, height, width, _ = struct.unpack_from(">BHHB", parts.frame)
    if len(parts.scans) > _MAX_SCANS:
        msg = f"The JPEG has more than {_MAX_SCANS} scans, as no camera makes. Save it again and resend it."
        raise UnreadableImage(msg, limit=_MAX_SCANS)
    if bits != _BITS:
        msg = f"The JPEG has {bits} bits a sample, {_BITS} are read here. Save it again as an ordinary JPEG."
        raise UnreadableImage(msg)
    coded = data[parts.scan : parts.end]
    if parts.end is None:
        coded = coded.removesuffix(b"\xff")  # half of the end marker
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
        parts.scan = parts.scan or start
        parts.scans.append(body)
        return
    if marker in _OTHER_FRAMES:
        msg = "The JPEG is lossless, hierarchical or arithmetic-coded. Save it again as an ordinary JPEG."
        raise UnreadableImage(msg)
    if marker in _FRAMES:
        parts.marker, parts.frame = marker, body
    elif marker == _EXIF_OR_XMP and body.startswith(_EXIF):
        parts.exif.append(body[len(_EXIF) :])
    elif marker == _EXIF_OR_XMP and body.startswith(_XMP):
        parts.xmp = body[len(_XMP) :]
    if not parts.scan and marker not in _DROPPED_SEGMENTS:
        parts.essential.append(segment)


def _describe(parts: _Parts) -> str:
    kind = "progressive JPEG" if parts.marker == _PROGRESSIVE else "JPEG"
    return f"{kind} with {len(parts.scans)} scans" if len(parts.scans) > 1 else kind


def _estimate_cost(parts: _Parts, width: int, height: int, size: int) -> float:
    blocks = _count_blocks(parts.frame, width, height)
    total = sum(blocks.values())
    if len(parts.scans) == 1 and parts.marker != _PROGRESSIVE:
        return (total * _BLOCK + size * _BYTE) / 1e6
    # a component that the frame does not have is an error, but found late
    dearest = max(blocks.values())
    scanned = sum(blocks.get(name, dearest) for scan in parts.scans for name in _list_components(scan))
    return (total * _BUFFERED_BLOCK + scanned * _SCANNED_BLOCK + size * _SCANNED_BYTE) / 1e6


def _list_components(scan: bytes) -> bytes:
    return scan[1 : 1 + 2 * min(scan[0], 4) : 2] if scan else b""


def _count_blocks(frame: bytes, width: int, height: int) -> dict[int, int]:
    """Return for each component's name of how many blocks it consists; subsampled ones have fewer."""
    factors = {frame[offset]: divmod(frame[offset + 1], 16) for offset in range(6, len(frame) - 2, 3)}
    if not factors or not all(1 <= factor <= _MAX_FACTOR for pair in factors.values() for factor in pair):
        raise UnreadableImage(DAMAGED_FILE)
    across = -(-width // (8 * max(factor for factor, _ in factors.values())))
    down = -(-height // (8 * max(factor for _, factor in factors.values())))
    return {name: across * horizontal * down * vertical for name, (horizontal, vertical) in factors.items()}
