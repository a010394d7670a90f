"""Splits picture files into chunks, markers or blocks, and joins them in other ways."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

Rng = np.random.Generator

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# Values for fields of lengths, sizes and depths: small ones, and the limits of their types.
_EXTREMES: Final = tuple(
    value.to_bytes(size, order)
    for size in (1, 2, 4)
    for value in (0, 1, 3, 16, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
    for order in ("big", "little")
)


def restructure(data: bytes, other: bytes, rng: Rng) -> bytes:
    """Drop, repeat, move, replace, splice or overwrite a few parts of a file; checksums stay valid."""
    parts = split(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(parts)))
        change = _CHANGES[int(rng.integers(len(_CHANGES)))]
        change(parts, at, split(other), rng)
        if not parts:
            return b""
    return join(parts)


def split(data: bytes) -> list[bytes]:
    """Split a file into parts, which joined give the file again."""
    for signature, splitting in _SPLITTING.items():
        if data.startswith(signature):
            return [part for part in splitting(data) if part]
    return [data]


def join(parts: list[bytes]) -> bytes:
    """Join parts; the chunks of a PNG get valid checksums, the boxes of a HEIF valid sizes."""
    if parts[0][4:8] == b"ftyp":
        return _join_boxes(parts)
    if parts[0] != _PNG:
        return b"".join(parts)
    return parts[0] + b"".join(
        part[:-4] + struct.pack(">I", zlib.crc32(part[4:-4])) if len(part) >= 12 else part
        for part in parts[1:]
    )


def _split_png(data: bytes) -> list[bytes]:
    parts, place = [data[:8]], 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        parts.append(data[place:end])
        place = end
    return parts


def _split_jpeg(data: bytes) -> list[bytes]:
    parts, place = [data[:2]], 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] not in {b"\xd9", b"\xda"}:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        parts.append(data[place:end])
        place = end
    scans = data[place:].split(b"\xff\xda")
    return parts + [scans[0]] + [b"\xff\xda" + scan for scan in scans[1:]]


def _split_riff(data: bytes) -> list[bytes]:
    parts, place = [data[:12]], 12
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        end = place + 8 + length + length % 2
        parts.append(data[place:end])
        place = end
    return parts


def _split_gif(data: bytes) -> list[bytes]:
    """Split into screen, palette, and whatever begins like an extension or a frame."""
    head = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    return [data[:13], data[13:head], *re.split(rb"(?<=\x00)(?=[!,])", data[head:])]


def _split_bmp(data: bytes) -> list[bytes]:
    header = 14 + int.from_bytes(data[14:18], "little") % 128
    pixels = max(header, int.from_bytes(data[10:14], "little") % (len(data) + 1))
    return [data[:14], data[14:header], data[header:pixels], data[pixels:]]


def _split_tiff(data: bytes) -> list[bytes]:
    """Split into head, entries of the directory, and what lies before and behind it."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    ends = [4, 8, start, start + 2, *range(start + 14, start + 3 + 12 * count, 12), len(data)]
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


_CONTAINERS: Final = {b"meta": 12, b"iprp": 8, b"ipco": 8}  # and the bytes before the boxes within


def _split_boxes(data: bytes) -> list[bytes]:
    """Split into boxes; one that contains boxes is split into its beginning and these."""
    parts, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big") or len(data)
        end = place + max(_CONTAINERS.get(data[place + 4 : place + 8], size), 8)
        parts.append(data[place:end])
        place = end
    return parts


def _join_boxes(parts: list[bytes]) -> bytes:
    """Join boxes: ipco contains properties, iprp also ipma, meta everything before the data."""
    joined = b""
    sizes = {b"ipco": 8, b"iprp": 8, b"meta": 12}
    ends = {b"ipco": b"ipma", b"iprp": b"iref iloc idat mdat", b"meta": b"mdat moov"}
    for index, part in enumerate(parts):
        name = part[4:8]
        size = sizes.get(name, 0)
        if name in ends and len(part) == size:
            for inner in parts[index + 1 :]:
                if inner[4:8] in ends[name].split():
                    break
                size += len(inner)
            part = struct.pack(">I", size) + part[4:]  # noqa: PLW2901
        joined += part
    return joined


_SPLITTING: Final[Mapping[bytes, Callable[[bytes], list[bytes]]]] = {
    _PNG: _split_png,
    b"\xff\xd8": _split_jpeg,
    b"RIFF": _split_riff,
    b"GIF8": _split_gif,
    b"BM": _split_bmp,
    b"II*\0": _split_tiff,
    b"MM\0*": _split_tiff,
    b"\0\0\0": _split_boxes,
}


def _drop(parts: list[bytes], at: int, _: list[bytes], __: Rng) -> None:
    del parts[at]


def _repeat(parts: list[bytes], at: int, _: list[bytes], rng: Rng) -> None:
    parts[at:at] = [parts[at]] * int(rng.integers(1, 9))


def _move(parts: list[bytes], at: int, _: list[bytes], rng: Rng) -> None:
    part = parts.pop(at)
    parts.insert(int(rng.integers(len(parts) + 1)), part)


def _splice(parts: list[bytes], at: int, others: list[bytes], rng: Rng) -> None:
    parts.insert(at, others[int(rng.integers(len(others)))])


def _replace(parts: list[bytes], at: int, others: list[bytes], rng: Rng) -> None:
    parts[at] = others[int(rng.integers(len(others)))]


def _shorten(parts: list[bytes], at: int, _: list[bytes], rng: Rng) -> None:
    parts[at] = parts[at][: int(rng.integers(len(parts[at]) + 1))]


def _overwrite(parts: list[bytes], at: int, _: list[bytes], rng: Rng) -> None:
    """Overwrite a field; most fields are at the beginning of a part."""
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    place = int(rng.integers(min(len(parts[at]), 48) + 1))
    parts[at] = parts[at][:place] + value + parts[at][place + len(value) :]


def _flip(parts: list[bytes], at: int, _: list[bytes], rng: Rng) -> None:
    part = bytearray(parts[at])
    if part:
        part[int(rng.integers(min(len(part), 200)))] ^= 1 << int(rng.integers(8))
    parts[at] = bytes(part)


_CHANGES: Final = (_drop, _repeat, _move, _splice, _replace, _shorten, _overwrite, _overwrite, _flip)
