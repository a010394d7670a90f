"""The pictures to score: picture files and Parquet files, divided into shards in an order that never changes.

A billion names don't fit into memory: `walk` holds one folder at a time, and a task the names of its shard.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.dirfs import DirFileSystem

from app.client.folder import SUFFIXES
from deploy.ray.folders import RunAborted, open_folder

PARQUET: Final = ".parquet"
READ_ERRORS: Final = (OSError, KeyError, ValueError, pa.ArrowException)  # of a damaged Parquet file
_BUFFER: Final = 4 * 1024 * 1024  # bytes of a Parquet column read at a time, instead of a whole row group


class File(NamedTuple):
    """A file of the source."""

    name: str  # its path in the source's folder
    size: int
    changed_at: object  # the file system's own type


class Rows(NamedTuple):
    """Consecutive rows of a Parquet file."""

    groups: list[int]  # the row groups that hold them
    first: int
    total: int


class Shard(NamedTuple):
    """Pictures that are scored together: some files, or some rows of one Parquet file."""

    files: list[File]
    rows: Rows | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times, which shows whether the source has changed."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of pictures, and the columns that hold them in its Parquet files."""

    folder: DirFileSystem
    file_name: str = ""  # the only file of the folder that counts, if set
    picture_column: str = "bytes"  # a field of a struct is written image.bytes
    id_column: str | None = None

    @classmethod
    def find(cls, location: str, *, picture_column: str = "bytes", id_column: str | None = None) -> Source:
        """Return the source at a path or URI.

        Raises:
            RunAborted: there is no picture, or the first Parquet file lacks a column.
            OSError: a folder doesn't exist or can't be listed.
        """
        folder, file_name = open_folder(location), ""
        if folder.isfile(""):
            parent, file_name = posixpath.split(folder.path)
            folder = DirFileSystem(parent, folder.fs)
        source = cls(folder=folder, file_name=file_name, picture_column=picture_column, id_column=id_column)
        first = next(source.walk(), None)
        if first is None:
            msg = (
                f"{location} holds no pictures: no name ends with {', '.join(sorted(SUFFIXES | {PARQUET}))}."
            )
            raise RunAborted(msg)
        if first.name.endswith(PARQUET):
            source._check_columns(first.name)
        return source

    def walk(self, path: str = "") -> Iterator[File]:
        """Yield the picture and Parquet files below a path, without hidden files and linked folders."""
        entries = sorted(self.folder.ls(path or self.file_name), key=lambda entry: str(entry["name"]))
        visible = [entry for entry in entries if not posixpath.basename(entry["name"]).startswith(".")]
        for entry in visible:
            if _is_supported(entry):
                yield File(entry["name"], entry["size"], entry["mtime"])
        for entry in visible:
            if entry["type"] == "directory":
                yield from self.walk(entry["name"])

    def divide(self, *, shard_size: int) -> Iterator[Shard]:
        """Divide the pictures into shards: files by their number, a Parquet file between its row groups."""
        pending: list[File] = []
        for file in self.walk():
            if file.name.endswith(PARQUET):
                yield from (Shard([file], rows) for rows in self._divide_rows(file.name, shard_size))
                continue
            pending.append(file)
            if len(pending) == shard_size:
                yield Shard(pending)
                pending = []
        if pending:
            yield Shard(pending)

    def _divide_rows(self, name: str, shard_size: int) -> Iterator[Rows]:
        try:
            with self.open_parquet(name) as table:
                lengths = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
        except READ_ERRORS:
            yield Rows([], 0, 0)  # a single row of results, as nobody knows how many pictures it held
            return
        groups, first, count = [], 0, 0
        for group, length in enumerate(lengths):
            groups.append(group)
            count += length
            if count >= shard_size or (count and group == len(lengths) - 1):
                yield Rows(groups, first, count)
                groups, first, count = [], first + count, 0

    @contextmanager
    def open_parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file, to be read in pieces."""
        with self.folder.open(name) as file:
            yield pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)

    def _check_columns(self, name: str) -> None:
        with suppress(*READ_ERRORS), self.open_parquet(name) as table:  # a damaged file becomes a row
            columns = table.schema_arrow.empty_table().flatten().column_names
            for column in filter(None, (self.picture_column, self.id_column)):
                if column not in columns:
                    msg = f"{name} has no column {column!r}; its columns are {', '.join(columns)}."
                    raise RunAborted(msg)


def _is_supported(entry: dict[str, Any]) -> bool:
    suffix = posixpath.splitext(entry["name"])[1]
    is_file = entry["type"] == "file" or entry.get("islink", False)
    return is_file and (suffix == PARQUET or suffix.lower() in SUFFIXES)
