"""PNG (ISO/IEC 15948); of an animated PNG, only the default picture is read."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import UnreadableImage
from .exif import UPRIGHT, read_orientation
from .header import DAMAGED_FILE, Header, check_parts

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_ESSENTIAL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS"})
_TEXT_CHUNKS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_HEADER: Final = struct.Struct(">IIBBBBB")  # width, height, depth, colour type, two methods, interlaced
_CHUNK_START: Final = struct.Struct(">I4s")  # length and name
_LENGTH: Final = struct.Struct(">I")
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk
_PLAIN_START: Final = struct.Struct(">8xI4s13s4xI4s")  # signature, IHDR, length and name of the next chunk
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_GREY, _PALETTE = 0, 3  # colour types
_CONVERTED_TYPES: Final = frozenset({_PALETTE, 4, 6})  # colour types with a palette, or alpha
_COLOUR_TYPE_NAMES: Final = {0: "grey", 2: "RGB", 3: "palette", 4: "grey-alpha", 6: "RGBA"}
_EXIF_TEXT: Final = b"Raw profile type exif"  # ImageMagick's: EXIF in hexadecimal, below three lines
_XMP_TEXT: Final = b"XML:com.adobe.xmp"
_MAX_SMALL_PIXELS: Final = 4096  # larger pictures gain little from the quick path: a canonical one has 784
_FILTER_TYPES: Final = 5  # numbered from 0
_MAX_TEXT_BYTES: Final = 1 << 18  # of a text once it is unpacked; EXIF has at most 2 x 64 KiB

# Costs in nanoseconds of a processor core of 2026, for rows with cheap filters. The most expensive filter
# (Paeth) on data that defeats branch prediction takes 6 per byte, and nothing before the data announces it:
# so decoding has a time limit as well.
_ROW_BYTE_COST: Final = 2.2  # a byte of the unpacked pixels
_FILE_BYTE_COST: Final = 10.0
_PIXEL_COST: Final = 1.5
_CONVERTED_PIXEL_COST: Final = 4.5  # with a palette or alpha, and converted before it is averaged
_ROW_COST: Final = 60.0


@dataclass(slots=True)
class _Parts:
    header: bytes = b""  # the last IHDR
    essential: list[bytes] = field(default_factory=list)  # complete chunks before the pixels
    pixels: list[bytes] = field(default_factory=list)  # the first run of IDAT
    names: set[bytes] = field(default_factory=set)  # of the essential chunks
    exif: bytes | None = None
    texts: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # by keyword: chunk's name and rest


def read_header(data: bytes) -> Header:
    """Read what a PNG says about its picture, and put all of its pixels into one chunk.

    Raises:
        UnreadableImage: it lacks its header, pixels or palette, or has too many chunks.
    """
    parts = _split_plain(data) or _sort_chunks(data)
    if len(parts.header) < _HEADER.size or not parts.pixels:
        raise UnreadableImage(DAMAGED_FILE)
    width, height, depth, colour, *methods, interlaced = _HEADER.unpack_from(parts.header)
    if colour not in _CHANNELS or (colour == _PALETTE and b"PLTE" not in parts.names):
        raise UnreadableImage(DAMAGED_FILE)
    pixels = b"".join(parts.pixels)
    is_small_grey_png = (
        (depth, colour, *methods, interlaced) == (8, _GREY, 0, 0, 0)
        and width * height <= _MAX_SMALL_PIXELS
        and b"tRNS" not in parts.names
        and _has_all_rows(pixels, width, height)
    )
    is_converted = colour in _CONVERTED_TYPES or b"tRNS" in parts.names
    row_bytes = (width * depth * _CHANNELS[colour] + 7) // 8
    pixel_cost = _CONVERTED_PIXEL_COST if is_converted else _PIXEL_COST
    row_cost = row_bytes * _ROW_BYTE_COST + _ROW_COST + width * pixel_cost
    return Header(
        format="PNG",
        description=f"{'interlaced ' * bool(interlaced)}PNG ({depth}-bit {_COLOUR_TYPE_NAMES[colour]})",
        size=(width, height),
        stripped_file=(_compose_small if is_small_grey_png else _compose)(parts, pixels),
        cost=(row_cost * height + len(pixels) * _FILE_BYTE_COST) / 1e6,
        orientation=_find_orientation(parts),
        is_small_grey_png=is_small_grey_png,
    )


def _has_all_rows(pixels: bytes, width: int, height: int) -> bool:
    """Tell whether the data holds exactly `height` rows of 8-bit pixels, each after a valid filter type.

    libpng would decode other data as well, but print a warning to standard error.
    """
    decompressor, row_bytes = zlib.decompressobj(), width + 1
    try:
        rows = decompressor.decompress(pixels, row_bytes * height + 1)
    except zlib.error:
        return False
    has_ended = decompressor.eof and not decompressor.unused_data
    return has_ended and len(rows) == row_bytes * height and max(rows[::row_bytes]) < _FILTER_TYPES


def _compose(parts: _Parts, pixels: bytes) -> bytes:
    # the checksum of IDAT stays 0: it takes time, nobody reads it, and the packed pixels have their own
    return b"".join((SIGNATURE, *parts.essential, _CHUNK_START.pack(len(pixels), b"IDAT"), pixels, bytes(4)))


def _compose_small(parts: _Parts, pixels: bytes) -> bytes:
    """Return a file with the checksums and the end that OpenCV asks for."""
    header, data = b"IHDR" + parts.header[: _HEADER.size], b"IDAT" + pixels
    return b"".join(
        (
            SIGNATURE,
            _LENGTH.pack(_HEADER.size),
            header,
            _LENGTH.pack(zlib.crc32(header)),
            _LENGTH.pack(len(pixels)),
            data,
            _LENGTH.pack(zlib.crc32(data)),
            _END,
        )
    )


def _split_plain(data: bytes) -> _Parts | None:
    """Split a file that has nothing but a header, one chunk of pixels and the end, as most small ones."""
    if len(data) < _PLAIN_START.size:
        return None
    header_length, header_name, header, length, name = _PLAIN_START.unpack_from(data)
    start, end = _PLAIN_START.size, _PLAIN_START.size + length
    if (header_length, header_name, name) != (_HEADER.size, b"IHDR", b"IDAT") or data[end + 4 :] != _END:
        return None
    return _Parts(header, [data[len(SIGNATURE) : start - 8]], [data[start:end]], {b"IHDR"})


def _sort_chunks(data: bytes) -> _Parts:
    parts, previous = _Parts(), b""
    for name, start, end in _iterate_chunks(data):
        if name == b"IDAT":
            if not parts.pixels or previous == b"IDAT":
                parts.pixels.append(data[start:end])
        elif name in _ESSENTIAL_CHUNKS:
            if not parts.pixels:
                parts.essential.append(data[start - 8 : end + 4])
                parts.names.add(name)
                parts.header = data[start:end] if name == b"IHDR" else parts.header
        elif name == b"eXIf":
            parts.exif = data[start:end]
        elif name in _TEXT_CHUNKS:
            _collect_text(parts, name, data[start:end])
        previous = name
    return parts


def _iterate_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and where its data begins and ends; only pixels may be truncated."""
    start, size = len(SIGNATURE) + _CHUNK_START.size, len(data)
    for count in itertools.count():
        check_parts(count)
        if start > size:
            return
        length, name = _CHUNK_START.unpack_from(data, start - _CHUNK_START.size)
        end = start + length
        if name == b"IEND" or not name.isalpha() or (end > size and name != b"IDAT"):
            return
        yield name, start, min(end, size)
        start = end + 4 + _CHUNK_START.size  # after the checksum, and the next chunk's length and name


