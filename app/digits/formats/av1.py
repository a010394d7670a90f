"""AV1 as it is stored in AVIF: the size that the decoder will see, and nothing but one frame.

A frame may override the size of its sequence, up to 65,536x65,536, so its header is read far enough to know
that it doesn't. Section numbers are those of the AV1 bitstream specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from ..errors import UnreadableImage, UnsupportedFormat
from .bits import BitReader
from .coded_picture import CodedPicture
from .header import DAMAGED_FILE, check_parts

_SEQUENCE_HEADER, _FRAME_HEADER, _TILE_GROUP, _FRAME = 1, 3, 4, 6  # types of OBUs
_HAS_EXTENSION, _HAS_SIZE = 4, 2  # flags of an OBU
_MAX_SIZE_BYTES: Final = 8  # of a number in LEB128
_MAX_HEADER_BYTES: Final = 256  # of a sequence or frame: what is read stands within
_SELECT: Final = 2  # a tool that each frame switches for itself
_SRGB: Final = (1, 13, 0)  # primaries, transfer and matrix: always in 4:4:4
_PROFESSIONAL: Final = 2  # the profile with 12 bits and 4:2:2
_TWELVE_BITS: Final = 12
_EIGHT_BITS: Final = 8
_LAYERS: Final = (
    "This AVIF has several frames or layers in one picture, which is not supported. "
    "Save it without layers, or as PNG or JPEG."
)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence header says (5.5)."""

    size: tuple[int, int]
    is_reduced: bool  # for a still picture, whose frame overrides nothing
    screen_content: int
    integer_motion: int
    frame_id_bits: int
    depth: int
    is_grey: bool
    subsampling: tuple[bool, bool]
    level: bytes  # the first two bytes of av1C after the marker hold profile, level and tier


def read_picture(data: bytes) -> CodedPicture:
    """Read a picture from the data of its item.

    Raises:
        UnsupportedFormat: it has several layers.
        UnreadableImage: the data break off, or contain no picture.
    """
    units: list[bytes] = []
    sequence: _Sequence | None = None
    has_frame = False
    for kind, payload in iterate_units(data):
        if kind == _SEQUENCE_HEADER:
            if units and units[0] != _pack_unit(kind, payload):
                raise UnreadableImage(DAMAGED_FILE)
            sequence = sequence or _read_sequence(payload)
        elif kind in {_FRAME, _FRAME_HEADER}:
            _check_frame(sequence, payload, is_second=has_frame)
            has_frame = True
        elif kind != _TILE_GROUP:
            continue
        if not units or kind != _SEQUENCE_HEADER:
            units.append(_pack_unit(kind, payload))
    if sequence is None or not has_frame:
        raise UnreadableImage(DAMAGED_FILE)
    return CodedPicture(
        size=sequence.size,
        coded_size=sequence.size,
        has_full_chroma=not sequence.is_grey and not all(sequence.subsampling),
        depth=sequence.depth,
        channels=1 if sequence.is_grey else 3,
        configuration=_compose_configuration(sequence),
        data=b"".join(units),
    )


