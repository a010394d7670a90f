"""Where pictures come from: picture files and Parquet files, divided into shards in an order that stays.

A billion names fit in no memory: the walk holds one folder at a time, and a task has a shard's names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from app.client.folder import SUFFIXES
from deploy.ray.places import DAMAGE, Location, RunAborted, describe_error

PARQUET: Final = ".parquet"
BUFFER: Final = 4 * 1024 * 1024  # bytes read of a Parquet's column at a time, instead of a whole row group


class File(NamedTuple):
    """A file of the source."""

    name: str  # from the source's root; a folder that may not be listed ends with a slash
    size: int
    changed: object  # when, as the file system has it

    @property
    def is_parquet(self) -> bool:
        """Whether its rows hold pictures, rather than the file one."""
        return self.name.endswith(PARQUET)


@dataclass(frozen=True, slots=True)
class Source:
    """A place, or one file in it, and which columns of its Parquet files hold what."""

    place: Location
    file_name: str | None = None  # the one file
    pictures: str = "bytes"  # the column of encoded pictures; a dot leads into a struct
    ids: str | None = None  # the column of their names; None: FILE#ROW

    @classmethod
    def find(cls, where: str, *, pictures: str, ids: str | None) -> Source:
        """Find a source that holds a picture.

        Raises:
            Refused: it is not there, holds none, or its first Parquet file lacks a column.
        """
        place, only = Location.find(where), None
        try:
            if place.files.info(place.path)["type"] == "file":
                folder, _, only = place.path.rpartition("/")
                place = Location(place.files, folder)
            source = cls(place, only, pictures, ids)
            first = next(source.walk(), None)
        except FileNotFoundError:
            msg = f"{where} is not there."
            raise RunAborted(msg) from None
        except DAMAGE as error:
            msg = f"{where} can't be read: {describe_error(error)}."
            raise RunAborted(msg) from None
        if first is None:
            kinds = ", ".join(sorted(SUFFIXES | {PARQUET}))
            msg = f"{where} holds no pictures: no file ends with one of {kinds}."
            raise RunAborted(msg)
        if first.is_parquet:
            with suppress(*DAMAGE), source.open_parquet(first.name) as table:  # a damaged one is a row
                source.check_columns(table.schema_arrow)
        return source

    def walk(self) -> Iterator[File]:
        """Yield all files that are pictures or Parquet by their names, always in the same order.

        Hidden files and linked folders are left out. A folder that may not be listed is yielded itself.
        """
        root = len(self.place.path) + 1
        folders = [self.place.path_of(self.file_name) if self.file_name else self.place.path]
        while folders:
            folder = folders.pop()
            try:
                listed = self.place.files.ls(folder, detail=True)
            except PermissionError:
                if folder == self.place.path:
                    raise
                yield File(f"{folder[root:]}/", 0, None)
                continue
            visible = [entry for entry in listed if "/." not in entry["name"][root - 1 :]]
            visible.sort(key=lambda entry: str(entry["name"]))
            for entry in filter(_is_supported, visible):
                yield File(entry["name"][root:], entry["size"], entry["mtime"])
            folders += [entry["name"] for entry in reversed(visible) if entry["type"] == "directory"]

    @contextmanager
    def open_parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file, to be read in pieces."""
        with self.place.open(name) as file:
            yield pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)

    def check_columns(self, schema: pa.Schema) -> list[str]:
        """Return the columns that are read.

        Raises:
            Refused: one of them is not there, or holds no pictures.
        """
        columns = [self.pictures] if self.ids is None else [self.pictures, self.ids]
        flat = schema.empty_table().flatten().schema
        for column in columns:
            if column not in flat.names:
                msg = f"There is no column {column!r} in the Parquet file; there are {', '.join(flat.names)}."
                raise RunAborted(msg)
        kind = flat.field(self.pictures).type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            msg = f"The column {self.pictures!r} holds {kind}, pictures are binary."
            raise RunAborted(msg)
        return columns


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a Parquet file."""

    groups: list[int]  # the row groups that hold them; none where the file is damaged
    first: int
    count: int


class Shard(NamedTuple):
    """Some pictures of the source, which are scored together."""

    number: int
    files: list[File]
    rows: Rows | None = None  # of the one file, if that is Parquet

    @property
    def fingerprint(self) -> str:
        """Names, sizes and times of the files: another one tells that the source has changed."""
        return hashlib.sha256(repr((self.files, self.rows)).encode()).hexdigest()[:32]


def divide(source: Source, *, pictures: int) -> Iterator[Shard]:
    """Divide a source: picture files by number, wherever they lie, Parquet files by row groups.

    Args:
        source: what is divided.
        pictures: in a shard; of a Parquet file as many more as the last row group holds.
    """
    numbers = count()
    waiting: list[File] = []
    for file in source.walk():
        if file.is_parquet:
            yield from (Shard(next(numbers), [file], rows) for rows in _divide_rows(source, file, pictures))
            continue
        waiting.append(file)
        if len(waiting) == pictures:
            yield Shard(next(numbers), waiting)
            waiting = []
    if waiting:
        yield Shard(next(numbers), waiting)


def _is_supported(entry: dict[str, Any]) -> bool:
    suffix = os.path.splitext(entry["name"])[1]  # noqa: PTH122  a bucket's names are no paths
    is_file = entry["type"] == "file" or entry.get("islink")
    return bool(is_file) and (suffix == PARQUET or suffix.lower() in SUFFIXES)


def _divide_rows(source: Source, file: File, pictures: int) -> Iterator[Rows]:
    """Divide a Parquet file between its row groups."""
    try:
        with source.open_parquet(file.name) as table:
            lengths = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    except DAMAGE:
        yield Rows([], 0, 0)
        return
    groups, first, rows = [], 0, 0
    for group, length in enumerate(lengths):
        groups.append(group)
        rows += length
        if rows >= pictures:
            yield Rows(groups, first, rows)
            groups, first, rows = [], first + rows, 0
    if rows:
        yield Rows(groups, first, rows)
