"""PNG (ISO/IEC 15948); of an animated one the default picture counts."""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from app.digits.errors import UnreadableImage
from app.digits.formats.exif import UPRIGHT, read_orientation
from app.digits.formats.header import DAMAGED_FILE, Header, check_parts

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NAME: Final = re.compile(rb"[A-Za-z]{4}")
_ESSENTIAL: Final = frozenset({b"IHDR", b"PLTE", b"tRNS"})
_TEXTS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_HEADER: Final = struct.Struct(">IIBBBBB")  # width, height, depth, colour type, two methods, interlaced
_LENGTH: Final = struct.Struct(">I")
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PALETTE: Final = 3
_CONVERTED: Final = frozenset({_PALETTE, 4, 6})  # with a palette, or alpha
_GREY: Final = 0  # colour type
_KINDS: Final = {0: "grey", 2: "RGB", 3: "palette", 4: "grey-alpha", 6: "RGBA"}
_EXIF_TEXT: Final = b"Raw profile type exif"  # ImageMagick's: EXIF in hexadecimal, below three lines
_XMP_TEXT: Final = b"XML:com.adobe.xmp"
_PLAIN_PIXELS: Final = 4096  # up to here reading is worth making quick: a canonical picture has 784
_FILTERS: Final = 5  # kinds, from 0
_MAX_TEXT: Final = 1 << 18  # bytes that one of these is unpacked to; EXIF has at most 2 x 64 KiB

# Nanoseconds of a core of 2026, for rows that are filtered in no costly way. The dearest filter (Paeth) on
# data that defeat branch prediction takes 6 a byte, which nothing in front of the data tells: so decoding
# is also stopped when it has taken too long.
_BYTE: Final = 2.2  # of pixels
_FILE_BYTE: Final = 10.0
_PIXEL: Final = 1.5
_CONVERTED_PIXEL: Final = 4.5  # with a palette or alpha, which is taken apart before it is averaged
_ROW: Final = 60.0


@dataclass(slots=True)
class _Parts:
    header: bytes = b""  # the last IHDR
    essential: list[bytes] = field(default_factory=list)  # whole chunks in front of the pixels
    pixels: list[bytes] = field(default_factory=list)  # the first run of IDAT
    names: set[bytes] = field(default_factory=set)  # of these
    exif: bytes | None = None
    texts: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # by keyword: chunk's name and rest


def read_header(data: bytes) -> Header:
    """Read what a PNG says about its picture, and put all of its pixels into one chunk.

    Raises:
        UnreadableImage: it lacks its header, pixels or palette, or has too many chunks.
    """
    parts = _sort_chunks(data)
    if len(parts.header) < _HEADER.size or not parts.pixels:
        raise UnreadableImage(DAMAGED_FILE)
    width, height, depth, colour, *methods, interlaced = _HEADER.unpack_from(parts.header)
    if colour not in _CHANNELS or (colour == _PALETTE and b"PLTE" not in parts.names):
        raise UnreadableImage(DAMAGED_FILE)
    pixels = b"".join(parts.pixels)
    is_plain = (
        (depth, colour, *methods, interlaced) == (8, _GREY, 0, 0, 0)
        and width * height <= _PLAIN_PIXELS
        and b"tRNS" not in parts.names
        and _is_whole(pixels, width, height)
    )
    # nobody reads the checksum of IDAT, which would take a walk over it: the pixels carry their own
    chunk = (struct.pack(">I4s", len(pixels), b"IDAT"), pixels, bytes(4))
    is_converted = colour in _CONVERTED or b"tRNS" in parts.names
    row = (width * depth * _CHANNELS[colour] + 7) // 8
    return Header(
        format="PNG",
        description=f"{'interlaced ' * bool(interlaced)}PNG ({depth}-bit {_KINDS[colour]})",
        size=(width, height),
        stripped_file=_compose(parts.header, pixels)
        if is_plain
        else b"".join((SIGNATURE, *parts.essential, *chunk)),
        cost=(
            (row * _BYTE + _ROW + width * (_CONVERTED_PIXEL if is_converted else _PIXEL)) * height
            + len(pixels) * _FILE_BYTE
        )
        / 1e6,
        orientation=_find_orientation(parts),
        is_plain=is_plain,
    )


def _is_whole(pixels: bytes, width: int, height: int) -> bool:
    """Tell whether there are exactly as many rows of 8-bit pixels as there should be, each behind its filter.

    libpng decodes anything else, too, but writes what it thinks of it to the standard error.
    """
    unpacking, row = zlib.decompressobj(), width + 1
    try:
        rows = unpacking.decompress(pixels, row * height + 1)
    except zlib.error:
        return False
    is_complete = unpacking.eof and not unpacking.unused_data and len(rows) == row * height
    return is_complete and max(rows[::row]) < _FILTERS


def _compose(header: bytes, pixels: bytes) -> bytes:
    chunks = (b"IHDR" + header[: _HEADER.size], b"IDAT" + pixels, b"IEND")
    framed = (
        b"%b%b%b" % (_LENGTH.pack(len(each) - 4), each, _LENGTH.pack(zlib.crc32(each))) for each in chunks
    )
    return SIGNATURE + b"".join(framed)


def _sort_chunks(data: bytes) -> _Parts:
    parts, previous = _Parts(), b""
    for name, start, end in _walk(data):
        if name == b"IDAT":
            if not parts.pixels or previous == b"IDAT":
                parts.pixels.append(data[start:end])
        elif name in _ESSENTIAL:
            if not parts.pixels:
                parts.essential.append(data[start - 8 : end + 4])
                parts.names.add(name)
                parts.header = data[start:end] if name == b"IHDR" else parts.header
        elif name == b"eXIf":
            parts.exif = data[start:end]
        elif name in _TEXTS:
            _note_text(parts, name, data[start:end])
        previous = name
    return parts


def _walk(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and where its data begin and end; the pixels may break off, others not."""
    start = len(SIGNATURE) + 8
    for count in itertools.count():
        check_parts(count)
        length, name = struct.unpack(">I4s", data[start - 8 : start].ljust(8, b"\0"))
        end = start + length
        if name == b"IEND" or not _NAME.match(name) or (end > len(data) and name != b"IDAT"):
            return
        yield name, start, min(end, len(data))
        start = end + 4 + 8  # behind the checksum, and the next one's length and name


def _note_text(parts: _Parts, name: bytes, text: bytes) -> None:
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
    """Return a text, as much of it as may matter; nothing where there is none or it is damaged."""
    name, text = texts.get(keyword, (b"tEXt", b""))
    is_packed = name == b"zTXt"
    if name == b"iTXt":
        is_packed = text.startswith(b"\x01")
        _, _, text = text[2:].partition(b"\0")  # behind two flags: language, translated keyword
        _, _, text = text.partition(b"\0")
    elif is_packed:
        text = text[1:]  # behind the method
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT) if is_packed else text[:_MAX_TEXT]
    except zlib.error:
        return b""
