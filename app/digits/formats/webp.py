"""WebP (RFC 9649); of an animation the first frame counts."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from app.digits.errors import UnreadableImage
from app.digits.formats.exif import read_orientation
from app.digits.formats.header import DAMAGED_FILE, Header, check_parts

_CONTAINER: Final = b"RIFF"  # which is also one of sound and video
_FORM: Final = b"WEBP"
_HEAD: Final = 12  # bytes: container, length, form
_ESSENTIAL: Final = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_FRAMES: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_KEPT_FLAGS: Final = 0x12  # of VP8X: alpha and animation; those of metadata go with them
_LOSSLESS_SIGNATURE: Final = 0x2F
_SIDE: Final = 0x3FFF  # 14 bits
_FRAME_HEAD: Final = 16  # bytes of ANMF in front of the frame's own chunks

# Nanoseconds of a core of 2026. libwebp's decoder of animations, which Pillow always takes, also holds 16
# bytes for each pixel: the price keeps that within 256 MB beyond 4 bytes a pixel.
_PIXEL: Final = 32.0
_LOSSY_BYTE: Final = 55.0
_LOSSLESS_BYTE: Final = 12.0


def has_signature(data: bytes) -> bool:
    """Tell whether a file, of which only the beginning may be there, is a WebP."""
    return data.startswith(_CONTAINER) and _FORM.startswith(data[8:_HEAD])


def read_header(data: bytes) -> Header:
    """Read what a WebP says about its first frame, and leave out metadata and the frames after it.

    Raises:
        UnreadableImage: it breaks off before the end of the frame, or has too many chunks.
    """
    chunks: dict[bytes, bytes] = {}
    for name, body in _walk(data):
        chunks.setdefault(name, body)
    if _FRAMES.isdisjoint(chunks):
        raise UnreadableImage(DAMAGED_FILE)
    essence = b"".join(_pack(name, _clear_flags(name, chunks[name])) for name in chunks if name in _ESSENTIAL)
    width, height = _read_size(*next(iter(chunks.items())))
    return Header(
        format="WEBP",
        description="WebP",
        size=(width, height),
        stripped_file=_pack(_CONTAINER, _FORM + essence),
        cost=(width * height * _PIXEL + len(essence) * _price_bytes(chunks)) / 1e6,
        orientation=read_orientation(chunks.get(b"EXIF"), chunks.get(b"XMP ")),
    )


def _price_bytes(chunks: Mapping[bytes, bytes]) -> float:
    """Return what a byte costs; an animation's frame may be lossy, unless it begins like a lossless one."""
    frame = chunks.get(b"ANMF", b"")[_FRAME_HEAD : _FRAME_HEAD + 4]
    return _LOSSLESS_BYTE if b"VP8L" in chunks or frame == b"VP8L" else _LOSSY_BYTE


def _walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    end, offset = min(len(data), 8 + int.from_bytes(data[4:8], "little")), _HEAD
    for count in itertools.count():
        check_parts(count)
        name, length = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        start, offset = offset + 8, offset + 8 + length
        if offset > end:
            return
        yield name, data[start:offset]
        offset += length % 2


def _pack(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _clear_flags(name: bytes, body: bytes) -> bytes:
    return bytes([body[0] & _KEPT_FLAGS]) + body[1:] if name == b"VP8X" and body else body


def _read_size(name: bytes, body: bytes) -> tuple[int, int]:
    if name == b"VP8X" and len(body) >= 10:  # noqa: PLR2004  bytes up to the height
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if name == b"VP8L" and len(body) >= 5 and body[0] == _LOSSLESS_SIGNATURE:  # noqa: PLR2004
        bits = int.from_bytes(body[1:5], "little")
        return (bits & _SIDE) + 1, (bits >> 14 & _SIDE) + 1
    if name == b"VP8 " and len(body) >= 10:  # noqa: PLR2004
        width, height = struct.unpack_from("<HH", body, 6)
        return width & _SIDE, height & _SIDE
    raise UnreadableImage(DAMAGED_FILE)
