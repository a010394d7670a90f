"""The pictures of a shard as bytes, some at a time: those after are read while these are scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.ray.places import DAMAGE, Place, Refused, reason
from deploy.ray.sources import Shard, Source

READERS: Final = 24  # threads that read files for one core, for a bucket takes its time; its client has 25
CHUNK: Final = 256  # pictures that the network is asked about at a time
CHUNK_BYTES: Final = 32 * 1024 * 1024  # of files read at a time; a chunk of large photos has fewer of them


class Problem(NamedTuple):
    """Why a picture has no digit."""

    code: str
    detail: str


Given: TypeAlias = bytes | Problem
Chunk: TypeAlias = tuple[list[str], list[Given]]  # the pictures' names, and their bytes


def chunks(source: Source, shard: Shard, *, limit: int) -> Iterator[Chunk]:
    """Yield a shard's pictures, each as its bytes or as the reason why there are none.

    Args:
        source: where the shard comes from.
        shard: which pictures.
        limit: most bytes of a picture.
    """
    if shard.groups is None:
        return _files(source.place, shard, limit)
    return _rows(source, shard, shard.groups, limit)


def _files(place: Place, shard: Shard, limit: int) -> Iterator[Chunk]:
    """Read picture files, by several threads and one chunk ahead."""
    ahead: deque[tuple[list[bytes], list[Future[list[Given]]]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for names in _parted(shard):
            parts = [names[first::READERS] for first in range(READERS)]
            ahead.append((names, [pool.submit(_contents, place, part, limit) for part in parts]))
            if len(ahead) > 1:
                yield _gathered(*ahead.popleft())
        while ahead:
            yield _gathered(*ahead.popleft())


def _parted(shard: Shard) -> Iterator[list[bytes]]:
    """Part the names of a shard's files, so that no part's files are too many or too long."""
    part: list[bytes] = []
    size = 0
    for name, length in zip(shard.names, shard.sizes, strict=True):
        if part and (len(part) == CHUNK or size + length > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(name)
        size += length
    yield part


def _contents(place: Place, names: Sequence[bytes], limit: int) -> list[Given]:
    return [_content(place, name, limit) for name in names]


def _content(place: Place, name: bytes, limit: int) -> Given:
    if name.endswith(b"/"):
        return Problem("unreadable_file", "The folder may not be looked into.")
    try:
        with place.open(name) as file:
            return _bounded(file.read(limit + 1), limit)
    except OSError as error:
        return Problem("unreadable_file", f"The file can't be read: {reason(error)}.")


def _bounded(data: bytes | None, limit: int) -> Given:
    if data and len(data) > limit:
        return Problem("body_too_large", f"The picture has more than the {limit} bytes that are allowed.")
    return data or b""  # the core says what is wrong with no bytes


def _gathered(names: Sequence[bytes], parts: Sequence[Future[list[Given]]]) -> Chunk:
    data: list[Given] = [b""] * len(names)
    for first, part in enumerate(parts):
        data[first::READERS] = part.result()
    return [shown(name) for name in names], data


def _rows(source: Source, shard: Shard, groups: Sequence[int], limit: int) -> Iterator[Chunk]:
    """Read rows of a Parquet file; where that fails, the rest have the reason."""
    (file,) = map(shown, shard.names)
    called = (f"{file}#{number}" for number in range(shard.first, shard.first + shard.rows))
    try:
        with source.opened(shard.names[0]) as table:
            columns = source.columns(table.schema_arrow)
            size = _at_a_time(table.metadata, groups)
            for batch in table.iter_batches(size, groups, columns, use_threads=False):
                cells, *ids = (_column(batch, column).to_pylist() for column in columns)
                names = list(islice(called, len(cells)))
                if ids:
                    names = [name if own is None else str(own) for name, own in zip(names, *ids, strict=True)]
                yield names, [_bounded(cell, limit) for cell in cells]
    except (*DAMAGE, Refused) as error:
        problem = Problem("unreadable_file", f"The Parquet file can't be read: {reason(error)}.")
    else:
        return
    if not shard.rows:
        yield [file], [problem]
    while lost := list(islice(called, CHUNK)):
        yield lost, [problem] * len(lost)


def _at_a_time(metadata: pq.FileMetaData, groups: Sequence[int]) -> int:
    """Return how many rows of a Parquet file are read at a time."""
    parts = [metadata.row_group(group) for group in groups]
    largest = max((part.total_byte_size // max(1, part.num_rows) for part in parts), default=0)
    return max(1, min(CHUNK, CHUNK_BYTES // max(1, largest)))


def _column(batch: pa.RecordBatch, column: str) -> pa.Array:
    top, *below = column.split(".")
    found = batch.column(top)
    return pc.struct_field(found, below) if below else found


def shown(name: bytes) -> str:
    r"""Return a file's name as text, with bytes that are no UTF-8 as `\xff`."""
    return name.decode("utf-8", "backslashreplace")
