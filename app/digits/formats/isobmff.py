"""Boxes and items of a HEIF file (ISO/IEC 14496-12 and 23008-12).

Only the boxes that lead to a still picture are read, each at its one place, so nothing is recursive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeAlias

from ..errors import UnreadableImage
from .header import DAMAGED_FILE, check_parts

Property: TypeAlias = tuple[bytes, bytes, bool]  # the type of its box, its content, whether it is essential
Extent: TypeAlias = tuple[int, int]  # offset and size

_MAX_ITEMS: Final = 4_096  # a phone's photo has about a hundred, one of 108 megapixels 500
_MAX_PROPERTIES: Final = 64  # of one item; phones write six
_WIDE: Final = 1  # in place of a size that stands in eight bytes after the type
_TO_THE_END: Final = 0  # in place of a size
_IN_FILE, _IN_METADATA = 0, 1  # where the data of an item are
_NEEDED: Final = frozenset({b"pitm", b"iinf", b"iloc", b"iprp"})


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a file, and what they refer to."""

    file: bytes
    metadata: bytes  # data of items that stand in the box idat
    primary: int
    kinds: Mapping[int, bytes]
    locations: Mapping[int, tuple[int, Sequence[Extent]]]
    references: Mapping[tuple[bytes, int], Sequence[int]]  # kind and origin → targets
    properties: Sequence[tuple[bytes, bytes]]
    associations: Mapping[int, Sequence[tuple[bool, int]]]  # whether it is essential, and its number from 1

    def read_data(self, item: int) -> bytes:
        """Return the data of an item.

        Raises:
            UnreadableImage: they are missing, overlap, or lie beyond the end of the file.
        """
        place, extents = self.locations.get(item, (_IN_FILE, ()))
        source = self.metadata if place == _IN_METADATA else self.file
        if place not in {_IN_FILE, _IN_METADATA} or not extents:
            raise UnreadableImage(DAMAGED_FILE)
        ends_within = all(offset + size <= len(source) for offset, size in extents)
        if not ends_within or sum(size for _, size in extents) > len(source):
            raise UnreadableImage(DAMAGED_FILE)
        return b"".join(source[offset : offset + size] for offset, size in extents)

    def list_properties(self, item: int) -> list[Property]:
        """Return the properties of an item in their order.

        Raises:
            UnreadableImage: one does not exist.
        """
        associations = [pair for pair in self.associations.get(item, ()) if pair[1]]
        if any(number > len(self.properties) for _, number in associations):
            raise UnreadableImage(DAMAGED_FILE)
        return [(*self.properties[number - 1], is_essential) for is_essential, number in associations]


class _Reader:
    """Reads integers one after the other; `UnreadableImage` is raised where the data end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def read_bytes(self, size: int) -> bytes:
        start, self._offset = self._offset, self._offset + size
        if self._offset > len(self._data):
            raise UnreadableImage(DAMAGED_FILE)
        return self._data[start : self._offset]

    def read(self, size: int) -> int:
        return int.from_bytes(self.read_bytes(size), "big")

    def read_version(self) -> tuple[int, int]:
        """Read version and flags, with which many boxes begin."""
        return self.read(1), self.read(3)

    def read_count(self, size: int) -> range:
        """Read a number of items, as a range to iterate over."""
        number = self.read(size)
        if number > _MAX_ITEMS:
            msg = f"The picture's file has more than {_MAX_ITEMS} items. Save it again with another program."
            raise UnreadableImage(msg, limit=_MAX_ITEMS)
        return range(number)


def iterate_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of each box, one after the other.

    Raises:
        UnreadableImage: one ends beyond the data, or there are too many.
    """
    offset = 0
    for parts in count():
        if offset == len(data):
            return
        check_parts(parts)
        head = _Reader(data[offset : offset + 16])
        size, kind, start = head.read(4), head.read_bytes(4), offset + 8
        if size == _WIDE:
            size, start = head.read(8), offset + 16
        end = len(data) if size == _TO_THE_END else offset + size
        if not start <= end <= len(data):
            raise UnreadableImage(DAMAGED_FILE)
        yield kind, data[start:end]
        offset = end


