"""Reads pictures, several at a time, and hands each answer to every output."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

Reading: TypeAlias = Mapping[str, Any]  # the members of a Prediction or a NumberPrediction


class RunAborted(Exception):
    """The run can't continue; the text tells people why."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a picture could not be read."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture to read."""

    path: Path
    name: str  # in outputs


class Reader(Protocol):
    """What reads pictures: a service, or this process."""

    async def read_picture(self, picture: bytes) -> Reading | Failure:
        """Read a picture.

        Raises:
            RunAborted: no further picture can be read.
        """


class OpenReader(NamedTuple):
    """A reader of pictures, and the size of the largest file that it accepts."""

    reader: Reader
    max_bytes: int


class Output(Protocol):
    """What answers are handed to."""

    def add(self, file: str, answer: Reading | Failure) -> None:
        """Take the answer for a picture."""


async def read_pictures(
    pictures: Sequence[PictureFile],
    reader: Reader,
    outputs: Sequence[Output],
    *,
    max_bytes: int,
    concurrency: int,
) -> None:
    """Read pictures, `concurrency` at a time.

    Raises:
        RunAborted: the reader can't continue; answers until then have been handed on.
        OSError: an output can't be written.
    """
    remaining = iter(pictures)
    await _run_workers(
        [_read_each(remaining, reader, outputs, max_bytes=max_bytes) for _ in range(concurrency)]
    )


async def _read_each(
    pictures: Iterator[PictureFile], reader: Reader, outputs: Sequence[Output], *, max_bytes: int
) -> None:
    for picture in pictures:
        data = await asyncio.to_thread(_read_file, picture.path, max_bytes=max_bytes)
        answer = data if isinstance(data, Failure) else await reader.read_picture(data)
        for output in outputs:
            output.add(picture.name, answer)


async def _run_workers(workers: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run workers until all are done, or until one fails; then cancel the others."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read_file(file: Path, *, max_bytes: int) -> bytes | Failure:
    try:
        size = file.stat().st_size
        if size > max_bytes:  # the service would hang up halfway
            return Failure("body_too_large", f"The file has {size} bytes, at most {max_bytes} are allowed.")
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)  # of a device or a pipe, the size is not known before
    except OSError as error:
        return Failure("unreadable_file", f"The file can't be read: {error.strerror}.")
    if len(data) > max_bytes:
        return Failure("body_too_large", f"There are more than the {max_bytes} bytes that are allowed.")
    return data
