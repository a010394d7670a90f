"""Folders on a disk or in a bucket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

DAMAGE: Final = (OSError, ValueError, pa.ArrowException)  # what pyarrow raises where it can't read


class RunAborted(Exception):
    """There is no point in going on; the text says why, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class Location:
    """A folder, on a disk or in a bucket."""

    files: AbstractFileSystem
    path: str

    @classmethod
    def find(cls, where: str) -> Location:
        """Find a place by its path, or by its URI: s3://, gs://, abfs://, file://.

        Raises:
            Refused: there is no such kind of place, or it does not answer.
        """
        try:
            files, path = fs.FileSystem.from_uri(where if "://" in where else str(Path(where).resolve()))
        except DAMAGE as error:
            msg = f"{where} can't be opened: {describe_error(error)}."
            raise RunAborted(msg) from None
        # pyarrow neither reads names that are not UTF-8 nor tells linked folders from others
        is_local = isinstance(files, fs.LocalFileSystem)
        return cls(LocalFileSystem() if is_local else ArrowFSWrapper(files), path.rstrip("/"))

    def path_of(self, name: str) -> str:
        """Return the path of a file in it."""
        return f"{self.path}/{name}"

    def contains(self, other: Location) -> bool:
        """Tell whether another place is this one, or in it."""
        return self.files.protocol == other.files.protocol and f"{other.path}/".startswith(f"{self.path}/")

    def names(self) -> set[str]:
        """Return what the files and folders in it are called."""
        return {path.rpartition("/")[2] for path in self.files.ls(self.path, detail=False)}

    def open(self, name: str) -> IO[bytes]:
        """Open a file in it, to be read anywhere."""
        file: IO[bytes] = self.files.open(self.path_of(name), "rb")
        return file

    def write(self, name: str, data: bytes) -> None:
        """Put a file into it in one step: a reader never sees a part.

        Raises:
            OSError: the disk is full, or the place is not writable.
        """
        draft = self.path_of(f"_{name}.draft")
        self.files.pipe_file(draft, data)
        self.files.mv(draft, self.path_of(name))


def describe_error(error: BaseException) -> str:
    """Return what an error says, in one line."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (message.strip() or type(error).__name__).splitlines()[0].rstrip(".")