def read_items(data: bytes) -> Items | None:
    """Read the items of a file; None if it has none, like a film.

    Raises:
        UnreadableImage: the file breaks off, or contradicts itself.
    """
    content = next((content for kind, content in iterate_boxes(data) if kind == b"meta"), None)
    if content is None:
        return None
    boxes: dict[bytes, bytes] = {}
    for kind, box in iterate_boxes(content[4:]):
        boxes.setdefault(kind, box)
    if not boxes.keys() >= _NEEDED:
        raise UnreadableImage(DAMAGED_FILE)
    properties, associations = _read_properties(boxes[b"iprp"])
    return Items(
        file=data,
        metadata=boxes.get(b"idat", b""),
        primary=_read_primary(_Reader(boxes[b"pitm"])),
        kinds=dict(_iterate_kinds(_Reader(boxes[b"iinf"]))),
        locations=dict(_iterate_locations(_Reader(boxes[b"iloc"]))),
        references=dict(_iterate_references(boxes[b"iref"])) if b"iref" in boxes else {},
        properties=properties,
        associations=associations,
    )


def _read_primary(reader: _Reader) -> int:
    version, _ = reader.read_version()
    return reader.read(4 if version else 2)


def _iterate_kinds(reader: _Reader) -> Iterator[tuple[int, bytes]]:
    version, _ = reader.read_version()
    for _ in reader.read_count(4 if version else 2):
        size = reader.read(4)
        entry = _Reader(reader.read_bytes(max(size, 8) - 4))
        entry.read(4)  # its type, infe
        entry_version, _ = entry.read_version()
        item = entry.read(4 if entry_version > 2 else 2)  # noqa: PLR2004
        entry.read(2)  # whether it is encrypted
        yield item, entry.read_bytes(4)


def _iterate_locations(reader: _Reader) -> Iterator[tuple[int, tuple[int, list[Extent]]]]:
    version, _ = reader.read_version()
    sizes, more_sizes = reader.read(1), reader.read(1)
    offset_bytes, size_bytes, base_bytes = sizes >> 4, sizes & 15, more_sizes >> 4
    index_bytes = more_sizes & 15 if version else 0
    number_bytes = 4 if version > 1 else 2
    for _ in reader.read_count(number_bytes):
        item = reader.read(number_bytes)
        place = reader.read(2) & 15 if version else _IN_FILE
        reader.read(2)  # in which file
        base = reader.read(base_bytes)
        extents = []
        for _ in reader.read_count(2):
            reader.read(index_bytes)
            extents.append((base + reader.read(offset_bytes), reader.read(size_bytes)))
        yield item, (place, extents)


def _iterate_references(box: bytes) -> Iterator[tuple[tuple[bytes, int], list[int]]]:
    number_bytes = 4 if box[:1] > b"\0" else 2
    for kind, content in iterate_boxes(box[4:]):
        reader = _Reader(content)
        origin = reader.read(number_bytes)
        yield (kind, origin), [reader.read(number_bytes) for _ in reader.read_count(2)]


def _read_properties(
    box: bytes,
) -> tuple[list[tuple[bytes, bytes]], dict[int, list[tuple[bool, int]]]]:
    properties: list[tuple[bytes, bytes]] = []
    associations: dict[int, list[tuple[bool, int]]] = {}
    for kind, content in iterate_boxes(box):
        if kind == b"ipco" and not properties:
            properties = list(iterate_boxes(content))
        elif kind == b"ipma":
            associations |= _iterate_associations(_Reader(content))
    return properties, associations


def _iterate_associations(reader: _Reader) -> Iterator[tuple[int, list[tuple[bool, int]]]]:
    version, flags = reader.read_version()
    number_bytes = 2 if flags & 1 else 1
    essential = 1 << 8 * number_bytes - 1
    for _ in reader.read_count(4):
        item = reader.read(4 if version else 2)
        numbers = [reader.read(number_bytes) for _ in range(reader.read(1))]
        if len(numbers) > _MAX_PROPERTIES:
            raise UnreadableImage(DAMAGED_FILE)
        yield item, [(number >= essential, number % essential) for number in numbers]
