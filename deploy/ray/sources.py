"""Where pictures come from: picture files and Parquet files, walked through and divided into shards.

A billion names fit in no memory: the walk holds one folder at a time, and who scores has a shard's names.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from app.client.folder import SUFFIXES
from deploy.ray.places import DAMAGE, Place, Refused, reason

PARQUET: Final = ".parquet"
BUFFER: Final = 4 * 1024 * 1024  # bytes read of a Parquet's column at a time, instead of a whole row group


class File(NamedTuple):
    """A file of the source."""

    name: bytes  # from the source's root; bytes, for names on a disk need not be UTF-8
    size: int
    changed: int  # nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class Source:
    """A place, or one file in it, and which columns of its Parquet files hold what."""

    place: Place
    only: str | None = None  # the one file
    pictures: str = "bytes"  # the column of encoded pictures; a dot leads into a struct
    ids: str | None = None  # the column of their names; None: FILE#ROW

    @classmethod
    def named(cls, where: str, *, pictures: str, ids: str | None) -> Source:
        """Find a source, and see that it holds a picture.

        Raises:
            Refused: it is not there, or holds none.
        """
        place, only = Place.named(where), None
        try:
            info = place.filesystem.get_file_info(place.path)
        except OSError as error:
            msg = f"{where} can't be read: {reason(error)}."
            raise Refused(msg) from None
        if info.type == fs.FileType.NotFound:
            msg = f"{where} is not there."
            raise Refused(msg)
        if info.is_file:
            folder, _, only = place.path.rpartition("/")
            place = Place(place.filesystem, folder)
        source = cls(place, only, pictures, ids)
        source.check(where)
        return source

    def check(self, where: str) -> None:
        """See that there is a picture, and that a Parquet file has the columns if it comes first.

        Raises:
            Refused: there is none, or it has not.
        """
        try:
            first = next(self.walk(), None)
        except DAMAGE as error:
            msg = f"{where} can't be read: {reason(error)}."
            raise Refused(msg) from None
        if first is None:
            kinds = ", ".join(sorted(SUFFIXES | {PARQUET}))
            msg = f"{where} holds no pictures: no file ends with one of {kinds}."
            raise Refused(msg)
        if first.name.endswith(PARQUET.encode()):
            with suppress(*DAMAGE), self.opened(first.name) as table:  # a damaged one is a row, as any other
                self.columns(table.schema_arrow)

    def walk(self) -> Iterator[File]:
        """Yield all files that are pictures or Parquet by their names, always in the same order.

        Hidden files and linked folders are left out. A folder that may not be looked into is yielded itself.
        """
        if self.only is not None:
            info = self.place.filesystem.get_file_info(self.place.at(self.only))
            if _is_read(os.fsencode(self.only)):
                yield File(os.fsencode(self.only), info.size, info.mtime_ns or 0)
            return
        left = [b""]
        while left:
            folder = left.pop()
            try:
                files, below = (
                    _scanned(self.place, folder) if self.place.local else _listed(self.place, folder)
                )
            except PermissionError:
                if not folder:
                    raise
                yield File(folder, 0, 0)
                continue
            yield from sorted(file for file in files if _is_read(file.name))
            left += sorted(below, reverse=True)

    @contextmanager
    def opened(self, name: bytes) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file, to be read in pieces."""
        with self.place.open(name) as file:
            yield pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)

    def columns(self, schema: pa.Schema) -> list[str]:
        """Return the columns that are read.

        Raises:
            Refused: one of them is not there, or holds no pictures.
        """
        kind = _type_at(schema, self.pictures)
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            msg = f"The column {self.pictures!r} holds {kind}, pictures are binary."
            raise Refused(msg)
        if self.ids is None:
            return [self.pictures]
        _type_at(schema, self.ids)
        return [self.pictures, self.ids]


class Part(NamedTuple):
    """Which rows of a Parquet file are scored together."""

    groups: list[int] | None
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Some pictures of the source, which are scored together."""

    number: int
    fingerprint: str  # of the files' names, sizes and times
    names: list[bytes]
    sizes: list[int]
    groups: list[int] | None  # the row groups of the one Parquet file that `names` holds; None: pictures
    first: int  # of that file's rows
    rows: int  # pictures; none of a Parquet file whose groups can't be known


def shards(source: Source, *, pictures: int) -> Iterator[Shard]:
    """Divide a source: picture files by number, wherever they lie, Parquet files by row groups.

    Args:
        source: what is divided.
        pictures: in a shard; of a Parquet file as many more as the last row group holds.
    """
    numbers = count()
    waiting: list[File] = []
    for file in source.walk():
        if file.name.endswith(PARQUET.encode()):
            yield from (_shard(next(numbers), [file], part) for part in _parts(source, file, pictures))
            continue
        waiting.append(file)
        if len(waiting) == pictures:
            yield _shard(next(numbers), waiting)
            waiting = []
    if waiting:
        yield _shard(next(numbers), waiting)


def _is_read(name: bytes) -> bool:
    suffix = os.path.splitext(os.fsdecode(name))[1]  # noqa: PTH122
    return suffix == PARQUET or suffix.lower() in SUFFIXES


def _scanned(place: Place, folder: bytes) -> tuple[list[File], list[bytes]]:
    """List a folder on a disk. pyarrow can't read names that are no UTF-8, and goes into linked folders."""
    files, below = [], []
    with os.scandir(os.path.join(os.fsencode(place.path), folder)) as entries:  # noqa: PTH118
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith(b"."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(name + b"/")
                continue
            try:
                info = entry.stat()
            except OSError:  # a link to nowhere: it has a row that says so
                files.append(File(name, 0, 0))
            else:
                if stat.S_ISREG(info.st_mode):
                    files.append(File(name, info.st_size, info.st_mtime_ns))
    return files, below


def _listed(place: Place, folder: bytes) -> tuple[list[File], list[bytes]]:
    """List a folder in a bucket."""
    files, below = [], []
    for info in place.filesystem.get_file_info(fs.FileSelector(place.at(folder.decode()).rstrip("/"))):
        name = folder + info.base_name.encode()
        if info.base_name.startswith("."):
            continue
        if info.is_file:
            files.append(File(name, info.size, info.mtime_ns or 0))
        else:
            below.append(name + b"/")
    return files, below


def _shard(number: int, files: Sequence[File], part: Part | None = None) -> Shard:
    told = hashlib.sha256(repr((files, part)).encode()).hexdigest()[:32]
    names, sizes = [file.name for file in files], [file.size for file in files]
    return Shard(number, told, names, sizes, *(part or Part(None, 0, len(files))))


def _parts(source: Source, file: File, pictures: int) -> Iterator[Part]:
    """Part the row groups of a Parquet file; of a damaged one there is a part without any."""
    try:
        with source.opened(file.name) as table:
            lengths = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    except DAMAGE:
        yield Part([], 0, 0)
        return
    groups, first, rows = [], 0, 0
    for group, length in enumerate(lengths):
        groups.append(group)
        rows += length
        if rows >= pictures:
            yield Part(groups, first, rows)
            groups, first, rows = [], first + rows, 0
    if rows:
        yield Part(groups, first, rows)


def _type_at(schema: pa.Schema, column: str) -> pa.DataType:
    """Return what a column holds; a dot leads into a struct.

    Raises:
        Refused: there is none of that name.
    """
    kind = pa.struct(schema)
    for name in column.split("."):
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            msg = f"There is no column {column!r} in the Parquet file; there are {', '.join(schema.names)}."
            raise Refused(msg)
        kind = kind.field(name).type
    return kind
