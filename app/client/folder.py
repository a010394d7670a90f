"""The pictures among files and folders, and how their names are written down."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .run import PictureFile

# of the formats that the service reads. It ignores file names, but other files should not leave the machine.
SUFFIXES: Final = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".heic", ".heif", ".hif", ".avif", ".bmp", ".dib",
        ".gif", ".tif", ".tiff",
    }
)  # fmt: skip
# what spreadsheets take for the beginning of a formula, also in full width
FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(slots=True)
class Folder:
    """The contents of a folder."""

    pictures: list[str] = field(default_factory=list)  # paths from the folder, sorted
    other_files: Counter[str] = field(default_factory=Counter)  # how many, by their suffix
    unreadable: list[str] = field(default_factory=list)  # subfolders, and why each could not be read


def scan_folder(root: Path) -> Folder:
    """Find the pictures in a folder and its subfolders, except hidden files and linked folders."""
    folder = Folder()
    for parent, subfolders, files in os.walk(
        root, onerror=lambda error: folder.unreadable.append(str(error))
    ):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            file = os.path.join(parent, name)  # noqa: PTH118  names that are not UTF-8 stay as they are
            if name.startswith(".") or not os.path.isfile(file):  # noqa: PTH113
                continue
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if suffix in SUFFIXES:
                folder.pictures.append(os.path.relpath(file, root))
            else:
                folder.other_files[suffix or "none"] += 1
    folder.pictures.sort(key=os.fsencode)
    return folder


@dataclass(slots=True)
class Collection:
    """Pictures to read, and what was left out."""

    pictures: list[PictureFile]
    other_files: Counter[str]
    unreadable: list[str]


def collect_pictures(paths: Sequence[Path]) -> Collection:
    """Find the pictures in folders; a file that is named is read whatever its name ends with.

    The pictures of a single folder are named by their paths in it, all others by the paths to them.
    """
    pictures = dict[str, PictureFile]()
    collection = Collection([], Counter(), [])
    for path in paths:
        folder = scan_folder(path) if path.is_dir() else Folder([""])
        collection.other_files += folder.other_files
        collection.unreadable += folder.unreadable
        for picture in folder.pictures:
            file = path / picture
            name = format_path(picture if len(paths) == 1 and picture else str(file))
            pictures.setdefault(name, PictureFile(file, name))
    collection.pictures = list(pictures.values())
    return collection


def format_path(picture: str) -> str:
    r"""Return a picture's path as the table shows it: unique, and harmless.

    It has slashes on every system; bytes that are not UTF-8 are written as `\xff`, a backslash as two. A path
    that a spreadsheet would take for a formula begins with `./`.
    """
    name = picture.replace(os.sep, "/").replace("\\", "\\\\")
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"./{name}" if name.startswith(FORMULA_PREFIXES) else name
