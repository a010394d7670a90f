"""The encoded pictures of a shard, a few at a time: the next ones are read while these are scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Final, NamedTuple, TypeAlias

import pyarrow as pa
from fsspec.implementations.dirfs import DirFileSystem

from deploy.ray.folders import describe_error
from deploy.ray.sources import READ_ERRORS, File, Rows, Shard, Source

READERS: Final = 24  # threads, and files in memory: a bucket is slow, and its client has 25 connections
BATCH_ROWS: Final = 32  # rows of a Parquet file in memory: 320 MiB if all have DIGITS_MAX_BODY_BYTES


class Failure(NamedTuple):
    """Why a picture has no digit."""

    code: str
    detail: str


Content: TypeAlias = bytes | Failure
Picture: TypeAlias = tuple[str, Content]  # its path in the results, and its encoded bytes


def read_pictures(source: Source, shard: Shard, *, max_bytes: int) -> Iterator[Picture]:
    """Yield every picture of a shard; those that can't be read or have more bytes are failures."""
    if shard.rows is None:
        return _read_files(source.folder, shard.files, max_bytes)
    return _read_rows(source, shard.files[0].name, shard.rows, max_bytes)


def _read_files(folder: DirFileSystem, files: Sequence[File], max_bytes: int) -> Iterator[Picture]:
    pending: deque[Future[Picture]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for file in files:
            pending.append(pool.submit(_read_file, folder, file.name, max_bytes))
            if len(pending) == READERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _read_file(folder: DirFileSystem, name: str, max_bytes: int) -> Picture:
    try:
        with folder.open(name) as file:
            return name, _check_size(file.read(max_bytes + 1), max_bytes)
    except OSError as error:
        return name, Failure("unreadable_file", f"The file can't be read: {describe_error(error)}.")


def _read_rows(source: Source, file: str, rows: Rows, max_bytes: int) -> Iterator[Picture]:
    """Yield rows of a Parquet file; where it is damaged, all that are left are failures."""
    names = iter([f"{file}#{rows.first + number}" for number in range(rows.total)] or [file])
    columns = [source.picture_column, *filter(None, [source.id_column])]
    try:
        with source.open_parquet(file) as table:
            for batch in table.iter_batches(BATCH_ROWS, rows.groups, columns, use_threads=False):
                flat = pa.Table.from_batches([batch]).flatten()
                cells = flat[source.picture_column].cast(pa.binary()).to_pylist()
                ids = flat[source.id_column].to_pylist() if source.id_column else repeat(None)
                for cell, row_id, name in zip(cells, ids, names, strict=False):
                    yield name if row_id is None else str(row_id), _check_size(cell, max_bytes)
    except READ_ERRORS as error:
        failure = Failure("unreadable_file", f"The Parquet file can't be read: {describe_error(error)}.")
        yield from ((name, failure) for name in names)


def _check_size(data: bytes | None, max_bytes: int) -> Content:
    if data and len(data) > max_bytes:
        return Failure("body_too_large", f"The picture is larger than the {max_bytes} bytes allowed.")
    return data or b""  # decoding says what is wrong with it
