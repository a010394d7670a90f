"""The pictures of a shard as bytes, a few at a time: those that follow are read while these are scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Final, NamedTuple, TypeAlias

import pyarrow as pa

from deploy.ray.places import DAMAGE, Location, RunAborted, describe_error
from deploy.ray.sources import File, Rows, Shard, Source

READERS: Final = (
    24  # threads, and files in memory: a bucket takes its time, and its client has 25 connections
)
ROWS: Final = 32  # of a Parquet file that are in memory: 320 MiB where all have DIGITS_MAX_BODY_BYTES


class Failure(NamedTuple):
    """Why a picture has no digit."""

    code: str
    detail: str


Content: TypeAlias = bytes | Failure
Picture: TypeAlias = tuple[str, Content]  # its name, and its bytes or the reason why there are none


def read(source: Source, shard: Shard, *, limit: int) -> Iterator[Picture]:
    """Yield a shard's pictures.

    Args:
        source: where the shard comes from.
        shard: which pictures.
        limit: most bytes of a picture.
    """
    if shard.rows is None:
        return _read_files(source.place, shard.files, limit)
    return _read_rows(source, shard.files[0].name, shard.rows, limit)


def _read_files(place: Location, files: Sequence[File], limit: int) -> Iterator[Picture]:
    pending: deque[Future[Picture]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for file in files:
            pending.append(pool.submit(_read_file, place, file.name, limit))
            if len(pending) == READERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _read_file(place: Location, name: str, limit: int) -> Picture:
    try:
        if name.endswith("/"):
            return escape_undecodable(name), Failure("unreadable_file", "The folder can't be listed.")
        with place.open(name) as file:
            return escape_undecodable(name), _check_size(file.read(limit + 1), limit)
    except OSError as error:
        return escape_undecodable(name), Failure(
            "unreadable_file", f"The file can't be read: {describe_error(error)}."
        )


def _check_size(data: bytes | None, limit: int) -> Content:
    if data and len(data) > limit:
        return Failure("body_too_large", f"The picture has more than the {limit} bytes that are allowed.")
    return data or b""  # the core says what is wrong with no bytes


def _read_rows(source: Source, file: str, rows: Rows, limit: int) -> Iterator[Picture]:
    """Read rows of a Parquet file; where that fails, the rest have the reason."""
    names = (f"{escape_undecodable(file)}#{number}" for number in range(rows.first, rows.first + rows.count))
    try:
        with source.open_parquet(file) as table:
            columns = source.check_columns(table.schema_arrow)
            for batch in table.iter_batches(ROWS, rows.groups, columns, use_threads=False):
                cells, *ids = (_read_column(batch, column) for column in columns)
                for cell, own, name in zip(cells, ids[0] if ids else repeat(None), names, strict=False):
                    yield name if own is None else str(own), _check_size(cell, limit)
    except (*DAMAGE, RunAborted) as error:
        problem = Failure("unreadable_file", f"The Parquet file can't be read: {describe_error(error)}.")
        yield from ((name, problem) for name in (names if rows.count else [escape_undecodable(file)]))


def _read_column(batch: pa.RecordBatch, column: str) -> list[bytes | None]:
    cells: list[bytes | None] = pa.Table.from_batches([batch]).flatten().column(column).to_pylist()
    return cells


def escape_undecodable(name: str) -> str:
    r"""Return a file's name as UTF-8 can have it, with other bytes as `\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
