"""HEVC (H.265) as it is stored in HEIC: the size that the decoder will see, and nothing but one picture.

Parameter sets are taken from the box hvcC alone (ISO/IEC 14496-15), where they are read; whatever else the
data contain besides slices of the first picture is dropped: other layers, other parameter sets, messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from ..errors import UnreadableImage
from .bits import BitReader
from .coded_picture import CodedPicture
from .header import DAMAGED_FILE, check_parts

_CONFIGURATION_BYTES: Final = 22  # of hvcC, before its arrays
_SPS: Final = 33
_PARAMETER_SETS: Final = frozenset({32, _SPS, 34})  # VPS, SPS, PPS
_KEY_PICTURES: Final = range(16, 24)  # NAL types of slices that need no other picture
_NAL_HEADER_BYTES: Final = 2
_FIRST_SLICE: Final = 0x80  # a flag in the first byte of a slice
_MAX_SIZE_BYTES: Final = 512  # of a sequence parameter set: the size stands within
_MAX_PARAMETER_SETS: Final = 64  # encoders write three
_PROFILE_BITS: Final = 88
_LEVEL_BITS: Final = 8
_MAX_SUB_LAYERS: Final = 8
_SEPARATE_PLANES: Final = 3  # of the chroma formats: 4:4:4
_CHROMA_STEPS: Final = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # by format: 4:0:0, 4:2:0, 4:2:2, 4:4:4
_MAX_DEPTH: Final = 8  # bits more than 8


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence parameter set says."""

    size: tuple[int, int]
    coded_size: tuple[int, int]
    chroma: int
    luma_depth: int  # bits beyond 8
    chroma_depth: int


def read_picture(configuration: bytes, data: bytes) -> CodedPicture:
    """Read a picture from the box hvcC and the data of its item.

    Raises:
        UnreadableImage: they break off, contradict each other or contain no picture.
    """
    sets = list(_iterate_parameter_sets(configuration))
    sequences = {_read_sequence(nal) for nal in sets if _get_type(nal) == _SPS}
    if len(sequences) != 1:
        raise UnreadableImage(DAMAGED_FILE)
    sequence = sequences.pop()
    return CodedPicture(
        size=sequence.size,
        coded_size=sequence.coded_size,
        has_full_chroma=sequence.chroma > 1,
        depth=8 + sequence.luma_depth,
        channels=3 if sequence.chroma else 1,
        configuration=_compose_configuration(configuration, sequence, sets),
        data=b"".join(_select_slices(data, length_bytes=(configuration[21] & 3) + 1)),
    )


def _iterate_parameter_sets(configuration: bytes) -> Iterator[bytes]:
    if len(configuration) <= _CONFIGURATION_BYTES:
        raise UnreadableImage(DAMAGED_FILE)
    offset, total = _CONFIGURATION_BYTES + 1, 0
    for _ in range(configuration[_CONFIGURATION_BYTES]):
        nals = int.from_bytes(configuration[offset + 1 : offset + 3], "big")
        offset, total = offset + 3, total + nals
        if total > _MAX_PARAMETER_SETS:
            raise UnreadableImage(DAMAGED_FILE)
        for _ in range(nals):
            nal, offset = _read_nal(configuration, offset, length_bytes=2)
            if _get_type(nal) in _PARAMETER_SETS and _get_layer(nal) == 0:
                yield nal


def _read_nal(data: bytes, offset: int, *, length_bytes: int) -> tuple[bytes, int]:
    """Return a unit and the offset behind it."""
    start = offset + length_bytes
    end = start + int.from_bytes(data[offset:start], "big")
    if end > len(data) or end - start <= _NAL_HEADER_BYTES:
        raise UnreadableImage(DAMAGED_FILE)
    return data[start:end], end


def _get_type(nal: bytes) -> int:
    return nal[0] >> 1 & 0x3F


def _get_layer(nal: bytes) -> int:
    return (nal[0] & 1) << 5 | nal[1] >> 3


def _read_sequence(nal: bytes) -> _Sequence:
    payload = nal[_NAL_HEADER_BYTES : _NAL_HEADER_BYTES + _MAX_SIZE_BYTES].replace(b"\0\0\3", b"\0\0")
    reader = BitReader(payload)
    reader.read(4)  # the video parameter set
    sub_layers = reader.read(3)
    reader.read(1)
    _skip_profile(reader, sub_layers)
    reader.read_exp_golomb()  # the number of this set
    chroma = reader.read_exp_golomb()
    if chroma not in _CHROMA_STEPS or (chroma == _SEPARATE_PLANES and reader.read_flag()):
        raise UnreadableImage(DAMAGED_FILE)
    width, height = reader.read_exp_golomb(), reader.read_exp_golomb()
    left, right, top, bottom = (reader.read_exp_golomb() for _ in range(4)) if reader.read_flag() else [0] * 4
    across, down = _CHROMA_STEPS[chroma]
    size = width - (left + right) * across, height - (top + bottom) * down
    depths = reader.read_exp_golomb(), reader.read_exp_golomb()
    if min(size) <= 0 or max(depths) > _MAX_DEPTH:
        raise UnreadableImage(DAMAGED_FILE)
    return _Sequence(size, (width, height), chroma, *depths)


def _skip_profile(reader: BitReader, sub_layers: int) -> None:
    reader.read(_PROFILE_BITS + _LEVEL_BITS)
    if not sub_layers:
        return
    flags = [(reader.read_flag(), reader.read_flag()) for _ in range(sub_layers)]
    reader.read(2 * (_MAX_SUB_LAYERS - sub_layers))
    for has_profile, has_level in flags:
        reader.read(_PROFILE_BITS * has_profile + _LEVEL_BITS * has_level)


def _compose_configuration(configuration: bytes, sequence: _Sequence, sets: list[bytes]) -> bytes:
    head = bytearray(configuration[:_CONFIGURATION_BYTES])
    head[16:19] = 0xFC | sequence.chroma, 0xF8 | sequence.luma_depth & 7, 0xF8 | sequence.chroma_depth & 7
    head[21] |= 3  # lengths of four bytes
    arrays = [
        struct.pack(">BHH", 0x80 | _get_type(nal), 1, len(nal)) + nal for nal in sorted(sets, key=_get_type)
    ]
    return bytes([*head, len(arrays)]) + b"".join(arrays)


def _select_slices(data: bytes, *, length_bytes: int) -> Iterator[bytes]:
    """Yield the slices of the first picture, each after its length in four bytes."""
    offset, has_begun = 0, False
    for parts in count():
        check_parts(parts)
        if offset == len(data):
            break
        nal, offset = _read_nal(data, offset, length_bytes=length_bytes)
        if _get_type(nal) not in _KEY_PICTURES or _get_layer(nal):
            continue
        is_first = bool(nal[_NAL_HEADER_BYTES] & _FIRST_SLICE)
        if is_first and has_begun:
            break
        has_begun = has_begun or is_first
        if has_begun:
            yield struct.pack(">I", len(nal)) + nal
    if not has_begun:
        raise UnreadableImage(DAMAGED_FILE)
