"""Folders on a disk or in a bucket, as fsspec file systems whose paths are relative to the folder."""

from __future__ import annotations

from pathlib import Path

from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs


class RunAborted(Exception):
    """The run can't start or continue; the message says why."""


def open_folder(location: str) -> DirFileSystem:
    """Open a folder, which need not exist, by its path or its URI: s3://, gs://, abfs:// or file://.

    Raises:
        pyarrow.ArrowException: the URI has an unknown scheme.
    """
    files, path = fs.FileSystem.from_uri(location if "://" in location else str(Path(location).resolve()))
    # On a disk, pyarrow fails on names that are not UTF-8, and follows links to folders.
    is_local = isinstance(files, fs.LocalFileSystem)
    return DirFileSystem(path, LocalFileSystem() if is_local else ArrowFSWrapper(files))


def write_file(folder: DirFileSystem, name: str, data: bytes) -> None:
    """Write a file atomically: nobody ever sees a part of it."""
    draft = f"_{name}.draft"
    folder.pipe_file(draft, data)
    folder.mv(draft, name)


def describe_error(error: BaseException) -> str:
    """Return an error's message, in one line and without a full stop."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (message.strip() or type(error).__name__).splitlines()[0].rstrip(".")
