"""TIFF 6.0, as scanners and fax machines write it; of several pages, only the first is read.

The first directory is read here, and a new file is composed of the tags that its pixels depend on and of
their data. So the decoder sees no other directory, no private tag and no offset that the sender wrote.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..errors import UnreadableImage, UnsupportedFormat
from . import jpeg
from .header import DAMAGED_FILE, MAX_PARTS, Header

SIGNATURES: Final = (b"II*\0", b"MM\0*")
BIG_SIGNATURES: Final = (b"II+\0", b"MM\0+")

ByteOrder: TypeAlias = Literal["<", ">"]
Values: TypeAlias = tuple[int, ...]

_MAX_ENTRIES: Final = 512  # of a directory; scanners write about twenty
_ENTRY_BYTES: Final = 12
_FIELD_TYPES: Final = {1: "B", 3: "H", 4: "L", 7: "B"}  # BYTE, SHORT, LONG, UNDEFINED
_SHORT, _LONG, _UNDEFINED = 3, 4, 7

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANES = 273, 274, 277, 278, 279, 284
_FAX3_OPTIONS, _FAX4_OPTIONS, _PREDICTOR, _PALETTE = 292, 293, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES, _SUBSAMPLING = 338, 339, 347, 530
_MAX_COUNTS: Final[Mapping[int, int]] = {
    **dict.fromkeys((_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES), MAX_PARTS),
    _PALETTE: 3 << 8,  # red, green and blue of 256 colours
    _JPEG_TABLES: 1 << 14,  # bytes; four tables of each kind take 2 KB
}
_MAX_SAMPLES: Final = 5  # cyan, magenta, yellow, black and alpha
_BY_SAMPLE: Final = frozenset(
    {_BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _SUBSAMPLING}
)  # other tags have one value
# the tags that are copied as they are, if they are there
_COPIED: Final = (
    _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PLANES, _FAX3_OPTIONS, _FAX4_OPTIONS,
    _PREDICTOR, _PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES,
    _SUBSAMPLING,
)  # fmt: skip

_READ: Final = frozenset(_COPIED) | {
    _WIDTH, _HEIGHT, _ORIENTATION, _ROWS_PER_STRIP, _STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES,
}  # fmt: skip
_COPIED_TYPES: Final[Mapping[int, int]] = {
    _JPEG_TABLES: _UNDEFINED, **dict.fromkeys((_FAX3_OPTIONS, _FAX4_OPTIONS), _LONG),
}  # fmt: skip

_SEPARATE_PLANES: Final = 2
_UNSIGNED: Final = 1  # of the sample formats
_DEPTHS: Final = frozenset({1, 2, 4, 8, 16})  # bits per sample
_MAX_TILE_PIXELS: Final = 1 << 22  # a tile is decoded whole, however small the picture is

_NAMES: Final[Mapping[int, str]] = {
    1: "uncompressed", 2: "CCITT", 3: "CCITT group 3", 4: "CCITT group 4", 5: "LZW", 7: "JPEG", 8: "deflate",
    32773: "PackBits", 32946: "deflate",
}  # fmt: skip
_OTHER_NAMES: Final[Mapping[int, str]] = {
    6: "old-style JPEG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP",
    52546: "JPEG XL",
}  # fmt: skip
_JPEG: Final = 7

# Costs in nanoseconds of a processor core of 2026, libtiff 4.7.
_PIXEL_COST: Final = 5.0
_ROW_COST: Final = 100.0
_FAX_PIXEL_COST: Final = 9.0  # runs of one pixel
_BYTE_COSTS: Final[Mapping[int, float]] = {1: 0.5, 5: 2.6, 8: 2.6, 32946: 2.6, 32773: 1.5}  # of decoded data
_PART_COST: Final = 3_000.0  # of a strip or tile
_JPEG_PART_COST: Final = 40_000.0


@dataclass(frozen=True, slots=True)
class _Page:
    """The first directory: the values of its tags."""

    order: ByteOrder
    tags: Mapping[int, Values]

    def get(self, tag: int, default: int) -> int:
        return next(iter(self.tags.get(tag, ())), default)

    @property
    def size(self) -> tuple[int, int]:
        return self.get(_WIDTH, 0), self.get(_HEIGHT, 0)

    @property
    def is_tiled(self) -> bool:
        return _TILE_OFFSETS in self.tags

    @property
    def part_size(self) -> tuple[int, int]:
        """Width and height of a tile, or of a strip."""
        if self.is_tiled:
            return self.get(_TILE_WIDTH, 0), self.get(_TILE_HEIGHT, 0)
        width, height = self.size
        return width, min(self.get(_ROWS_PER_STRIP, height) or height, height)

    @property
    def samples(self) -> int:
        return self.get(_SAMPLES, 1)

    @property
    def bits(self) -> int:
        """The bits of a sample, which are the same for all samples of a pixel."""
        return self.get(_BITS, 1)

    @property
    def planes(self) -> int:
        """How often the picture is stored: once, or once for each sample."""
        return self.samples if self.get(_PLANES, 1) == _SEPARATE_PLANES else 1

    @property
    def compression(self) -> int:
        return self.get(_COMPRESSION, 1)


def read_header(data: bytes) -> Header:
    """Read what a TIFF says about its first page, and drop everything else.

    Raises:
        UnsupportedFormat: its compression or its samples are not supported.
        UnreadableImage: it breaks off, or contradicts itself.
    """
    page = _read_page(data)
    _check_kind(page)
    width, height = page.size
    if not width or not height:
        return Header(format="TIFF", description="TIFF", size=(width, height), stripped_file=b"", cost=0)
    parts = _cut_parts(page, data)
    return Header(
        format="TIFF",
        description=f"TIFF ({_NAMES[page.compression]})",
        size=(width, height),
        stripped_file=_compose(page, parts),
        cost=_estimate_cost(page, parts) / 1e6,
        orientation=page.get(_ORIENTATION, 1),
    )


def _read_page(data: bytes) -> _Page:
    order: ByteOrder = "<" if data.startswith(b"II") else ">"
    try:
        (offset,) = struct.unpack_from(f"{order}L", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, offset)
        if count > _MAX_ENTRIES:
            raise UnreadableImage(DAMAGED_FILE)
        positions = range(offset + 2, offset + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES)
        tags = dict(filter(None, (_read_entry(data, order, position) for position in positions)))
    except struct.error:
        raise UnreadableImage(DAMAGED_FILE) from None
    return _Page(order, tags)


def _read_entry(data: bytes, order: ByteOrder, position: int) -> tuple[int, Values] | None:
    """Return a tag and its values, or None for a tag that is not needed."""
    tag, field_type, count = struct.unpack_from(f"{order}HHL", data, position)
    if tag not in _READ:
        return None
    max_count = _MAX_SAMPLES if tag in _BY_SAMPLE else _MAX_COUNTS.get(tag, 1)
    if field_type not in _FIELD_TYPES or count > max_count:
        raise UnreadableImage(DAMAGED_FILE)
    layout = f"{order}{count}{_FIELD_TYPES[field_type]}"
    position += 8
    if struct.calcsize(layout) > 4:  # noqa: PLR2004  bytes: more is stored elsewhere
        (position,) = struct.unpack_from(f"{order}L", data, position)
    return tag, struct.unpack_from(layout, data, position)


def _check_kind(page: _Page) -> None:
    if page.compression not in _NAMES:
        name = _OTHER_NAMES.get(page.compression, f"compression {page.compression}")
        msg = f"This TIFF is compressed with {name}, which is not supported. Save it with LZW or deflate."
        raise UnsupportedFormat(msg)
    formats = set(page.tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    depths = set(page.tags.get(_BITS, (1,)))
    if page.samples > _MAX_SAMPLES:
        raise UnreadableImage(DAMAGED_FILE)
    if formats != {_UNSIGNED} or len(depths) > 1 or not depths <= _DEPTHS:
        kind = "unsigned integers" if formats == {_UNSIGNED} else "floating-point or signed numbers"
        msg = (
            f"This TIFF has samples of {', '.join(map(str, sorted(depths)))} bits, {kind}. "
            "Save it with 8 bits per sample, or as PNG or JPEG."
        )
        raise UnsupportedFormat(msg)


def _cut_parts(page: _Page, data: bytes) -> list[bytes]:
    """Return the data of each strip or tile.

    Raises:
        UnreadableImage: some are missing, or overlap: a small file must not become a large one.
    """
    part_width, part_height = page.part_size
    width, height = page.size
    if not part_width or not part_height or part_width * part_height > max(width * height, _MAX_TILE_PIXELS):
        raise UnreadableImage(DAMAGED_FILE)
    expected = -(-width // part_width) * -(-height // part_height) * page.planes
    offsets = page.tags.get(_TILE_OFFSETS if page.is_tiled else _STRIP_OFFSETS, ())
    sizes = page.tags.get(_TILE_SIZES if page.is_tiled else _STRIP_SIZES, ())
    if not sizes and len(offsets) == 1:  # old programs leave it out
        sizes = (len(data) - offsets[0],)
    if not len(offsets) == len(sizes) == expected or sum(sizes) > len(data):
        raise UnreadableImage(DAMAGED_FILE)
    parts = [data[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]
    if any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
        raise UnreadableImage(DAMAGED_FILE)
    return parts


def _estimate_cost(page: _Page, parts: Sequence[bytes]) -> float:
    """Return the nanoseconds that decoding takes at most."""
    width, height = page.size
    part_width, part_height = page.part_size
    part_pixels = len(parts) // page.planes * part_width * part_height
    cost = width * height * _PIXEL_COST + height * page.planes * _ROW_COST + len(parts) * _PART_COST
    if page.compression == _JPEG:
        coded = [jpeg.read_header(part) for part in parts]
        if any(header.size[0] > part_width or header.size[1] > part_height for header in coded):
            raise UnreadableImage(DAMAGED_FILE)
        return cost + sum(header.cost for header in coded) * 1e6 + len(parts) * _JPEG_PART_COST
    if page.compression in _BYTE_COSTS:
        decoded = part_pixels * page.samples * page.bits / 8
        return cost + decoded * _BYTE_COSTS[page.compression]
    return cost + part_pixels * _FAX_PIXEL_COST


def _compose(page: _Page, parts: Sequence[bytes]) -> bytes:
    """Return a file of one page with these strips or tiles."""
    width, height = page.size
    fields: dict[int, tuple[int, Values]] = {_WIDTH: (_LONG, (width,)), _HEIGHT: (_LONG, (height,))}
    fields |= {tag: (_COPIED_TYPES.get(tag, _SHORT), page.tags[tag]) for tag in _COPIED if tag in page.tags}
    sizes = tuple(map(len, parts))
    offsets_tag, sizes_tag = (_TILE_OFFSETS, _TILE_SIZES) if page.is_tiled else (_STRIP_OFFSETS, _STRIP_SIZES)
    fields |= {sizes_tag: (_LONG, sizes), offsets_tag: (_LONG, (0,) * len(parts))}
    if not page.is_tiled:
        fields[_ROWS_PER_STRIP] = _LONG, (page.part_size[1],)
    signature = SIGNATURES[0] if page.order == "<" else SIGNATURES[1]
    start = len(_pack_directory(page.order, signature, fields))
    fields[offsets_tag] = _LONG, tuple(itertools.accumulate(sizes[:-1], initial=start))
    return b"".join((_pack_directory(page.order, signature, fields), *parts))


def _pack_directory(order: ByteOrder, signature: bytes, fields: Mapping[int, tuple[int, Values]]) -> bytes:
    """Return a file's head: signature, directory, and the values that don't fit into it."""
    entries, beyond = [], b""
    start = 8 + 2 + len(fields) * _ENTRY_BYTES + 4
    for tag, (field_type, values) in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(values)}{_FIELD_TYPES[field_type]}", *values)
        if len(packed) > 4:  # noqa: PLR2004
            offset = start + len(beyond)
            beyond += packed + bytes(len(packed) % 2)
            packed = struct.pack(f"{order}L", offset)
        entries.append(struct.pack(f"{order}HHL", tag, field_type, len(values)) + packed.ljust(4, b"\0"))
    count = struct.pack(f"{order}H", len(entries))
    return signature + struct.pack(f"{order}L", 8) + count + b"".join(entries) + bytes(4) + beyond
