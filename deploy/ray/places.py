"""Folders on a disk or in a bucket: read in pieces, written at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import pyarrow as pa
from pyarrow import fs

DRAFTS: Final = "_drafts"  # a folder in the place: of files that are not whole yet
DAMAGE: Final = (OSError, ValueError, pa.ArrowException)  # what pyarrow raises where it can't read


class Refused(Exception):
    """There is no point in going on; the text says why, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, on a disk or in a bucket."""

    filesystem: fs.FileSystem
    path: str

    @classmethod
    def named(cls, where: str) -> Place:
        """Find a place by its path, or by its URI: s3://, gs://, abfs://, file://.

        Raises:
            Refused: there is no such kind of place, or it does not answer.
        """
        try:
            found = fs.FileSystem.from_uri(where if "://" in where else str(Path(where).resolve()))
        except DAMAGE as error:
            msg = f"{where} is no place that can be opened: {reason(error)}."
            raise Refused(msg) from None
        return cls(*found)

    @property
    def local(self) -> bool:
        """Whether it is on a disk."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def at(self, name: str) -> str:
        """Return the path of what lies in it."""
        return f"{self.path.rstrip('/')}/{name}"

    def holds(self, other: Place) -> bool:
        """Tell whether another place is this one, or in it."""
        same = self.filesystem == other.filesystem
        return same and f"{other.path.rstrip('/')}/".startswith(f"{self.path.rstrip('/')}/")

    def open(self, name: bytes) -> IO[bytes]:
        """Open a file in it, to be read anywhere."""
        if self.local:
            return open(os.path.join(os.fsencode(self.path), name), "rb")  # noqa: PTH118, PTH123
        file: IO[bytes] = self.filesystem.open_input_file(self.at(name.decode()))
        return file

    def write(self, name: str, data: bytes | pa.Buffer) -> None:
        """Put a file into it, at once: who reads it never sees a part. There must be a folder for drafts.

        Raises:
            OSError: the disk is full, or the place is not writable.
        """
        draft = self.at(f"{DRAFTS}/{os.urandom(8).hex()}")
        with self.filesystem.open_output_stream(draft) as file:
            file.write(data)
        self.filesystem.move(draft, self.at(name))


def reason(error: BaseException) -> str:
    """Return what an error says, in one line."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (told.strip() or type(error).__name__).splitlines()[0].rstrip(".")