def iterate_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of each unit (5.3)."""
    offset = 0
    for parts in count():
        check_parts(parts)
        if offset >= len(data):
            return
        head = data[offset]
        offset += 2 if head & _HAS_EXTENSION else 1
        size = len(data) - offset
        if head & _HAS_SIZE:
            size, offset = _read_leb128(data, offset)
        if size < 0 or offset + size > len(data):
            raise UnreadableImage(DAMAGED_FILE)
        yield head >> 3 & 15, data[offset : offset + size]
        offset += size


def _read_leb128(data: bytes, offset: int) -> tuple[int, int]:
    """Return a number and the offset behind it (4.10.5)."""
    value = 0
    for index, byte in enumerate(data[offset : offset + _MAX_SIZE_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, offset + index + 1
    raise UnreadableImage(DAMAGED_FILE)


def _pack_unit(kind: int, payload: bytes) -> bytes:
    """Return a unit without extension, its size in four bytes."""
    size = len(payload)
    return (
        struct.pack(
            "5B", kind << 3 | _HAS_SIZE, *(size >> shift & 0x7F | 0x80 for shift in (0, 7, 14)), size >> 21
        )
        + payload
    )


def _read_sequence(payload: bytes) -> _Sequence:
    reader = BitReader(payload[:_MAX_HEADER_BYTES])
    profile = reader.read(3)
    reader.read(1)  # a still picture
    is_reduced = reader.read_flag()
    level, tier = (reader.read(5), 0) if is_reduced else _read_operating_points(reader)
    width_bits, height_bits = reader.read(4) + 1, reader.read(4) + 1
    size = reader.read(width_bits) + 1, reader.read(height_bits) + 1
    frame_id_bits = 0
    if not is_reduced and reader.read_flag():
        frame_id_bits = reader.read(4) + 2 + reader.read(3) + 1
    reader.read(3)  # superblocks, two tools for intra prediction
    screen_content, integer_motion = (_SELECT, _SELECT) if is_reduced else _read_tools(reader)
    reader.read(3)  # three filters
    depth, is_grey, subsampling = _read_colours(reader, profile)
    flags = [depth > _EIGHT_BITS, depth == _TWELVE_BITS, is_grey, *subsampling]
    packed = sum(flag << 6 - place for place, flag in enumerate(flags))
    return _Sequence(
        size, is_reduced, screen_content, integer_motion, frame_id_bits, depth, is_grey, subsampling,
        bytes([profile << 5 | level, tier << 7 | packed]),
    )  # fmt: skip


def _read_operating_points(reader: BitReader) -> tuple[int, int]:
    """Return level and tier of the first operating point (5.5.1)."""
    if reader.read_flag():  # timing, which no still picture has
        raise UnsupportedFormat(_LAYERS)
    has_delays = reader.read_flag()
    points = []
    for _ in range(reader.read(5) + 1):
        reader.read(12)
        level = reader.read(5)
        points.append((level, reader.read(1) if level > 7 else 0))  # noqa: PLR2004  4.0 and above have tiers
        if has_delays and reader.read_flag():
            reader.read(4)
    return points[0]


def _read_tools(reader: BitReader) -> tuple[int, int]:
    """Return how frames decide on tools for screen content and on whole motion vectors (5.5.1)."""
    reader.read(4)  # four tools for prediction from other frames
    has_order = reader.read_flag()
    if has_order:
        reader.read(2)
    screen_content = _SELECT if reader.read_flag() else reader.read(1)
    integer_motion = _SELECT
    if screen_content and not reader.read_flag():
        integer_motion = reader.read(1)
    if has_order:
        reader.read(3)
    return screen_content, integer_motion


def _read_colours(reader: BitReader, profile: int) -> tuple[int, bool, tuple[bool, bool]]:
    """Return bits per sample, whether there is no colour, and where it is subsampled (5.5.2)."""
    is_deep = reader.read_flag()
    is_deepest = is_deep and profile == _PROFESSIONAL and reader.read_flag()
    depth = _TWELVE_BITS if is_deepest else 10 if is_deep else _EIGHT_BITS
    is_grey = profile != 1 and reader.read_flag()
    description = tuple(reader.read(8) for _ in range(3)) if reader.read_flag() else ()
    if is_grey:
        return depth, True, (True, True)
    if description == _SRGB:
        return depth, False, (False, False)
    reader.read(1)  # the range
    if depth == _TWELVE_BITS:
        across = reader.read_flag()
        return depth, False, (across, across and reader.read_flag())
    return depth, False, (profile != 1, profile == 0)


def _compose_configuration(sequence: _Sequence) -> bytes:
    return b"\x81" + sequence.level + b"\0"


def _check_frame(sequence: _Sequence | None, payload: bytes, *, is_second: bool) -> None:
    """Refuse a frame that is not the only one, needs another one or has a size of its own (5.9.2)."""
    if sequence is None:
        raise UnreadableImage(DAMAGED_FILE)
    if is_second:
        raise UnsupportedFormat(_LAYERS)
    if sequence.is_reduced:
        return
    reader = BitReader(payload[:_MAX_HEADER_BYTES])
    shows_existing, kind, is_shown = reader.read_flag(), reader.read(2), reader.read_flag()
    if shows_existing or kind or not is_shown:  # type 0 is a key frame
        raise UnsupportedFormat(_LAYERS)
    reader.read(1)
    screen_content = reader.read(1) if sequence.screen_content == _SELECT else sequence.screen_content
    if screen_content and sequence.integer_motion == _SELECT:
        reader.read(1)
    reader.read(sequence.frame_id_bits)
    if reader.read_flag():
        raise UnreadableImage(DAMAGED_FILE)
