"""Builds HEIF files of coded pictures, with whatever structure a test needs.

`hevc/*.heic` are the coded pictures; no encoder of HEVC is among our packages, because x265 is under the GPL.
To make them again, install pillow-heif into an environment of its own, and run `python -m tests.data.hevc`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from app.digits.formats.isobmff import read_items

HEVC: Final = Path(__file__).parent / "hevc"
Reference = tuple[bytes, int, Sequence[int]]  # kind, origin and targets


@dataclass(frozen=True, slots=True)
class Item:
    """An item, and its properties: whole boxes by their names."""

    kind: bytes
    data: bytes
    properties: Mapping[bytes, bytes] = field(default_factory=dict)

    def change(self, **properties: bytes) -> Item:
        """Return an item with some other properties, each named by its box and given by its content."""
        boxes = {name.encode(): box(name.encode(), content) for name, content in properties.items()}
        return replace(self, properties={**self.properties, **boxes})


def box(name: bytes, content: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">L", 8 + len(content)) + name + content


def extent(width: int, height: int) -> bytes:
    """Return the content of the property ispe."""
    return struct.pack(">LLL", 0, width, height)


def load_item(file: bytes) -> Item:
    """Return the primary item of a file."""
    items = read_items(file)
    assert items is not None
    properties = {name: box(name, content) for name, content, _ in items.list_properties(items.primary)}
    return Item(items.kinds[items.primary], items.read_data(items.primary), properties)


def load_hevc(name: str) -> Item:
    """Return the primary item of a committed HEIC."""
    return load_item((HEVC / f"{name}.heic").read_bytes())


def grid(rows: int, columns: int, size: tuple[int, int]) -> Item:
    """Return the item of a grid."""
    data = struct.pack(">4BHH", 0, 0, rows - 1, columns - 1, *size)
    if max(size) > 65_535:
        data = struct.pack(">4BLL", 0, 1, rows - 1, columns - 1, *size)
    return Item(b"grid", data).change(ispe=extent(*size))


def build(
    items: Sequence[Item],
    *,
    references: Sequence[Reference] = (),
    brand: bytes = b"heic",
    in_metadata: bool = False,
    essential: frozenset[bytes] = frozenset(),
    before: bytes = b"",
) -> bytes:
    """Return a file of items with the numbers 1, 2 … of which the first is the primary one.

    Equal properties are stored once, and so are equal data. With `in_metadata`, the data stand in the box idat.
    """
    properties = list(dict.fromkeys(one for item in items for one in item.properties.values()))
    data = b"".join(dict.fromkeys(item.data for item in items))
    entries = [
        box(b"infe", struct.pack(">LHH4sx", 2 << 24, number, 0, item.kind))
        for number, item in enumerate(items, 1)
    ]
    boxes = [
        box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
        box(b"pitm", struct.pack(">LH", 0, 1)),
        box(b"iinf", struct.pack(">LH", 0, len(items)) + b"".join(entries)),
        box(
            b"iprp",
            box(b"ipco", b"".join(properties)) + box(b"ipma", _associate(items, properties, essential)),
        ),
    ]
    if references:
        boxes.append(box(b"iref", bytes(4) + b"".join(_refer(*reference) for reference in references)))
    if in_metadata:
        boxes.append(box(b"idat", data))
    begin = box(b"ftyp", brand + bytes(4) + b"mif1" + brand) + before
    size = len(begin) + 12 + sum(map(len, boxes)) + 16 + 16 * len(items) + 8
    boxes.append(box(b"iloc", _locate(items, data, start=0 if in_metadata else size, place=in_metadata)))
    return begin + box(b"meta", bytes(4) + b"".join(boxes)) + (b"" if in_metadata else box(b"mdat", data))


def build_grid(
    tiles: Sequence[Item], columns: int, size: tuple[int, int], *, brand: bytes = b"heic", **properties: bytes
) -> bytes:
    """Return a file of one grid; equal tiles are one item."""
    unique = list(dict.fromkeys(tile.data for tile in tiles))
    items = [next(tile for tile in tiles if tile.data == data) for data in unique]
    targets = [unique.index(tile.data) + 2 for tile in tiles]
    whole = grid(len(tiles) // columns, columns, size).change(**properties)
    return build([whole, *items], references=[(b"dimg", 1, targets)], brand=brand)


def _associate(items: Sequence[Item], properties: Sequence[bytes], essential: frozenset[bytes]) -> bytes:
    content = struct.pack(">LL", 0, len(items))
    for number, item in enumerate(items, 1):
        content += struct.pack(">HB", number, len(item.properties))
        content += bytes(
            properties.index(one) + 1 | 0x80 * (name in essential) for name, one in item.properties.items()
        )
    return content


def _refer(kind: bytes, origin: int, targets: Sequence[int]) -> bytes:
    return box(kind, struct.pack(f">HH{len(targets)}H", origin, len(targets), *targets))


def _locate(items: Sequence[Item], data: bytes, *, start: int, place: bool) -> bytes:
    content = struct.pack(">LHH", 1 << 24, 0x4400, len(items))
    for number, item in enumerate(items, 1):
        offset = start + data.index(item.data)
        content += struct.pack(">HHHHLL", number, place, 0, 1, offset, len(item.data))
    return content