def _collect_text(parts: _Parts, name: bytes, text: bytes) -> None:
    keyword, _, _ = text[:80].partition(b"\0")
    if keyword in {_EXIF_TEXT, _XMP_TEXT}:
        parts.texts[keyword] = name, text[len(keyword) + 1 :]


def _find_orientation(parts: _Parts) -> int:
    if parts.exif is None and not parts.texts:
        return UPRIGHT
    return read_orientation(_find_exif(parts), _unpack_text(parts.texts, _XMP_TEXT))


def _find_exif(parts: _Parts) -> bytes | None:
    if parts.exif is not None:
        return parts.exif
    lines = _unpack_text(parts.texts, _EXIF_TEXT).split(b"\n")[3:]
    try:
        return bytes.fromhex(b"".join(lines).decode("ascii"))
    except ValueError:
        return None


def _unpack_text(texts: Mapping[bytes, tuple[bytes, bytes]], keyword: bytes) -> bytes:
    """Return up to _MAX_TEXT_BYTES of a text; nothing if it is missing or damaged."""
    name, text = texts.get(keyword, (b"tEXt", b""))
    is_packed = name == b"zTXt"
    if name == b"iTXt":
        is_packed = text.startswith(b"\x01")
        _, _, text = text[2:].partition(b"\0")  # after two flags: language, translated keyword
        _, _, text = text.partition(b"\0")
    elif is_packed:
        text = text[1:]  # after the compression method
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT_BYTES) if is_packed else text[:_MAX_TEXT_BYTES]
    except zlib.error:
        return b""
