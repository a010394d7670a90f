"""The pictures to score: picture files and Parquet files, divided into shards in an order that never changes.

A billion names don't fit into memory, and 10,000 pictures may not: `walk` holds the names of one folder, a
shard its own names, and `read` a few pictures.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.dirfs import DirFileSystem

from app.client.folder import SUFFIXES
from deploy.ray.folders import RunAborted, describe_error, open_folder

PARQUET: Final = ".parquet"
PARQUET_ERRORS: Final = (OSError, KeyError, ValueError, pa.ArrowException)  # of a missing or damaged file
_READERS: Final = 24  # threads, and files in memory: a bucket is slow, and its client has 25 connections
_BATCH: Final = 32  # rows of a Parquet file in memory: 320 MiB if all have DIGITS_MAX_BODY_BYTES
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
        """A hash of the files' names, sizes and times; it differs once the source has changed."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


class Failure(NamedTuple):
    """Why a picture has no digit."""

    code: str
    detail: str


Content: TypeAlias = bytes | Failure
Picture: TypeAlias = tuple[str, Content]  # its path in the results, and its encoded bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of pictures, and the columns that hold them in its Parquet files."""

    folder: DirFileSystem
    file_name: str  # the only file to read; empty to read the whole folder
    picture_column: str  # a field of a struct is written image.bytes
    id_column: str | None
    max_bytes: int  # of an encoded picture

    @classmethod
    def find(cls, location: str, *, picture_column: str, id_column: str | None, max_bytes: int) -> Source:
        """Return the source at a path or URI.

        Raises:
            RunAborted: the source holds no pictures, or its first Parquet file lacks a column.
            OSError: a folder doesn't exist or can't be listed.
        """
        folder, file_name = open_folder(location), ""
        if folder.isfile(""):
            parent, file_name = posixpath.split(folder.path)
            folder = DirFileSystem(parent, folder.fs)
        source = cls(
            folder=folder,
            file_name=file_name,
            picture_column=picture_column,
            id_column=id_column,
            max_bytes=max_bytes,
        )
        first = next(source.walk(), None)
        if first is None:
            suffixes = ", ".join(sorted(SUFFIXES | {PARQUET}))
            msg = f"{location} holds no pictures: no name ends with {suffixes}."
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
        """Divide the source into shards, of `shard_size` picture files or of row groups of a Parquet file."""
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

    def read(self, shard: Shard) -> Iterator[Picture]:
        """Yield every picture of a shard; one that can't be read or is too large gives a `Failure`."""
        if shard.rows is None:
            return self._read_files([file.name for file in shard.files])
        return self._read_rows(shard.files[0].name, shard.rows)

    def _check_columns(self, name: str) -> None:
        with suppress(*PARQUET_ERRORS), self._open_parquet(name) as table:  # a damaged file becomes a row
            columns = table.schema_arrow.empty_table().flatten().column_names
            for column in filter(None, (self.picture_column, self.id_column)):
                if column not in columns:
                    msg = f"{name} has no column {column!r}; its columns are {', '.join(columns)}."
                    raise RunAborted(msg)

    @contextmanager
    def _open_parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        with self.folder.open(name) as file:
            yield pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)

    def _divide_rows(self, name: str, shard_size: int) -> Iterator[Rows]:
        try:
            with self._open_parquet(name) as table:
                lengths = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
        except PARQUET_ERRORS:
            yield Rows([], 0, 0)  # one row of results, because nobody knows how many pictures the file held
            return
        groups, first, total = [], 0, 0
        for group, length in enumerate(lengths):
            groups.append(group)
            total += length
            if total >= shard_size or (total and group == len(lengths) - 1):
                yield Rows(groups, first, total)
                groups, first, total = [], first + total, 0

    def _read_files(self, names: list[str]) -> Iterator[Picture]:
        """Yield files in order, while threads read the next ones."""
        pending: deque[Future[Picture]] = deque()
        with ThreadPoolExecutor(_READERS) as pool:
            for name in names:
                pending.append(pool.submit(self._read_file, name))
                if len(pending) == _READERS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _read_file(self, name: str) -> Picture:
        try:
            with self.folder.open(name) as file:
                return name, self._check_size(file.read(self.max_bytes + 1))
        except OSError as error:
            return name, Failure("unreadable_file", f"The file can't be read: {describe_error(error)}.")

    def _read_rows(self, file: str, rows: Rows) -> Iterator[Picture]:
        """Yield rows of a Parquet file; after damage, every remaining row gives a `Failure`."""
        names = iter([f"{file}#{rows.first + number}" for number in range(rows.total)] or [file])
        columns = [self.picture_column, *filter(None, [self.id_column])]
        try:
            with self._open_parquet(file) as table:
                for batch in table.iter_batches(_BATCH, rows.groups, columns, use_threads=False):
                    flat = pa.Table.from_batches([batch]).flatten()
                    cells = flat[self.picture_column].cast(pa.binary()).to_pylist()
                    ids = flat[self.id_column].to_pylist() if self.id_column else repeat(None)
                    for cell, row_id, name in zip(cells, ids, names, strict=False):
                        yield name if row_id is None else str(row_id), self._check_size(cell)
        except PARQUET_ERRORS as error:
            failure = Failure("unreadable_file", f"The Parquet file can't be read: {describe_error(error)}.")
            yield from ((name, failure) for name in names)

    def _check_size(self, data: bytes | None) -> Content:
        if data and len(data) > self.max_bytes:
            return Failure(
                "body_too_large", f"The picture is larger than the {self.max_bytes} bytes allowed."
            )
        return data or b""  # decoding says what is wrong with it


def _is_supported(entry: dict[str, Any]) -> bool:
    suffix = posixpath.splitext(entry["name"])[1]
    is_file = entry["type"] == "file" or entry.get("islink", False)
    return is_file and (suffix == PARQUET or suffix.lower() in SUFFIXES)
