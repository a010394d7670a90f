"""WebP (RFC 9649); of an animation, only the first frame is read."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from ..errors import UnreadableImage
from .exif import read_orientation
from .header import DAMAGED_FILE, Header, check_parts

_CONTAINER: Final = b"RIFF"  # also of sound and video files
_FORM: Final = b"WEBP"
_HEADER_BYTES: Final = 12  # container, length, form
_ESSENTIAL_CHUNKS: Final = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_FRAME_CHUNKS: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_KEPT_FLAGS: Final = 0x12  # of VP8X: alpha and animation; those of the metadata are cleared, as it is dropped
_LOSSLESS_SIGNATURE: Final = 0x2F
_SIDE_BITS: Final = 0x3FFF  # the lowest 14
_FRAME_HEADER_BYTES: Final = 16  # of ANMF, before the frame's own chunks

# Costs in nanoseconds of a processor core of 2026. libwebp's decoder of animations, which Pillow always uses,
# also holds 16 bytes per pixel: the cost limits these to 256 MB, besides 4 bytes per pixel.
_PIXEL_COST: Final = 32.0
_LOSSY_BYTE_COST: Final = 55.0
_LOSSLESS_BYTE_COST: Final = 12.0


def has_signature(data: bytes) -> bool:
    """Tell whether the bytes are the beginning of a WebP, however few they are."""
    return data.startswith(_CONTAINER) and _FORM.startswith(data[8:_HEADER_BYTES])


def read_header(data: bytes) -> Header:
    """Read what a WebP says about its first frame, and drop metadata and the other frames.

    Raises:
        UnreadableImage: it breaks off before the end of the frame, or has too many chunks.
    """
    chunks: dict[bytes, bytes] = {}
    for name, body in _iterate_chunks(data):
        chunks.setdefault(name, body)
    if _FRAME_CHUNKS.isdisjoint(chunks):
        raise UnreadableImage(DAMAGED_FILE)
    essential = b"".join(
        _pack(name, _clear_flags(name, chunks[name])) for name in chunks if name in _ESSENTIAL_CHUNKS
    )
    width, height = _read_size(*next(iter(chunks.items())))
    return Header(
        format="WEBP",
        description="WebP",
        size=(width, height),
        stripped_file=_pack(_CONTAINER, _FORM + essential),
        cost=(width * height * _PIXEL_COST + len(essential) * _estimate_byte_cost(chunks)) / 1e6,
        orientation=read_orientation(chunks.get(b"EXIF"), chunks.get(b"XMP ")),
    )


def _estimate_byte_cost(chunks: Mapping[bytes, bytes]) -> float:
    """Return what a byte costs; an animation's frame may be lossy, unless it begins like a lossless one."""
    frame = chunks.get(b"ANMF", b"")[_FRAME_HEADER_BYTES : _FRAME_HEADER_BYTES + 4]
    return _LOSSLESS_BYTE_COST if b"VP8L" in chunks or frame == b"VP8L" else _LOSSY_BYTE_COST


def _iterate_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    end, offset = min(len(data), 8 + int.from_bytes(data[4:8], "little")), _HEADER_BYTES
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
        return (bits & _SIDE_BITS) + 1, (bits >> 14 & _SIDE_BITS) + 1
    if name == b"VP8 " and len(body) >= 10:  # noqa: PLR2004
        width, height = struct.unpack_from("<HH", body, 6)
        return width & _SIDE_BITS, height & _SIDE_BITS
    raise UnreadableImage(DAMAGED_FILE)
